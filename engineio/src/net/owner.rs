//! The shard that owns a session, as a request that came in on any shard reaches it: at once where both are the same,
//! by mailbox otherwise.

use tokio::sync::oneshot;

use super::{
    mailbox::Letter,
    shard::{Io, ShardRef},
};
use crate::{Handler, Sid};

/// See the module.
#[derive(Debug)]
pub(super) struct Owner<'a, H> {
    here: &'a ShardRef<H>,
    shard: u16,
    is_here: bool,
}

impl<'a, H: Handler> Owner<'a, H> {
    /// The owner that `sid` names; `None` when there is no such shard.
    pub(super) fn of(sid: &Sid, here: &'a ShardRef<H>) -> Option<Self> {
        let (id, shards) = here.turn(|shard| (shard.io.id, shard.io.common.shards()));
        let shard = sid.shard();
        (shard < shards).then_some(Self { here, shard, is_here: shard == id })
    }

    /// The owner, if it is this very shard.
    pub(super) const fn here(&self) -> Option<&'a ShardRef<H>> {
        if self.is_here { Some(self.here) } else { None }
    }

    pub(super) const fn shard(&self) -> u16 {
        self.shard
    }

    /// Runs `visit` there, in a turn of its own: what it returns, or `None` when that shard has ended.
    pub(super) async fn visit<R: Send + 'static>(
        &self,
        visit: impl FnOnce(&mut Io) -> R + Send + 'static,
    ) -> Option<R> {
        if self.is_here {
            return Some(self.here.turn(|shard| visit(&mut shard.io)));
        }
        let (answer, answered) = oneshot::channel();
        self.tell(move |io| {
            // Whoever asked may be gone; it has told so in a letter behind this one.
            let _ = answer.send(visit(io));
        });
        answered.await.ok()
    }

    /// Like [`Owner::visit`], and nobody waits for it.
    pub(super) fn tell(&self, visit: impl FnOnce(&mut Io) + Send + 'static) {
        if self.is_here {
            self.here.turn(|shard| visit(&mut shard.io));
        } else {
            self.post(Letter::Visit(Box::new(visit)));
        }
    }

    pub(super) fn post(&self, letter: Letter) {
        self.here.turn(|shard| shard.io.outgoing.push(self.shard, letter));
    }
}
