//! What the arguments of handlers are taken from.

use std::{collections::BTreeMap, sync::Arc};

use super::{app::App, handshake::Handshake, socket::Socket, type_map::TypeMap};
use crate::{
    error::DisconnectReason,
    packet::{AckId, Event},
};

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
    pub(crate) ack: Option<AckId>,
}

/// A socket that is gone.
#[derive(Debug)]
pub struct DisconnectContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) reason: DisconnectReason,
}
