//! What can go wrong in a benchmark, and whose fault it is.

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
    /// The server answered the opening of a client with something else than the chat protocol promises.
    #[error("handshake: expected {expected}, got {got:?}")]
    Handshake {
        /// The step's proper answer.
        expected: &'static str,
        /// What came, cut to a readable length.
        got: String,
    },
    /// The server sent bytes that are no frames for a client.
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
    /// The server sent more than any benchmark lets it owe.
    #[error("client {member} has received more than the generator buffers")]
    TooLong {
        /// The client's number.
        member: usize,
    },
    /// The server answered a poll with something else than 200 and a body of known length.
    #[error("not the answer of a poll: {got:?}")]
    Http {
        /// What came, cut to a readable length.
        got: String,
    },
    /// A `message` event lacks what the chat promises of every one.
    #[error("not the chat's message event: {0}")]
    Event(String),
    /// `/proc` holds something unreadable.
    #[error("cannot read {what} of the server process: {text:?}")]
    Proc {
        /// The figure looked for.
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
