//! The errors of a benchmark, and whose fault each is.

use std::io;

use crate::frames::FrameError;

/// Why a benchmark stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something the generator needs.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The server under test did not start, or ended early.
    #[error("{server} did not start: {reason}")]
    Start {
        /// The server's name in the tables.
        server: &'static str,
        /// What was seen instead of its `listening on` line.
        reason: String,
    },
    /// The server's answer while a client was opened is not what the chat protocol promises.
    #[error("handshake: expected {expected}, got {got:?}")]
    Handshake {
        /// The proper answer in this step.
        expected: &'static str,
        /// What came, cut to a readable length.
        got: String,
    },
    /// The server sent bytes that are not valid frames.
    #[error("client {member}: {source}")]
    Frame {
        /// The client's number.
        member: usize,
        /// The violation.
        source: FrameError,
    },
    /// The server ended a client's connection in the middle of a measurement.
    #[error("client {member} was disconnected")]
    Disconnected {
        /// The client's number.
        member: usize,
    },
    /// The server sent more to one client than any benchmark allows to be unread.
    #[error("client {member} has received more than the generator buffers")]
    TooLong {
        /// The client's number.
        member: usize,
    },
    /// The server did not answer a poll with 200 and a body of known length.
    #[error("not the answer of a poll: {got:?}")]
    Http {
        /// What came, cut to a readable length.
        got: String,
    },
    /// A `message` event lacks something that the chat promises for each.
    #[error("not the chat's message event: {0}")]
    Event(String),
    /// `/proc` has unexpected content.
    #[error("cannot read {what} of the server process: {text:?}")]
    Proc {
        /// The figure that was read.
        what: &'static str,
        /// The text found.
        text: String,
    },
    /// A token could not be signed.
    #[error("token: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
}

impl Error {
    /// For `map_err`: names what was attempted.
    pub fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
