//! [`SessionShard`]: reaches the shard that owns a session, from the shard where a request came in. If both are the
//! same the call is direct, otherwise it goes through the mailbox.

use bytes::Bytes;
use tokio::sync::oneshot::{self, Receiver, Sender};

use super::super::{
    peer::send_queue::PollBody,
    shard::{io::ShardIo, turn::ShardRef},
    shards::{
        command::Command,
        session_request::{BegunPost, PostedPackets, ProbeKey, SessionQuery, SessionRequest},
    },
};
use crate::{
    ConnKey, Handler, Sid,
    http::{PostBody, Refused},
    payload::Form,
};

/// The shard of a session, seen from another or the same shard. See the module.
#[derive(Debug)]
pub(in crate::net) struct SessionShard<'a, H> {
    here: &'a ShardRef<H>,
    id: u16,
    is_here: bool,
}

impl<'a, H: Handler> SessionShard<'a, H> {
    /// The shard that `sid` names; `None` when there is no such shard.
    pub(in crate::net) fn of(sid: &Sid, here: &'a ShardRef<H>) -> Option<Self> {
        let (id, shards) = here.turn(|shard| (shard.io.id, shard.io.registry.shards()));
        let named = sid.shard();
        (named < shards).then_some(Self { here, id: named, is_here: named == id })
    }

    /// This shard, if the session is on it.
    pub(in crate::net) const fn here(&self) -> Option<&'a ShardRef<H>> {
        if self.is_here { Some(self.here) } else { None }
    }

    pub(in crate::net) const fn id(&self) -> u16 {
        self.id
    }

    /// Checks that the request fits its session.
    ///
    /// # Errors
    /// The refusal; sessions of an ended shard are unknown.
    pub(in crate::net) async fn find(&self, query: SessionQuery) -> Result<ConnKey, Refused> {
        let found = self.ask(|io| io.find_session(query), |answer| SessionRequest::Find { query, answer });
        found.await.unwrap_or(Err(Refused::UNKNOWN))
    }

    /// See [`ShardIo::begin_poll`].
    pub(in crate::net) async fn begin_poll(&self, query: SessionQuery) -> Result<Receiver<PollBody>, Refused> {
        let begun = self.ask(|io| io.begin_poll(query), |answer| SessionRequest::BeginPoll { query, answer });
        begun.await.unwrap_or(Err(Refused::UNKNOWN))
    }

    /// See [`ShardIo::begin_post`].
    pub(in crate::net) async fn begin_post(
        &self,
        query: SessionQuery,
        form: Option<PostBody>,
        declared: u64,
    ) -> Result<BegunPost, Refused> {
        let begun = self.ask(
            |io| io.begin_post(query, form, declared),
            |answer| SessionRequest::BeginPost { query, form, declared, answer },
        );
        begun.await.unwrap_or(Err(Refused::UNKNOWN))
    }

    /// See [`ShardIo::end_post`], or, if the body was too long and was dropped, [`ShardIo::end_long_post`].
    pub(in crate::net) async fn end_post(&self, conn: ConnKey, too_long: bool) {
        let ended = self.ask(
            |io| if too_long { io.end_long_post(conn) } else { io.end_post(conn) },
            |answer| SessionRequest::EndPost { conn, too_long, answer },
        );
        // A shard that has ended has nothing to end.
        let _ = ended.await;
    }

    /// See [`ShardIo::fail_post`].
    pub(in crate::net) async fn fail_post(&self, conn: ConnKey) {
        let failed = self.ask(|io| io.fail_post(conn), |answer| SessionRequest::FailPost { conn, answer });
        let _ = failed.await;
    }

    /// Sends the body of a POST that has begun to the session's shard, which handles its packets.
    pub(in crate::net) async fn post_packets(&self, conn: ConnKey, form: Form, body: Bytes) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Packets(Box::new(PostedPackets { conn, form, body, answer })));
        answered.await.unwrap_or(Err(Refused::BadRequest))
    }

    /// See [`ShardIo::abort_polling`]. Does not wait.
    pub(in crate::net) fn abort_polling(&self, sid: Sid) {
        self.here.turn_unless_broken(|shard| {
            if self.is_here {
                shard.io.abort_polling(&sid);
            } else {
                shard.io.outgoing.push(self.id, Command::Session(SessionRequest::AbortPolling { sid }));
            }
        });
    }

    /// See [`ShardIo::begin_probe`].
    pub(in crate::net) async fn begin_probe(
        &self,
        query: SessionQuery,
        valid: bool,
    ) -> Result<Option<ProbeKey>, Refused> {
        let begun =
            self.ask(|io| io.begin_probe(query, valid), |answer| SessionRequest::BeginProbe { query, valid, answer });
        begun.await.unwrap_or(Err(Refused::UNKNOWN))
    }

    /// Calls `here` if the session is on this shard, otherwise sends its shard the request that `there` makes. `None`
    /// if that shard has ended.
    async fn ask<R>(
        &self,
        here: impl FnOnce(&mut ShardIo) -> R,
        there: impl FnOnce(Sender<R>) -> SessionRequest,
    ) -> Option<R> {
        if self.is_here {
            return Some(self.here.turn(|shard| here(&mut shard.io)));
        }
        let (answer, answered) = oneshot::channel();
        self.send(Command::Session(there(answer)));
        answered.await.ok()
    }

    fn send(&self, command: Command) {
        self.here.turn(|shard| shard.io.outgoing.push(self.id, command));
    }
}
