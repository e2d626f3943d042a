//! What a shard does whose letters pile up in front of another: it reads no sockets until that one has caught up.
//!
//! WebSockets stay unread, the bodies of POSTs undelivered, new connections unserved. Timers, letters and writes go on, so
//! shards that wait for each other still work off what lies in front of them, and cannot deadlock.

use std::rc::Rc;

use tokio::sync::Notify;

use super::{
    conn::{Conn, Link},
    shard::{Io, ShardRef},
};
use crate::{ConnKey, Handler};

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

impl Io {
    /// Whether sockets stay unread: another shard has too much to do, or will have at the end of this turn.
    pub(super) fn is_congested(&self) -> bool {
        !self.congestion.by.is_empty() || self.outgoing.is_too_much()
    }

    /// Whether this WebSocket is to be left unread; then it is woken when that is over.
    pub(super) fn holds(&mut self, key: ConnKey) -> bool {
        let congested = self.is_congested();
        if congested
            && let Some(Conn { link: Link::WebSocket(ws), .. }) = self.conns.get_mut(key.0)
            && !std::mem::replace(&mut ws.held, true)
        {
            self.congestion.held.push(key);
        }
        congested
    }

    /// Hands over what was written to other shards, and sees who has too much to do.
    pub(super) fn hand_over(&mut self) {
        if !self.outgoing.is_empty() {
            let Self { outgoing, common, congestion: Congestion { by, .. }, .. } = self;
            outgoing.hand_over(&common.mailboxes, |target| {
                if !by.contains(&target) {
                    by.push(target);
                }
            });
            self.relieve();
        }
    }

    /// Asks the shards that had too much to do whether they have caught up, and lets reading go on when all have.
    pub(super) fn ask_again(&mut self) {
        if !self.congestion.by.is_empty() {
            self.relieve();
        }
    }

    fn relieve(&mut self) {
        let Self { id, common, congestion: Congestion { by, held, over }, driver, conns, .. } = self;
        if let Some(driver) = driver {
            by.retain(|target| {
                common.mailboxes.get(usize::from(*target)).is_some_and(|mailbox| !mailbox.has_room_for(*id, driver))
            });
        }
        if !by.is_empty() {
            return;
        }
        for key in held.drain(..) {
            if let Some(Conn { link: Link::WebSocket(ws), .. }) = conns.get_mut(key.0) {
                ws.held = false;
                ws.wake();
            }
        }
        over.notify_waiters();
    }
}

impl<H: Handler> ShardRef<H> {
    /// Waits as long as sockets are to stay unread.
    pub(super) async fn uncongested(&self) {
        let wait = || self.turn(|shard| shard.io.is_congested().then(|| Rc::clone(&shard.io.congestion.over)));
        while let Some(over) = wait() {
            over.notified().await;
        }
    }
}
