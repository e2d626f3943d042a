//! A connection with plain requests, as its shard keeps it: what it is doing, what was read from it, and what it has
//! not accepted yet. Its task is in `net/http/plain.rs`.
//!
//! The stream is in the shard, so a poll is answered by the flush of its packets, as a WebSocket is. Its task keeps
//! sleeping.

use std::{
    io,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};

use super::super::{peer::stream::PeerStream, shards::peer::Peer};
use crate::{
    Config, ConnKey,
    deadlines::Heap,
    http::{answer, encode::Template},
    slab::{Key, Slab},
};

/// All connections with plain requests of a shard.
#[derive(Debug)]
pub(in crate::net) struct PlainConns {
    pub(in crate::net) conns: Slab<PlainConn>,
    /// When to check which of them, at the latest.
    deadlines: Heap<Key>,
    /// The answers that do not depend on their requests.
    pub(super) poll: Templates,
    pub(super) posted: Templates,
}

/// One connection. See the module.
#[derive(Debug)]
pub(in crate::net) struct PlainConn {
    pub(in crate::net) stream: PeerStream,
    task: Option<Waker>,
    pub(in crate::net) doing: Doing,
    /// Bytes that were read and not handled yet.
    pub(in crate::net) unread: Vec<u8>,
    /// How many of these bytes are known to be a part of a head.
    pub(in crate::net) partial: usize,
    /// The part of an answer that the socket has not accepted.
    unsent: Option<Box<Unsent>>,
    /// When the next head must have come, or the peer must have read a byte.
    deadline: Option<Instant>,
    /// The deadline is that of a connection that is kept open although no head has begun.
    kept: bool,
    pub(in crate::net) peer: Peer,
    /// The earliest entry of this connection among the deadlines.
    armed: Option<Instant>,
    /// The current or last answer is the final one.
    pub(in crate::net) last: bool,
    /// A write has failed.
    broken: bool,
    /// How many times the end of the stream was held back.
    pub(in crate::net) held_back: u8,
    /// The peer sends nothing more.
    pub(in crate::net) ended: bool,
}

/// How long a connection has waited for a head.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct HeadWait {
    pub(in crate::net) since: Instant,
    /// It has carried a request, and is kept open for another one.
    pub(in crate::net) kept: bool,
}

#[derive(Debug)]
struct Unsent {
    bytes: Vec<u8>,
    written: usize,
}

/// What a connection is doing.
#[derive(Debug)]
pub(in crate::net) enum Doing {
    /// A head is due, or an answer is being sent.
    Idle,
    /// A GET of this session waits for packets. `relevant` holds those of its header fields that its answer depends on.
    Polling { session: ConnKey, relevant: Option<Box<HeaderMap>> },
    /// The task serves the request; this many bytes of its body have not been read.
    Serving { body_left: usize },
}

/// How much of an answer has been sent.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::net) enum Sent {
    All,
    Blocked,
    Broken,
}

/// The heads of one answer.
#[derive(Debug)]
pub(super) struct Templates {
    keeps: Template,
    /// On a connection that ends with it.
    closes: Template,
}

impl Templates {
    pub(super) const fn of(&self, last: bool) -> &Template {
        if last { &self.closes } else { &self.keeps }
    }
}

impl PlainConns {
    pub(in crate::net) fn new(config: &Config) -> Self {
        let (poll, posted) = Self::templates(config);
        Self { conns: Slab::default(), deadlines: Heap::default(), poll, posted }
    }

    /// Answers are different from now on.
    pub(super) fn renew_templates(&mut self, config: &Config) {
        (self.poll, self.posted) = Self::templates(config);
    }

    /// The answers to a poll and to a POST.
    fn templates(config: &Config) -> (Templates, Templates) {
        let none = HeaderMap::new();
        let templates = |mut response: Response<Bytes>| {
            answer::finish(&mut response, &none, config);
            let keeps = Template::of(&response);
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            Templates { keeps, closes: Template::of(&response) }
        };
        let empty = answer::Poll { body: Vec::new(), binary: false, compress: false, jsonp: None };
        (templates(empty.answer(&none, config)), templates(answer::posted(&none)))
    }

    /// Keeps a connection. `unread` holds the bytes that were read already.
    pub(super) fn insert(
        &mut self,
        (stream, peer): (PeerStream, Peer),
        unread: Vec<u8>,
        HeadWait { since, kept }: HeadWait,
        config: &Config,
    ) -> Key {
        let kept = kept && !is_head(&unread);
        let timeout = if kept { config.keep_alive } else { config.head_timeout };
        let key = self.conns.insert(PlainConn {
            stream,
            task: None,
            doing: Doing::Idle,
            unread,
            partial: 0,
            unsent: None,
            deadline: None,
            kept,
            peer,
            armed: None,
            last: false,
            broken: false,
            held_back: 0,
            ended: false,
        });
        self.set_deadline(key, since + timeout);
        key
    }

    /// Bytes have come while the connection waits for a head. If they begin it, the head is due from now on.
    pub(in crate::net) fn note_head(&mut self, key: Key, now: Instant, config: &Config) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.is_idle() && conn.kept && conn.has_begun_head() {
            conn.kept = false;
            self.set_deadline(key, now + config.head_timeout);
        }
    }

    fn set_deadline(&mut self, key: Key, deadline: Instant) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.deadline = Some(deadline);
        conn.arm(deadline, key, &mut self.deadlines);
    }

    /// Whether a GET waits on this connection.
    pub(super) fn is_polling(&self, key: Key) -> bool {
        self.conns.get(key).is_some_and(|conn| matches!(conn.doing, Doing::Polling { .. }))
    }

    /// Whether no request will follow the one that is being served.
    pub(super) fn is_last(&self, key: Key) -> bool {
        self.conns.get(key).is_some_and(|conn| conn.last)
    }

    /// Removes a waiting GET in order to answer it. Returns those of its header fields that matter.
    pub(super) fn take_poll(&mut self, key: Key) -> Option<HeaderMap> {
        let conn = self.conns.get_mut(key)?;
        match std::mem::replace(&mut conn.doing, Doing::Idle) {
            Doing::Polling { relevant, .. } => Some(relevant.map_or_else(HeaderMap::new, |relevant| *relevant)),
            other => {
                conn.doing = other;
                None
            }
        }
    }

    /// Writes an answer, as far as the peer accepts it.
    pub(super) fn send(&mut self, key: Key, bytes: &[u8], now: Instant, config: &Config) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.doing = Doing::Idle;
        let written = match conn.stream.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                conn.broken = true;
                bytes.len()
            }
        };
        let rest = bytes.get(written..).filter(|rest| !rest.is_empty());
        conn.unsent = rest.map(|rest| Box::new(Unsent { bytes: rest.to_vec(), written: 0 }));
        let timeout = if rest.is_some() { config.ping_timeout } else { conn.wait(config) };
        conn.peer.idle(now);
        // Otherwise the task has nothing to do until more bytes come, and it waits for those already.
        if conn.unsent.is_some() || conn.broken || conn.last || !conn.unread.is_empty() {
            conn.wake();
        }
        self.set_deadline(key, now + timeout);
    }

    /// Continues a blocked write, and registers `cx` if more is left.
    pub(super) fn write_on(&mut self, key: Key, now: Instant, config: &Config, cx: &mut Context<'_>) -> Sent {
        loop {
            let Some(conn) = self.conns.get_mut(key).filter(|conn| !conn.broken) else { return Sent::Broken };
            if conn.stream.flush_on(cx).is_err() {
                return Sent::Broken;
            }
            let Some(unsent) = &mut conn.unsent else { return Sent::All };
            let rest = unsent.bytes.get(unsent.written..).unwrap_or_default();
            match conn.stream.try_write(rest) {
                Ok(count) if count > 0 => unsent.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match conn.stream.poll_unblocked(cx) {
                    Poll::Pending => return Sent::Blocked,
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(_)) => return Sent::Broken,
                },
                _ => return Sent::Broken,
            }
            // There was progress; and the next head is due only after the answer before it is sent.
            let timeout = if unsent.written == unsent.bytes.len() {
                conn.unsent = None;
                conn.peer.idle(now);
                conn.wait(config)
            } else {
                config.ping_timeout
            };
            self.set_deadline(key, now + timeout);
        }
    }

    /// When to check one of them.
    pub(in crate::net) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Wakes the tasks whose deadline has come. They read first, and then decide what it means.
    pub(in crate::net) fn expire(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.pop_due(now) {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            // Another entry for this connection is due in time.
            if conn.armed.is_some_and(|armed| armed > now) {
                continue;
            }
            conn.armed = None;
            match conn.deadline {
                Some(deadline) if deadline > now => conn.arm(deadline, key, &mut self.deadlines),
                Some(_) => conn.wake(),
                None => {}
            }
        }
    }

    /// No request will follow those that are being served.
    pub(in crate::net) fn end_all(&mut self) {
        let keys: Vec<_> = self.conns.keys().collect();
        for key in keys {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.last = true;
                conn.wake();
            }
        }
    }
}

/// Whether these bytes begin a head. RFC 9112, 2.2: empty lines before a request do not.
fn is_head(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
}

impl PlainConn {
    fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    fn arm(&mut self, deadline: Instant, key: Key, deadlines: &mut Heap<Key>) {
        // Entries are never removed; an earlier one is enough.
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.armed = Some(deadline);
            deadlines.push(deadline, key);
        }
    }

    pub(in crate::net) const fn is_idle(&self) -> bool {
        matches!(self.doing, Doing::Idle)
    }

    /// The deadline, if it has passed.
    pub(in crate::net) fn overdue(&self, now: Instant) -> Option<Instant> {
        self.deadline.filter(|deadline| *deadline <= now)
    }

    /// Since when a head has been due; `None` if that is only now.
    pub(in crate::net) fn head_since(&self, config: &Config) -> Option<Instant> {
        self.deadline.filter(|_| !self.kept)?.checked_sub(config.head_timeout)
    }

    /// Whether the unread bytes begin a head.
    pub(in crate::net) fn has_begun_head(&self) -> bool {
        is_head(&self.unread)
    }

    /// The response is sent: how long to wait for the next head.
    fn wait(&mut self, config: &Config) -> Duration {
        self.kept = !self.has_begun_head();
        if self.kept { config.keep_alive } else { config.head_timeout }
    }

    pub(in crate::net) const fn is_blocked(&self) -> bool {
        self.unsent.is_some()
    }

    /// Begins a request; meanwhile the connection has no deadline of its own.
    pub(in crate::net) fn begin(&mut self, doing: Doing) {
        self.doing = doing;
        self.deadline = None;
        self.kept = false;
        self.peer.busy();
    }

    /// Whether to read its stream. Once the next request has begun to come, it waits until the current one is answered.
    pub(in crate::net) fn wants_bytes(&self) -> bool {
        self.is_idle() || (self.unread.is_empty() && !self.ended)
    }

    /// Registers the task that must be woken for it.
    pub(in crate::net) fn register(&mut self, cx: &Context<'_>) {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_that_moves_back_and_forth_is_at_most_two_entries() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut plain, second) = (PlainConns::new(&Config::default()), Duration::from_secs(1));
        let mut now = Instant::now();
        let key = plain.insert(
            (stream.into(), Peer::new(([127, 0, 0, 1], 1).into(), None)),
            Vec::new(),
            HeadWait { since: now, kept: false },
            &Config::default(),
        );
        for _ in 0..100 {
            // An answer that its peer does not read at once, but later.
            plain.set_deadline(key, now + 20 * second);
            now += 10 * second;
            plain.expire(now);
            plain.set_deadline(key, now + 5 * second);
            plain.set_deadline(key, now + 10 * second);
        }
        let mut entries = 0;
        while plain.deadlines.pop_due(now + 1000 * second).is_some() {
            entries += 1;
        }
        assert!((1..=2).contains(&entries), "{entries}");
    }
}
