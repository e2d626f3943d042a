//! The router without sockets, on the engine's test kit.

mod events;
mod faults;
mod sockets;

use std::sync::{Arc, Mutex};

use engineio::{ConnKey, JobId, testing::Shard};

use super::*;
use crate::{Binary, ConnectError, DisconnectReason, Server};

/// What handlers noted.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A shard with a router, and what its handlers noted.
struct Bench {
    shard: Shard<Server<RouterShard>>,
    io: SocketIo,
    notes: Notes,
}

impl Bench {
    /// `State<Notes>` is there.
    fn new(build: impl FnOnce(&mut Router)) -> Self {
        let (notes, mut router) = (Notes::default(), Router::new());
        router.state(notes.clone());
        build(&mut router);
        let (server, io) = router.test().unwrap();
        Self { shard: Shard::new(server).catching_panics(), io, notes }
    }

    /// A client in `/`.
    fn join(&mut self) -> ConnKey {
        self.join_nsp("/")
    }

    fn join_nsp(&mut self, nsp: &str) -> ConnKey {
        let conn = self.shard.open();
        self.shard.text(conn, &format!("0{nsp},"));
        let sent = self.shard.sent(conn);
        assert!(sent.first().is_some_and(|first| first.starts_with("40")), "{sent:?}");
        conn
    }

    /// A client sends a packet; what it gets.
    fn text(&mut self, conn: ConnKey, text: &str) -> Vec<String> {
        self.shard.text(conn, text);
        self.shard.sent(conn)
    }

    /// Polls the jobs that are not done, oldest first, until one is done; whether one was.
    fn run_job(&mut self) -> bool {
        (0..100).any(|id| self.shard.run_job(JobId::new(id)))
    }

    fn is_open(&self, conn: ConnKey) -> bool {
        self.shard.engine.is_open(conn)
    }
}
