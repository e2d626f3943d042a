//! What it costs the server when clients come back: with their sessions and all that they missed, or as new clients.

mod speaker;

pub use speaker::{Speaker, sockets};

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};

use crate::herd::{Habits, Herd, Origin, Pace};
use crate::running::Running;
use crate::subject::SECRET;

/// How long all clients may take to come back, beyond their pace.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one turn of the clients waits at most.
const TURN: Duration = Duration::from_millis(20);
/// A session that is younger may be unknown after a crash. The server says one second.
const STORED: Duration = Duration::from_millis(1500);

/// What one return of the clients took.
#[derive(Debug, Clone)]
pub struct Return {
    /// How many clients came back.
    pub clients: usize,
    /// How many of them got their sockets back.
    pub recovered: usize,
    /// CPU time of the server, of each client that came back, in microseconds.
    pub server_us: f64,
    /// When the last was back, in milliseconds.
    pub last: f64,
    /// The times from CONNECT to its answer, sorted, in milliseconds.
    pub answers: Vec<f64>,
}

impl Return {
    /// The time that this share of the answers is below.
    #[must_use]
    pub fn percentile(&self, share: f64) -> f64 {
        let at = (self.answers.len() as f64 * share) as usize;
        self.answers.get(at.min(self.answers.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

/// How clients are to come back.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// When.
    pub pace: Pace,
    /// With their sessions.
    pub with_sessions: bool,
    /// How many messages each room gets while they are away. One more comes while they come back.
    pub missed: u32,
}

/// Clients in the lobby and one room each, and somebody who speaks there.
#[derive(Debug)]
pub struct Crowd {
    herd: Herd,
    speaker: Speaker,
    size: usize,
}

impl Crowd {
    /// Connects them all.
    ///
    /// # Errors
    /// The server does not let them in.
    pub fn gather(address: SocketAddr, size: usize, rooms: usize) -> anyhow::Result<Self> {
        let habits = Habits { origin: Origin::Loopback, recover: true, rooms };
        let (mut herd, speaker) = (Herd::new(address, SECRET, size, habits)?, Speaker::new(address, rooms)?);
        wait(&mut herd)?;
        Ok(Self { herd, speaker, size })
    }

    /// Cuts the connections of so many clients, speaks when the server has seen that, and lets them come back.
    ///
    /// # Errors
    /// They do not all come back, or have not got what they missed, or the server cannot be asked.
    pub fn cut(&mut self, server: &Running, clients: usize, way: Way) -> anyhow::Result<Return> {
        self.herd.cut(clients);
        let begun = Instant::now();
        // The speaker is a client too.
        while sockets(server.address())? > self.size - clients + 1 {
            ensure!(begun.elapsed() < PATIENCE, "the server does not notice that {clients} connections were cut");
            self.herd.pump(TURN)?;
        }
        self.come_back(server, clients, way)
    }

    /// Kills the server. The next one is started by `start`; then all clients come back.
    ///
    /// # Errors
    /// As [`Crowd::cut`], or the next server does not start.
    pub fn kill(
        &mut self,
        server: Running,
        start: impl FnOnce() -> anyhow::Result<Running>,
        way: Way,
    ) -> anyhow::Result<(Running, Return)> {
        let settled = Instant::now();
        while settled.elapsed() < STORED {
            self.herd.pump(TURN)?;
        }
        // What they have not read yet they have missed, too.
        self.speaker.speak(way.missed, Duration::ZERO)?;
        drop(server);
        self.herd.cut(self.size);
        let server = start()?;
        self.herd.go_to(server.address());
        self.speaker.go_to(server.address())?;
        let clients = self.size;
        let back = self.come_back(&server, clients, way)?;
        Ok((server, back))
    }

    fn come_back(&mut self, server: &Running, clients: usize, way: Way) -> anyhow::Result<Return> {
        self.speaker.speak(way.missed, Duration::ZERO)?;
        let (begun, before) = (SystemTime::now(), server.cpu()?);
        self.herd.come_back(way.pace, way.with_sessions);
        let Self { herd, speaker, .. } = self;
        thread::scope(|scope| {
            let speaking = scope.spawn(|| speaker.speak(1, Duration::from_secs(1)));
            wait(herd)?;
            speaking.join().map_err(|_| io::Error::other("a thread has panicked"))?.context("speak")
        })?;
        let server_us = server.cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / clients as f64;
        let count = self.herd.count(begun);
        ensure!(count.back == clients, "of {clients} clients {} are back; {}", count.back, self.herd.describe());
        if !way.with_sessions {
            // Now they know again which message is the next.
            self.speaker.speak(1, Duration::ZERO)?;
        }
        self.check()?;
        let answers = self.herd.answer_times(begun).iter().map(|time| time.as_secs_f64() * 1e3).collect();
        Ok(Return { clients, recovered: count.recovered, server_us, last: count.last, answers })
    }

    /// Waits until all have got every message that was sent to their rooms while they were members, once and in order.
    fn check(&mut self) -> anyhow::Result<()> {
        let (lobby, room) = self.speaker.spoken();
        let begun = Instant::now();
        while self.herd.complete(lobby, room) < self.size {
            let complete = self.herd.complete(lobby, room);
            ensure!(
                begun.elapsed() < PATIENCE,
                "only {complete} clients have got exactly what was sent to their rooms"
            );
            self.herd.pump(TURN)?;
        }
        Ok(())
    }
}

/// Pumps until all clients are connected.
fn wait(herd: &mut Herd) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !herd.is_back() {
        ensure!(begun.elapsed() < PATIENCE, "not all clients are back: {}", herd.describe());
        let look_at = Instant::now() + TURN;
        while Instant::now() < look_at {
            herd.pump(TURN)?;
        }
    }
    Ok(())
}
