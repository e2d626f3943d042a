//! What the arguments of handlers are taken from.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{app::App, handshake::Handshake, socket::Socket, type_map::TypeMap};
use crate::{
    error::DisconnectReason,
    packet::{AckId, Event},
};

/// The acknowledgement that a client waits for, if it does. All handlers of the event share it, and the first that answers counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct AckSlot(Option<Arc<(AckId, AtomicBool)>>);

impl AckSlot {
    pub(crate) fn new(id: Option<AckId>) -> Self {
        Self(id.map(|id| Arc::new((id, AtomicBool::new(false)))))
    }

    /// Whether the client still waits.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|slot| !slot.1.load(Ordering::Acquire))
    }

    /// The id to answer; `None` when the client does not wait, or somebody has answered.
    pub(crate) fn take(&self) -> Option<AckId> {
        let slot = self.0.as_ref()?;
        (!slot.1.swap(true, Ordering::AcqRel)).then_some(slot.0)
    }
}

/// A client that asks to join a namespace.
#[derive(Debug, Clone)]
pub struct ConnectContext {
    pub(crate) app: Arc<App>,
    pub(crate) handshake: Arc<Handshake>,
    pub(crate) nsp: Arc<str>,
    /// The payload of the CONNECT packet.
    pub(crate) auth: Option<Arc<str>>,
    /// The parts of the namespace's name that its pattern names.
    pub(crate) params: Arc<BTreeMap<String, String>>,
    /// What the authorisations so far brought.
    pub(crate) extensions: TypeMap,
}

/// An event of a socket.
#[derive(Debug)]
pub struct EventContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) event: &'a Event<'a>,
    pub(crate) ack: AckSlot,
}

/// A socket that is gone.
#[derive(Debug)]
pub struct DisconnectContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) reason: DisconnectReason,
}
