//! [`Routes`]: which handlers the namespaces have.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use super::{
    callback::{Callback, OnAuthorize, OnConnect, OnDisconnect, OnEvent},
    error::EventError,
    extract::Ack,
    io::SocketIo,
    pattern::Pattern,
    socket::Socket,
};
use crate::adapter::{EventData as RawEvent, ServerReply};

/// What is called when an event was not handled.
type ErrorHook = dyn Fn(&Socket, &str, &EventError, Ack) + Send + Sync;

/// What is called for each event that is sent.
type OutgoingHook = dyn Fn(&RawEvent) + Send + Sync;

/// What is called for each event of another server.
type ServerHook = dyn Fn(SocketIo, RawEvent, Option<ServerReply>) + Send + Sync;

/// The handlers of a namespace, or of all that fit a pattern.
#[derive(Default)]
pub(crate) struct NamespaceRoutes {
    pub(crate) authorize: Vec<Callback<OnAuthorize>>,
    pub(crate) connect: Vec<Callback<OnConnect>>,
    pub(crate) disconnect: Vec<Callback<OnDisconnect>>,
    /// Called before the others; one that fails ends the event.
    pub(crate) before: Vec<Callback<OnEvent>>,
    pub(crate) any: Vec<Callback<OnEvent>>,
    /// For each event all its handlers: those that come before, those for any event, and its own.
    pub(crate) events: HashMap<Box<str>, Vec<Callback<OnEvent>>>,
    pub(crate) fallback: Vec<Callback<OnEvent>>,
    pub(crate) error: Option<Arc<ErrorHook>>,
    pub(crate) ordered: bool,
    /// Called for each event that is sent.
    pub(crate) outgoing: Vec<Arc<OutgoingHook>>,
    /// Called for each event of another server.
    pub(crate) server_event: Option<Arc<ServerHook>>,
}

impl NamespaceRoutes {
    /// What an event goes through, in order.
    pub(crate) fn chain<'a>(&'a self, event: &str) -> Chain<'a> {
        let own = self.events.get(event).map_or(&*self.fallback, |handlers| handlers);
        Chain { before: &self.before, any: &self.any, own }
    }
}

/// The handlers that an event goes through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain<'a> {
    before: &'a [Callback<OnEvent>],
    any: &'a [Callback<OnEvent>],
    own: &'a [Callback<OnEvent>],
}

impl<'a> Chain<'a> {
    /// The handler at a position, and whether the event ends when it fails.
    pub(crate) fn get(&self, position: usize) -> Option<(&'a Callback<OnEvent>, bool)> {
        if let Some(handler) = self.before.get(position) {
            return Some((handler, true));
        }
        let position = position.checked_sub(self.before.len())?;
        let handler = self.any.get(position).or_else(|| self.own.get(position.checked_sub(self.any.len())?));
        handler.map(|handler| (handler, false))
    }

    /// Whether nobody handles the event: handlers for any event do not count.
    pub(crate) const fn is_unhandled(&self) -> bool {
        self.own.is_empty()
    }
}

impl fmt::Debug for NamespaceRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceRoutes").field("events", &self.events.keys()).finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) listed: HashMap<String, Arc<NamespaceRoutes>>,
    pub(crate) patterns: Vec<(Arc<Pattern>, Arc<NamespaceRoutes>)>,
    /// Whether any of them has an `outgoing`.
    pub(crate) has_outgoing: bool,
}

impl Routes {
    /// The handlers of a namespace, and the parts of its name. `None` when the router knows no such name.
    pub(crate) fn find(&self, nsp: &str) -> Option<(Arc<NamespaceRoutes>, BTreeMap<String, String>)> {
        if let Some(routes) = self.listed.get(nsp) {
            return Some((Arc::clone(routes), BTreeMap::new()));
        }
        self.patterns.iter().find_map(|(pattern, routes)| Some((Arc::clone(routes), pattern.matches(nsp)?)))
    }
}
