//! [`ShardRef`]: the reference to a shard that its tasks hold, and the turn, in which they use it.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    super::{
        peer::stream::PeerStream,
        shards::{
            command::{Command, PassedStream, StreamPurpose},
            peer::Peer,
        },
    },
    application::Shard,
};
use crate::Handler;

/// A reference to a shard. See the module.
#[derive(Debug)]
pub(in crate::net) struct ShardRef<H>(Rc<Shared<H>>);

#[derive(Debug)]
struct Shared<H> {
    shard: RefCell<Shard<H>>,
    /// A turn panicked. The shard's state is unknown, so no other turn may run.
    broken: Cell<bool>,
    /// Notified when that happens.
    breaks: Notify,
}

/// The payload with which a turn of a broken shard unwinds; its task ends.
struct Broken;

impl<H> Clone for ShardRef<H> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<H: Handler> ShardRef<H> {
    pub(in crate::net) fn new(shard: Shard<H>) -> Self {
        let shard = RefCell::new(shard);
        Self(Rc::new(Shared { shard, broken: Cell::new(false), breaks: Notify::new() }))
    }

    /// Runs one synchronous pass. After it, every close is reported to the handler, and the driver knows what to flush.
    ///
    /// The handler's panics are caught closer to it. A panic that gets here leaves the shard in an unknown state: it is
    /// broken, its tasks end, and [`ShardRef::breaks`] ends its thread.
    pub(in crate::net) fn turn<R>(&self, pass: impl FnOnce(&mut Shard<H>) -> R) -> R {
        if self.0.broken.get() {
            resume_unwind(Box::new(Broken));
        }
        let mut shard = self.0.shard.borrow_mut();
        let turn = AssertUnwindSafe(|| {
            shard.io.now = Instant::now();
            let result = pass(&mut shard);
            shard.report_closed();
            if shard.has_received_enough() {
                shard.end_turn();
            }
            if shard.needs_driver()
                && let Some(driver) = &shard.io.driver
            {
                driver.wake_by_ref();
            }
            result
        });
        match catch_unwind(turn) {
            Ok(result) => result,
            Err(panic) => {
                self.0.broken.set(true);
                self.0.breaks.notify_one();
                resume_unwind(panic)
            }
        }
    }

    /// Like [`ShardRef::turn`], for clean-up in `Drop`: leaves a broken shard alone, and does not unwind if the shard
    /// breaks here. (The task may be unwinding already, and a second panic would end the process.)
    pub(in crate::net) fn turn_unless_broken(&self, pass: impl FnOnce(&mut Shard<H>)) {
        if !self.0.broken.get() {
            // The turn has marked the shard as broken, which ends its thread.
            let _ = catch_unwind(AssertUnwindSafe(|| self.turn(pass)));
        }
    }

    /// Completes when the shard is broken.
    pub(in crate::net) async fn breaks(&self) {
        while !self.0.broken.get() {
            self.0.breaks.notified().await;
        }
    }

    /// Waits until sockets may be read.
    pub(in crate::net) async fn uncongested(&self) {
        let wait = || self.turn(|shard| shard.io.is_congested().then(|| shard.io.congestion_over()));
        while let Some(over) = wait() {
            over.notified().await;
        }
    }

    /// Passes a connection to another shard. `early` holds the bytes that were read from it already.
    pub(in crate::net) fn pass_stream(
        &self,
        stream: PeerStream,
        early: Bytes,
        peer: &Peer,
        target: u16,
        purpose: StreamPurpose,
    ) {
        match stream.detach() {
            Ok(stream) => self.turn(|shard| {
                let counted = shard.io.registry.connections.count(target);
                let http = shard.io.registry.http.add(shard.io.now);
                peer.pass_count(&http.conn);
                let passed = PassedStream { stream, remote: peer.remote, early, counted, http, purpose };
                shard.io.outgoing.push(target, Command::Stream(Box::new(passed)));
            }),
            Err(error) => tracing::debug!(%error, "a connection could not be passed to another shard"),
        }
    }
}
