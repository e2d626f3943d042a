//! [`Registry`]: what all shards of a server share. Their mailboxes, and what is counted over all of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{command::Command, connections::Connections, mailbox::Mailbox};

/// What the shards of a server share.
#[derive(Debug)]
pub(in crate::net) struct Registry {
    pub(in crate::net) mailboxes: Box<[Mailbox]>,
    pub(in crate::net) connections: Connections,
    /// Sessions, and handshakes that were admitted and may still become one.
    sessions: AtomicUsize,
    closing: AtomicBool,
}

impl Registry {
    pub(in crate::net) fn new(shards: u16) -> Self {
        Self {
            mailboxes: (0..shards).map(|_| Mailbox::default()).collect(),
            connections: Connections::new(shards),
            sessions: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        }
    }

    /// How many shards the server has.
    pub(in crate::net) const fn shards(&self) -> u16 {
        // There were that many when it was made.
        self.mailboxes.len() as u16
    }

    /// The mailbox of a shard.
    pub(in crate::net) fn mailbox(&self, shard: u16) -> Option<&Mailbox> {
        self.mailboxes.get(usize::from(shard))
    }

    /// A permit for one more session, if there are less than `limit` (0: no limit) and the server is not shutting down.
    pub(in crate::net) fn permit(self: &Arc<Self>, limit: usize) -> Option<SessionPermit> {
        let before = self.sessions.fetch_add(1, Ordering::SeqCst);
        // From here on it is given back when it is not used.
        let permit = SessionPermit(Arc::clone(self));
        let full = limit > 0 && before >= limit;
        (!full && !self.closing.load(Ordering::SeqCst)).then_some(permit)
    }

    /// Ends every session at its transport; every shard stops once all are gone, or `within` is over.
    pub(in crate::net) fn shut_down(&self, within: Duration) {
        self.closing.store(true, Ordering::SeqCst);
        for mailbox in &self.mailboxes {
            // A shard that has ended has nothing left to end.
            let _ = mailbox.put(Command::Shutdown { within });
        }
    }

    /// Whether no session is left, nor any to come.
    pub(in crate::net) fn is_drained(&self) -> bool {
        self.closing.load(Ordering::SeqCst) && self.sessions.load(Ordering::SeqCst) == 0
    }

    /// A shard has ended: nobody deals with what lies in front of it, and it gets no more connections.
    pub(in crate::net) fn end(&self, shard: u16) {
        self.connections.end(shard);
        if let Some(mailbox) = self.mailbox(shard) {
            mailbox.close();
        }
    }
}

/// The right to be one session.
#[derive(Debug)]
pub(in crate::net) struct SessionPermit(Arc<Registry>);

impl Drop for SessionPermit {
    fn drop(&mut self) {
        let Self(registry) = self;
        if registry.sessions.fetch_sub(1, Ordering::SeqCst) == 1 && registry.closing.load(Ordering::SeqCst) {
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
    fn a_permit_lasts_as_long_as_it_is_held() {
        let registry = Arc::new(Registry::new(1));
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
