//! Connection state recovery: a client whose connection broke for a short time gets its socket back, and the events that it
//! missed, as with Node's `socket.io` 4.6 and later.
//!
//! # How to switch it on
//!
//! Set [`Config::recovery`](crate::Config::recovery), and implement [`Handler::readmit`](crate::Handler::readmit):
//!
//! ```
//! use socketio::{Config, recovery::{Options, Recovery}};
//!
//! let mut config = Config::default();
//! config.recovery = Some(Recovery::new(Options::default())); // once: the shards of a server share it
//! ```
//!
//! Then the answer to a CONNECT has a private id (`pid`), and each event without acknowledgement ends with one argument more: its
//! *offset*, a string, which the client's functions see too. A client that comes back sends both. If it can be recovered, it is
//! the same socket as before ([`Io::is_recovered`](crate::Io::is_recovered)): with the same id, in the same rooms, with the data that
//! the application has about it ([`Handler::socket_data`](crate::Handler::socket_data)). What it missed comes before anything else.
//!
//! Recovered are sockets whose connection broke or was closed ([`DisconnectReason::is_recoverable`](crate::DisconnectReason::is_recoverable)),
//! also when the server has not noticed that yet. Not recovered are:
//!
//! - volatile events. They have an offset all the same, because the client takes any string at the end of an event for one;
//! - events that ask for an acknowledgement. They need no offset;
//! - events encoded by the application ([`Broadcast::emit_frame`](crate::broadcast::Broadcast::emit_frame)). They have no offset, so their last argument must
//!   not be a string.
//!
//! What is kept is in memory and bounded ([`Options`]). When something is missing, the client gets a new socket, as if it had not asked.
//!
//! # With a store of the application
//!
//! An application that keeps its events in a store of its own sets [`Config::recovery`](crate::Config::recovery) to [`Recovery::by_application`]. It adds
//! offsets to its events itself, reads [`ConnectRequest::recovery`](crate::ConnectRequest::recovery), and answers with an [`Admission`]: at once
//! ([`Decision::AdmitAs`](crate::Decision::AdmitAs)), or when its store has answered ([`Io::admit_as`](crate::Io::admit_as)).

mod admission;
pub(crate) mod claiming;
pub(crate) mod event;
mod log;
mod options;
pub(crate) mod position;
pub(crate) mod request;
mod sessions;
pub(crate) mod shard;
pub(crate) mod store;

use std::{fmt, sync::Arc};

pub use self::{
    admission::{Admission, Admitted, Recovered},
    options::Options,
    request::RecoveryRequest,
};
pub(crate) use self::{
    sessions::{Saved, Session, Whereabouts},
    store::{Claim, Claimed, Store},
};

/// What the shards of a server keep for recovery. Clones are the same.
#[derive(Clone)]
pub struct Recovery(Option<Arc<Store>>);

impl Recovery {
    /// In memory.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Some(Arc::new(Store::new(options))))
    }

    /// The application recovers clients itself, with an [`Admission`]. Nothing is kept here. A socket may then be on another shard than
    /// its id names, so a broadcast to an id goes to every shard.
    #[must_use]
    pub const fn by_application() -> Self {
        Self(None)
    }

    pub(crate) const fn store(&self) -> Option<&Arc<Store>> {
        self.0.as_ref()
    }
}

impl fmt::Debug for Recovery {
    /// Only the options: what is kept are secrets and other people's events.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recovery").field(&self.0.as_ref().map(|store| store.options())).finish()
    }
}
