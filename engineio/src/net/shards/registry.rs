//! [`Registry`]: what all shards of a server share: their mailboxes and their counters.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{command::Command, connections::Connections, http_connections::HttpConnections, mailbox::Mailbox};
use crate::{Config, http::refusal_log::RefusalLog};

/// What the shards of a server share.
#[derive(Debug)]
pub(in crate::net) struct Registry {
    pub(in crate::net) mailboxes: Box<[Mailbox]>,
    pub(in crate::net) connections: Connections,
    pub(in crate::net) http: Arc<HttpConnections>,
    pub(in crate::net) refusals: Mutex<RefusalLog>,
    /// How connections of the listener are encrypted, if they are.
    #[cfg(feature = "tls")]
    pub(in crate::net) tls: Option<super::tls::Tls>,
    /// Sessions, and admitted handshakes that may still become sessions.
    sessions: AtomicUsize,
    /// No more sessions are admitted.
    refuses: AtomicBool,
    /// The server is shutting down.
    closing: AtomicBool,
}

impl Registry {
    pub(in crate::net) fn new(shards: u16, max_pending: usize) -> Self {
        Self {
            mailboxes: (0..shards).map(|_| Mailbox::default()).collect(),
            connections: Connections::new(shards),
            http: Arc::new(HttpConnections::new(max_pending)),
            refusals: Mutex::default(),
            #[cfg(feature = "tls")]
            tls: None,
            sessions: AtomicUsize::new(0),
            refuses: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        }
    }

    /// The same with encrypted connections, or without.
    #[cfg(feature = "tls")]
    pub(in crate::net) fn with_tls(self, tls: Option<super::tls::Tls>) -> Self {
        Self { tls, ..self }
    }

    /// How many shards the server has.
    pub(in crate::net) const fn shards(&self) -> u16 {
        // It was made with a u16 as its length.
        self.mailboxes.len() as u16
    }

    /// The mailbox of a shard.
    pub(in crate::net) fn mailbox(&self, shard: u16) -> Option<&Mailbox> {
        self.mailboxes.get(usize::from(shard))
    }

    /// A permit for one more session, if there are fewer than `limit` (0: no limit) and the server is neither draining nor
    /// shutting down.
    pub(in crate::net) fn permit(self: &Arc<Self>, limit: usize) -> Option<SessionPermit> {
        let before = self.sessions.fetch_add(1, Ordering::SeqCst);
        // From here on an unused permit is returned by `Drop`.
        let permit = SessionPermit(Arc::clone(self));
        let full = limit > 0 && before >= limit;
        (!full && !self.refuses.load(Ordering::SeqCst)).then_some(permit)
    }

    /// Ends every session and its transport. Each shard stops once all sessions are gone, or `within` has passed.
    pub(in crate::net) fn shut_down(&self, within: Duration) {
        self.refuses.store(true, Ordering::SeqCst);
        self.closing.store(true, Ordering::SeqCst);
        for mailbox in &self.mailboxes {
            // A shard that has ended has nothing to shut down.
            let _ = mailbox.put(Command::Shutdown { within });
        }
    }

    /// Admits no more sessions. Each shard ends its own, one after another, over this time, and then shuts the server down.
    pub(in crate::net) fn drain(&self, over: Duration) {
        self.refuses.store(true, Ordering::SeqCst);
        for mailbox in &self.mailboxes {
            let _ = mailbox.put(Command::Drain { over });
        }
    }

    /// Every shard takes the changes over that a running server can.
    pub(in crate::net) fn reconfigure(&self, config: &Config) {
        self.http.set_max_pending(config.max_pending);
        for mailbox in &self.mailboxes {
            // A shard that has ended needs no settings.
            let _ = mailbox.put(Command::Reconfigure(Box::new(config.clone())));
        }
    }

    /// Whether the server drains, has no session left, and is not shutting down yet.
    pub(in crate::net) fn may_shut_down(&self) -> bool {
        self.refuses.load(Ordering::SeqCst)
            && !self.closing.load(Ordering::SeqCst)
            && self.sessions.load(Ordering::SeqCst) == 0
    }

    /// Whether the server is shutting down and no session is left or being admitted.
    pub(in crate::net) fn is_drained(&self) -> bool {
        self.closing.load(Ordering::SeqCst) && self.sessions.load(Ordering::SeqCst) == 0
    }

    /// A shard has ended: its mailbox is closed, and it gets no more connections.
    pub(in crate::net) fn end(&self, shard: u16) {
        self.connections.end(shard);
        if let Some(mailbox) = self.mailbox(shard) {
            mailbox.close();
        }
    }
}

/// Permission to be one session; it is counted until dropped.
#[derive(Debug)]
pub(in crate::net) struct SessionPermit(Arc<Registry>);

impl Drop for SessionPermit {
    fn drop(&mut self) {
        let Self(registry) = self;
        if registry.sessions.fetch_sub(1, Ordering::SeqCst) == 1 && registry.refuses.load(Ordering::SeqCst) {
            for mailbox in &registry.mailboxes {
                let _ = mailbox.put(Command::Drained);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_drains_admits_nobody_and_may_shut_down_when_the_last_is_gone() {
        let registry = Arc::new(Registry::new(1, 0));
        let last = registry.permit(0).unwrap();
        registry.drain(Duration::from_secs(60));
        assert!(registry.permit(0).is_none());
        assert!(!registry.may_shut_down() && !registry.is_drained());
        drop(last);
        assert!(registry.may_shut_down() && !registry.is_drained());
        registry.shut_down(Duration::ZERO);
        assert!(!registry.may_shut_down() && registry.is_drained());
    }

    #[test]
    fn a_permit_lasts_as_long_as_it_is_held() {
        let registry = Arc::new(Registry::new(1, 0));
        let first = registry.permit(2).unwrap();
        let second = registry.permit(2).unwrap();
        assert!(registry.permit(2).is_none());
        drop(second);
        let second = registry.permit(2).unwrap();
        assert!(registry.permit(2).is_none());
        assert!(registry.permit(0).is_some(), "no limit");
        registry.shut_down(Duration::ZERO);
        assert!(registry.permit(0).is_none());
        drop(second);
        assert!(!registry.is_drained());
        drop(first);
        assert!(registry.is_drained());
    }
}
