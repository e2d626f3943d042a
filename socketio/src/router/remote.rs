//! What many sockets bring back: [`Sockets`] and [`Answers`].

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{
    handshake::Handshake,
    payload::{self, Answer, PayloadError},
};
use crate::adapter::{self, Source};

/// The sockets that [`Operator::fetch_sockets`](super::Operator::fetch_sockets) found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Sockets {
    /// The sockets, in no order.
    pub sockets: Vec<RemoteSocket>,
    /// Who did not say which sockets it has: it has ended, or did not answer in time.
    pub missing: Vec<Source>,
}

impl Sockets {
    pub(crate) fn new(sockets: adapter::Sockets) -> Self {
        let adapter::Sockets { sockets, missing, .. } = sockets;
        Self { sockets: sockets.into_iter().map(RemoteSocket).collect(), missing }
    }
}

/// A socket, maybe of another shard or server. To act on it, use its id as a room: `io.of(nsp).to(socket.id())`.
#[derive(Debug, Clone)]
pub struct RemoteSocket(adapter::RemoteSocket);

/// What is told of a socket that somebody fetches.
#[derive(Serialize)]
struct Description<'a> {
    id: &'a str,
    handshake: &'a Handshake,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// What is told of a socket that somebody fetches, and kept for one that may come back: JSON.
pub(crate) fn describe(id: &str, handshake: &Handshake, data: Option<&str>) -> Option<String> {
    let data = data.and_then(|data| serde_json::from_str(data).ok());
    serde_json::to_string(&Description { id, handshake, data }).ok()
}

/// What was kept for a socket that comes back.
#[derive(Deserialize)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) data: Option<Box<RawValue>>,
}

impl RemoteSocket {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The name of its namespace.
    #[must_use]
    pub fn nsp(&self) -> &str {
        &self.0.nsp
    }

    /// The rooms that it joined.
    #[must_use]
    pub fn rooms(&self) -> &[Arc<str>] {
        &self.0.rooms
    }

    /// What its server stored with [`Socket::set_data`](super::Socket::set_data).
    ///
    /// # Errors
    /// When it is of another type.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, PayloadError> {
        self.member("data")
    }

    /// The request that opened its session: `headers`, `query`, `address` and more, as [`Handshake`] serialises. `null` when its
    /// server does not tell.
    #[must_use]
    pub fn handshake(&self) -> serde_json::Value {
        self.member("handshake").ok().flatten().unwrap_or_default()
    }

    /// Its server, if it is on another one: by the name that the adapter has for it.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.0.server.as_deref()
    }

    fn member<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, PayloadError> {
        let described: serde_json::Value = payload::read(self.0.data.as_deref().unwrap_or("null"), &[])?;
        described.get(name).map(|value| serde_json::from_value(value.clone())).transpose().map_err(Into::into)
    }
}

/// What the sockets answered ([`Operator::emit_with_ack`](super::Operator::emit_with_ack)).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answers<R> {
    /// The first argument of each answer, in the order in which they came, with the id of the socket. (Some adapters do not learn it.)
    pub answers: Vec<(Option<String>, R)>,
    /// Sockets whose answer is of another type.
    pub invalid: Vec<(Option<String>, PayloadError)>,
    /// The ids of sockets that left or did not answer in time, as far as known.
    pub unanswered: Vec<String>,
    /// Who did not say whom it sent the event.
    pub missing: Vec<Source>,
}

impl<R: DeserializeOwned> Answers<R> {
    pub(crate) fn new(answers: adapter::Answers) -> Self {
        let adapter::Answers { answers, unanswered, missing, .. } = answers;
        let mut typed = Self { answers: Vec::new(), invalid: Vec::new(), unanswered, missing };
        for adapter::Answer { socket, args } in answers {
            match Answer(args).first() {
                Ok(value) => typed.answers.push((socket, value)),
                Err(error) => typed.invalid.push((socket, error)),
            }
        }
        typed
    }

    /// Whether everybody answered, with the right type.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.invalid.is_empty() && self.unanswered.is_empty() && self.missing.is_empty()
    }
}
