//! What can go wrong between a handler of the application and its clients.

use super::payload::PayloadError;
use crate::error::{AckError, EmitError};

/// An error of the application.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an event was not handled, for [`Namespace::on_error`](super::Namespace::on_error).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The client's arguments are of other types than the handler takes.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The handler returned this error.
    #[error(transparent)]
    Handler(BoxError),
    /// The handler panicked. Its socket's connection ends.
    #[error("the handler panicked")]
    Panicked,
    /// More handlers wait than [`Settings::waiting_handlers`](super::Settings::waiting_handlers) or `engineio::Config::max_jobs` allows, or
    /// more events of an ordered socket than [`Settings::queued_events`](super::Settings::queued_events) and
    /// [`queued_bytes`](super::Settings::queued_bytes) allow. This one was not handled.
    #[error("too many events are being handled")]
    TooMany,
    /// The namespace has no handler for the event's name, and no [`Namespace::fallback`](super::Namespace::fallback).
    #[error("no handler has this name")]
    NoHandler,
}

/// Why something was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The value cannot be written as JSON.
    #[error("the arguments cannot be written as JSON: {0}")]
    Payload(#[from] PayloadError),
    /// A name that the protocol keeps for itself (`connect`, `disconnect`, ...).
    #[error("the event name is reserved")]
    ReservedName,
    /// The server has no such namespace: no name like it was given to [`Router::of`](super::Router::of), or it is a pattern, which stands
    /// for many. (A namespace that fits a pattern and has no clients is no error.)
    #[error("the server has no such namespace")]
    UnknownNamespace,
    /// The socket is not connected.
    #[error("the socket is not connected")]
    Disconnected,
    /// The queue in front of the shard is full (4 MiB, see `engineio::net::Handle`; handlers of the shard itself do not need it). Or the
    /// shard has as many jobs under way as `engineio::Config::max_jobs` allows: each question to many sockets is one.
    #[error("the shard has too much to do")]
    Busy,
    /// The server has ended, or has not been started.
    #[error("the server is not running")]
    NotRunning,
}

/// Why [`Socket::emit_with_ack`](super::Socket::emit_with_ack) has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The event was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No answer came.
    #[error(transparent)]
    Ack(#[from] AckError),
    /// The answer is of another type.
    #[error("the answer is of another type: {0}")]
    Payload(#[from] PayloadError),
}

impl From<EmitError> for SendError {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::ReservedName => Self::ReservedName,
            EmitError::UnknownNamespace => Self::UnknownNamespace,
            EmitError::TooManyAcks | EmitError::TooManyRequests => Self::Busy,
            _ => Self::Disconnected,
        }
    }
}
