//! The answers on connections with plain requests: the flush itself answers a waiting GET, in one write.

use std::task::Context;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};

use super::{
    super::{
        peer::{send_queue::PollBody, stream::PeerStream},
        shards::{peer::Peer, session_request::SessionQuery},
    },
    io::ShardIo,
    plain_conn::{Doing, HeadWait, Sent},
    transport::Waiting,
};
use crate::{
    http::{
        Refused, answer,
        compression::choose,
        encode::{encode, fits_template},
    },
    slab::Key,
};

/// Answers up to this many bytes are built in the shard's buffer.
const SMALL: usize = 16 * 1024;

impl ShardIo {
    /// Keeps a connection. `unread` holds the bytes that were read already.
    pub(in crate::net) fn add_plain(
        &mut self,
        stream: PeerStream,
        unread: Vec<u8>,
        waiting: HeadWait,
        peer: Peer,
    ) -> Key {
        self.plain.insert((stream, peer), unread, waiting, &self.config)
    }

    /// A GET waits for packets, or is refused.
    pub(in crate::net) fn begin_plain_poll(&mut self, key: Key, query: SessionQuery, relevant: HeaderMap) {
        let session = self
            .find_session(query)
            .and_then(|session| self.wait_for_packets(session, Waiting::Plain(key)).map(|()| session));
        match (session, self.plain.conns.get_mut(key)) {
            (Ok(session), Some(conn)) => {
                conn.peer.has_session();
                let relevant = (!relevant.is_empty()).then(|| Box::new(relevant));
                conn.begin(Doing::Polling { session, relevant });
            }
            (Err(refused), _) => {
                self.watching.stats.count_refused(refused.reason());
                self.answer_plain(key, refused.answer(&relevant), &relevant);
            }
            (Ok(_), None) => {}
        }
    }

    /// A request of a session came on this connection.
    pub(in crate::net) fn note_session(&self, key: Key) {
        if let Some(conn) = self.plain.conns.get(key) {
            conn.peer.has_session();
        }
    }

    /// Answers a waiting GET. If its connection is gone it needs no answer, because its session has ended too.
    pub(in crate::net) fn answer_waiting(&mut self, waiting: Waiting, body: PollBody) {
        match waiting {
            Waiting::Request(answer) => drop(answer.send(body)),
            Waiting::Plain(key) => self.answer_plain_poll(key, body),
        }
    }

    /// Answers a GET whose session is gone.
    pub(in crate::net) fn refuse_waiting(&mut self, waiting: &Waiting) {
        // A GET from elsewhere notices it when the other end of its channel is dropped.
        let Waiting::Plain(key) = *waiting else { return };
        let Some(relevant) = self.plain.take_poll(key) else { return };
        self.answer_plain(key, Refused::BadRequest.answer(&relevant), &relevant);
    }

    /// Whether the connection of this GET still waits.
    pub(in crate::net) fn is_waiting(&self, waiting: &Waiting) -> bool {
        match waiting {
            Waiting::Request(answer) => !answer.is_closed(),
            Waiting::Plain(key) => self.plain.is_polling(*key),
        }
    }

    fn answer_plain_poll(&mut self, key: Key, body: PollBody) {
        let Some(relevant) = self.plain.take_poll(key) else { return };
        let last = self.plain.is_last(key);
        let PollBody { bytes, binary, compress } = body;
        let mut poll = answer::Poll { body: bytes, binary, compress, jsonp: None };
        self.limit_compression(&mut poll, &relevant);
        if !fits_template(&poll, &relevant, &self.config) {
            let response = poll.answer(&relevant, &self.config);
            return self.answer_plain(key, response, &relevant);
        }
        let mut out = self.lend_gather(poll.body.len());
        self.plain.poll.of(last).push(&mut out, &poll.body, self.date.now());
        self.send_plain(key, &out);
        self.take_back_gather(out);
    }

    /// Has the answer sent as it is if the shard has compressed enough for now.
    pub(in crate::net) fn limit_compression(&mut self, poll: &mut answer::Poll<'_>, request: &HeaderMap) {
        if poll.compress
            && let Some(options) = &self.config.http_compression
            && choose(Some(options), request, poll.body.len()).is_some()
        {
            poll.compress = self.compression.take(options, poll.body.len(), self.now);
        }
    }

    /// Answers a POST whose packets were accepted.
    pub(in crate::net) fn answer_plain_post(&mut self, key: Key, relevant: &HeaderMap) {
        let last = self.plain.is_last(key);
        // Only polls are compressed.
        if relevant.keys().any(|name| *name != header::ACCEPT_ENCODING) {
            return self.answer_plain(key, answer::posted(relevant), relevant);
        }
        let mut out = self.lend_gather(0);
        self.plain.posted.of(last).push(&mut out, b"ok", self.date.now());
        self.send_plain(key, &out);
        self.take_back_gather(out);
    }

    /// Answers the request that is being served; `request` holds those of its header fields that matter.
    pub(in crate::net) fn answer_plain(&mut self, key: Key, mut response: Response<Bytes>, request: &HeaderMap) {
        answer::finish(&mut response, request, &self.config);
        self.send_plain_response(key, response);
    }

    /// Sends a complete response.
    pub(in crate::net) fn send_plain_response(&mut self, key: Key, mut response: Response<Bytes>) {
        let Some(conn) = self.plain.conns.get_mut(key) else { return };
        let closes = response.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
        if conn.last && !closes {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        conn.last |= closes;
        let bytes = encode(&response, self.date.now());
        self.send_plain(key, &bytes);
    }

    /// A buffer for an answer whose body has `len` bytes.
    fn lend_gather(&mut self, len: usize) -> Vec<u8> {
        let mut out = if len > SMALL { Vec::new() } else { std::mem::take(&mut self.gather) };
        out.clear();
        out
    }

    fn take_back_gather(&mut self, out: Vec<u8>) {
        if out.capacity() <= 2 * SMALL {
            self.gather = out;
        }
    }

    fn send_plain(&mut self, key: Key, bytes: &[u8]) {
        self.plain.send(key, bytes, self.now, &self.config);
    }

    /// Continues a blocked write, and registers `cx` if more is left.
    pub(in crate::net) fn write_plain_on(&mut self, key: Key, cx: &mut Context<'_>) -> Sent {
        self.plain.write_on(key, self.now, &self.config, cx)
    }
}
