//! What a handler sends: frames into a connection's queue, and batches straight to its socket if possible.

use std::time::Instant;

use super::{
    super::shards::command::Command,
    conn::{Conn, End},
    io::ShardIo,
};
use crate::{Batch, CloseReason, ConnKey, Job, JobId, Outbox, SendError, ShardMessage, SharedFrame, job::TooManyJobs};

impl Outbox for ShardIo {
    fn now(&self) -> Instant {
        self.now
    }

    fn shard(&self) -> u16 {
        self.id
    }

    fn shards(&self) -> u16 {
        self.registry.shards()
    }

    fn send_to_shard(&mut self, shard: u16, message: ShardMessage) {
        if !self.outgoing.push(shard, Command::Message(message)) {
            tracing::error!(shard, "a message for a shard that does not exist is dropped");
        }
    }

    fn start_job(&mut self, job: Job) -> Result<JobId, TooManyJobs> {
        self.jobs.start(job, self.config.max_jobs, self.id, &self.registry)
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        self.entropy.fill(bytes);
    }

    fn send(&mut self, key: ConnKey, frame: &SharedFrame) -> Result<(), SendError> {
        let hard = self.config.outbound_hard;
        let Some(conn) = self.conns.get_mut(key.0).filter(|conn| conn.is_open()) else {
            return Err(SendError::Closed);
        };
        let frame = conn.transport.adapt(frame, &self.config);
        let exceeds =
            |conn: &Conn| !conn.out.is_empty() && conn.out.counted_cost(hard) + frame.websocket().len() > hard;
        if exceeds(conn) {
            // One turn may bring more than the limit even to a peer that reads well: first write what it accepts now.
            self.flush_conn(key);
        }
        // One frame larger than the limit is taken when the queue is empty.
        if self.conns.get(key.0).is_some_and(exceeds) {
            self.end(key, CloseReason::SlowConsumer, End::Abort);
            return Err(SendError::Full);
        }
        let Some(conn) = self.conns.get_mut(key.0).filter(|conn| conn.is_open()) else {
            return Err(SendError::Closed);
        };
        conn.out.push(frame);
        if !std::mem::replace(&mut conn.dirty, true) {
            self.dirty.push(key);
        }
        Ok(())
    }

    fn send_batch(&mut self, key: ConnKey, batch: &Batch, first: usize) {
        let Some(conn) = self.conns.get_mut(key.0).filter(|conn| conn.is_open()) else { return };
        let written = if conn.out.is_empty() { conn.transport.try_write_through(batch.websocket(first)) } else { None };
        let next = match written {
            Some(written) => {
                let (next, part) = batch.after(first, written);
                let cut = batch.frames(next).first().filter(|_| part > 0);
                if let Some(frame) = cut {
                    conn.out.push_rest(frame.clone(), part);
                    self.mark_dirty(key);
                }
                next + usize::from(cut.is_some())
            }
            None => first,
        };
        for frame in batch.frames(next) {
            if self.send(key, frame).is_err() {
                return;
            }
        }
    }

    fn accept(&mut self, conn: ConnKey) {
        if let Some(conn) = self.conn(conn) {
            conn.accepted = true;
        }
    }

    fn is_writable(&self, key: ConnKey) -> bool {
        self.conns.get(key.0).is_some_and(|conn| conn.is_open() && conn.out.cost() < self.config.outbound_soft)
    }

    fn send_room(&mut self, key: ConnKey) -> usize {
        self.flush_conn(key);
        let hard = self.config.outbound_hard;
        let conn = self.conns.get(key.0).filter(|conn| conn.is_open());
        conn.map_or(0, |conn| hard.saturating_sub(conn.out.counted_cost(hard)))
    }

    fn last_heartbeat(&self, key: ConnKey) -> Option<Instant> {
        self.conns.get(key.0).filter(|conn| conn.is_open()).map(|conn| conn.session.last_heartbeat())
    }

    fn close(&mut self, key: ConnKey, reason: CloseReason) {
        self.end(key, reason, End::of(reason));
    }
}
