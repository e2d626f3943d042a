//! A connect storm: TCP, WebSocket handshake and Socket.IO CONNECT with an HS256 token, a bounded number at once.
//!
//! The clients are non-blocking and many are opened at the same time, as after a restart. [`crate::handshake`] opens
//! one after the other, and would wake the server for each step of each client.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use crate::figure::{GENERATOR_BUSY, GENERATOR_US, PER_SECOND, SERVER_US};
use crate::frames;
use crate::handshake::{MAX_HEAD, accepted_head, connect_packet, token, upgrade_request};
use crate::meter::Meter;
use crate::outcome::Column;
use crate::row::{Bench, Row};
use crate::subject::{SECRET, Setup};

/// Time limit of the whole storm.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Connects per CPU second of the server
#[derive(Debug, Args, Serialize)]
pub struct Connect {
    /// Clients that connect; they stay until all are connected, then all are closed
    #[arg(long, default_value_t = 5000)]
    clients: usize,
    /// Clients that are being opened at the same time
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
}

impl Row for Connect {
    const NAME: &'static str = "connect";

    fn title(&self) -> String {
        let Self { clients, concurrency } = self;
        format!("Connect storm: {clients} clients, {concurrency} at once, TCP to CONNECT with an HS256 token")
    }

    fn columns(&self) -> (Column, Vec<Column>) {
        let others = [
            (SERVER_US, "CPU us/connect", 1),
            (PER_SECOND, "connects/s", 0),
            ("close_cpu_us", "CPU us/close", 1),
            (GENERATOR_US, "generator us/connect", 1),
            (GENERATOR_BUSY, "generator core busy", 2),
        ];
        let others = others.map(|(figure, label, digits)| Column::new(figure, label, digits));
        (Column::new("connects_per_cpu_second", "connects/CPU-second", 0), others.to_vec())
    }

    fn shrink(&mut self) {
        self.clients = 300;
    }

    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()> {
        let running = bench.start(&Setup::default())?;
        // One client first: a server does its one-time work for that one.
        storm(running.address(), &packets(0, 1)?, 1)?;
        let packets = packets(1, self.clients)?;
        let meter = Meter::start(&running)?;
        let clients = storm(running.address(), &packets, self.concurrency)?;
        let mut figures = meter.stop(clients.len() as u64)?;
        if let Some(us) = figures.get(SERVER_US) {
            figures.insert("connects_per_cpu_second".into(), 1e6 / us);
        }
        let meter = Meter::start(&running)?;
        drop(clients);
        // The server has handled all closes when it stops working: when two readings in a row of its CPU time are equal.
        let (mut cpu, start) = (None, Instant::now());
        while cpu != Some(meter.server_cpu()?) && start.elapsed() < TIME_LIMIT {
            cpu = Some(meter.server_cpu()?);
            std::thread::sleep(Duration::from_millis(50));
        }
        figures.insert("close_cpu_us".into(), meter.server_cpu()?.as_secs_f64() * 1e6 / self.clients as f64);
        bench.record("connect", None, figures);
        Ok(())
    }
}

/// The CONNECT packets, as frames, of `count` users from number `first` on. They are made in advance, so that signing
/// is not measured.
fn packets(first: usize, count: usize) -> anyhow::Result<VecDeque<Vec<u8>>> {
    let frame = |member| {
        let mut frame = Vec::new();
        frames::encode_text(connect_packet(&token(SECRET, member)?).as_bytes(), &mut frame);
        Ok(frame)
    };
    (first..first + count).map(frame).collect()
}

/// One client that is being opened.
#[derive(Debug)]
struct Opening {
    stream: TcpStream,
    received: Vec<u8>,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The TCP connection is being made; the upgrade request has not been sent.
    Connecting,
    Upgrading,
    AwaitingOpen,
    Entering,
    Done,
}

/// Opens a client for each packet, `concurrency` at once, and returns them connected.
fn storm(address: SocketAddr, packets: &VecDeque<Vec<u8>>, concurrency: usize) -> anyhow::Result<Vec<TcpStream>> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let upgrade = upgrade_request(address);
    let mut openings: Vec<Opening> = Vec::with_capacity(packets.len());
    let (mut done, start) = (0, Instant::now());
    while done < packets.len() {
        while openings.len() < packets.len() && openings.len() - done < concurrency.max(1) {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(openings.len()), interest)?;
            openings.push(Opening { stream, received: Vec::new(), step: Step::Connecting });
        }
        ensure!(start.elapsed() < TIME_LIMIT, "{done} of {} clients connected in a minute", packets.len());
        match poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in events.iter() {
            let Token(member) = event.token();
            let opening = &mut openings[member];
            if opening.step == Step::Connecting && event.is_writable() {
                opening.stream.peer_addr()?;
                opening.send(&upgrade, Step::Upgrading)?;
            }
            if event.is_readable() && opening.step != Step::Done {
                opening.read(&packets[member])?;
                done += usize::from(opening.step == Step::Done);
            }
        }
    }
    Ok(openings.into_iter().map(|opening| opening.stream).collect())
}

impl Opening {
    /// The bytes of an opening fit into any socket's buffer, so they are written at once or not at all.
    fn send(&mut self, bytes: &[u8], next: Step) -> anyhow::Result<()> {
        let written = self.stream.write(bytes)?;
        ensure!(written == bytes.len(), "a request of {} bytes was written in part", bytes.len());
        self.step = next;
        Ok(())
    }

    fn read(&mut self, connect: &[u8]) -> anyhow::Result<()> {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("the server closed a client at step {:?}: {}", self.step, self.shown()),
                Ok(read) => self.received.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            ensure!(self.received.len() <= MAX_HEAD, "too long an answer at step {:?}: {}", self.step, self.shown());
        }
        if self.step == Step::Upgrading {
            let Some(end) = accepted_head(&self.received)? else { return Ok(()) };
            self.received.drain(..end);
            self.step = Step::AwaitingOpen;
        }
        while let Some(frame) = frames::scan(&self.received)? {
            let len = frame.len;
            match (self.step, frame.payload) {
                (Step::AwaitingOpen, [b'0', b'{', ..]) => self.send(connect, Step::Entering)?,
                (Step::Entering, [b'4', b'0', b'{', ..]) => self.step = Step::Done,
                // socketioxide pings at once, the other servers after an interval.
                (step, b"2") => {
                    let mut pong = Vec::new();
                    frames::encode_text(b"3", &mut pong);
                    self.send(&pong, step)?;
                }
                // Events may follow at once.
                (Step::Done, _) => {}
                _ => bail!("at step {:?} came {}", self.step, self.shown()),
            }
            self.received.drain(..len);
        }
        Ok(())
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.received).chars().take(300).collect()
    }
}
