//! What a shard does whose messages pile up in front of another: it reads no sockets until that one has caught up.
//!
//! WebSockets stay unread, the bodies of POSTs undelivered, new connections unserved. Timers, commands of other shards and writes
//! go on, so shards that wait for each other still work off what lies in front of them, and cannot deadlock.

use std::{rc::Rc, task::Waker};

use tokio::sync::Notify;

use super::super::shards::mailbox::Outgoing;
use super::super::shards::registry::Registry;
use crate::ConnKey;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Congestion {
    /// The shards that have too much to do.
    by: Vec<u16>,
    /// The WebSockets that wait for the end of it.
    held: Vec<ConnKey>,
    /// Everything else that does.
    over: Rc<Notify>,
}

impl Congestion {
    /// Whether a shard has too much to do.
    pub(super) const fn is_on(&self) -> bool {
        !self.by.is_empty()
    }

    /// Notes a WebSocket that is to be woken at the end.
    pub(super) fn hold(&mut self, key: ConnKey) {
        self.held.push(key);
    }

    /// Told at the end.
    pub(super) fn over(&self) -> Rc<Notify> {
        Rc::clone(&self.over)
    }

    /// Sends other shards what this turn has for them, and notes who has too much to do.
    pub(super) fn flush_to_mailboxes(&mut self, outgoing: &mut Outgoing, registry: &Registry) {
        let by = &mut self.by;
        outgoing.flush_to_mailboxes(&registry.mailboxes, |target| {
            if !by.contains(&target) {
                by.push(target);
            }
        });
    }

    /// Asks the shards that had too much to do whether they have caught up. When all have: the WebSockets that waited. `driver`,
    /// of shard `id`, is woken when it is worth asking again.
    pub(super) fn end_if_over(&mut self, id: u16, registry: &Registry, driver: Option<&Waker>) -> Vec<ConnKey> {
        if let Some(driver) = driver {
            self.by.retain(|target| registry.mailbox(*target).is_some_and(|mailbox| !mailbox.has_room_for(id, driver)));
        }
        if self.is_on() {
            return Vec::new();
        }
        self.over.notify_waiters();
        std::mem::take(&mut self.held)
    }
}
