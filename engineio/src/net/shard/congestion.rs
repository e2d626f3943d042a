//! What a shard does when its messages pile up in front of another shard: it reads no sockets until that shard has
//! caught up.
//!
//! Meanwhile WebSockets are not read, the bodies of POSTs are not delivered, and new connections are not served.
//! Timers, commands of other shards and writes go on. So shards that wait for each other still work through their own
//! mailboxes, and cannot deadlock.

use std::{rc::Rc, task::Waker};

use tokio::sync::Notify;

use super::super::shards::mailbox::Outgoing;
use super::super::shards::registry::Registry;
use crate::ConnKey;

/// The state of back-pressure from other shards. See the module.
#[derive(Debug, Default)]
pub(super) struct Congestion {
    /// The shards that have too much to do.
    by: Vec<u16>,
    /// The WebSockets that wait for its end.
    held: Vec<ConnKey>,
    /// Notifies every other task that waits for its end.
    over: Rc<Notify>,
}

impl Congestion {
    /// Whether a shard has too much to do.
    pub(super) const fn is_on(&self) -> bool {
        !self.by.is_empty()
    }

    /// Adds a WebSocket to wake at the end.
    pub(super) fn hold(&mut self, key: ConnKey) {
        self.held.push(key);
    }

    /// Notified at the end.
    pub(super) fn over(&self) -> Rc<Notify> {
        Rc::clone(&self.over)
    }

    /// Sends this turn's commands to other shards, and notes which of them have too much to do.
    pub(super) fn flush_to_mailboxes(&mut self, outgoing: &mut Outgoing, registry: &Registry) {
        let by = &mut self.by;
        outgoing.flush_to_mailboxes(&registry.mailboxes, |target| {
            if !by.contains(&target) {
                by.push(target);
            }
        });
    }

    /// Asks the shards that had too much to do whether they have caught up. If all have, returns the WebSockets that
    /// waited. Otherwise `driver`, the task of shard `id`, is woken when it should ask again.
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
