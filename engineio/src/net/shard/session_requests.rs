//! What a request needs of a session on this shard: to find it, and to begin and end a poll or a POST.

use tokio::sync::oneshot;

use super::{
    super::{
        peer::send_queue::PollBody,
        shards::session_request::{BegunPost, SessionQuery, SessionRequest},
    },
    conn::{End, Phase},
    io::ShardIo,
    transport::Waiting,
};
use crate::{
    CloseReason, ConnKey, Sid,
    http::{Action, PostBody, Refused, check_session},
};

impl ShardIo {
    /// Runs another shard's request and answers it. The asking side may be gone; then a later request, sent when it
    /// went away, cleans up.
    pub(in crate::net) fn answer_request(&mut self, request: SessionRequest) {
        match request {
            SessionRequest::Find { query, answer } => drop(answer.send(self.find_session(query))),
            SessionRequest::BeginPoll { query, answer } => drop(answer.send(self.begin_poll(query))),
            SessionRequest::BeginPost { query, form, declared, answer } => {
                drop(answer.send(self.begin_post(query, form, declared)));
            }
            SessionRequest::EndPost { conn, too_long, answer } => {
                if too_long {
                    self.end_long_post(conn);
                } else {
                    self.end_post(conn);
                }
                let _ = answer.send(());
            }
            SessionRequest::FailPost { conn, answer } => {
                self.fail_post(conn);
                let _ = answer.send(());
            }
            SessionRequest::AbortPolling { sid } => self.abort_polling(&sid),
            SessionRequest::BeginProbe { query, valid, answer } => drop(answer.send(self.begin_probe(query, valid))),
        }
    }

    /// The session that a request names, if the request fits that session.
    pub(in crate::net) fn find_session(&mut self, query: SessionQuery) -> Result<ConnKey, Refused> {
        let SessionQuery { sid, action, protocol } = query;
        let key = self.lookup(&sid, action).ok_or(Refused::UNKNOWN)?;
        let session = &self.conn(key).ok_or(Refused::UNKNOWN)?.session;
        check_session(action, protocol, session.transport(), session.protocol())?;
        Ok(key)
    }

    /// A GET waits for packets. The receiver gets the body of its answer.
    pub(in crate::net) fn begin_poll(&mut self, query: SessionQuery) -> Result<oneshot::Receiver<PollBody>, Refused> {
        let key = self.find_session(query)?;
        let (answer, body) = oneshot::channel();
        self.wait_for_packets(key, Waiting::Request(answer)).map(|()| body)
    }

    /// From now on a GET of this session waits.
    pub(super) fn wait_for_packets(&mut self, key: ConnKey, request: Waiting) -> Result<(), Refused> {
        let conn = self.conn(key).ok_or(Refused::BadRequest)?;
        let polling = conn.transport.polling_mut().ok_or(Refused::BadRequest)?;
        if let Err(reason) = conn.session.begin_poll() {
            // A second poll while one waits: as in Node, this one gets 400, and the first one a close packet.
            self.end(key, reason, End::Fault(None));
            return Err(Refused::BadRequest);
        }
        polling.waiting = Some(request);
        if conn.phase != Phase::Closing && (polling.last.is_some() || !conn.out.is_empty()) {
            self.mark_dirty(key);
        }
        Ok(())
    }

    /// A POST begins. `form` says how to read its body (`None`: its content type does not fit this session), `declared`
    /// how many bytes it has at least.
    pub(in crate::net) fn begin_post(
        &mut self,
        query: SessionQuery,
        form: Option<PostBody>,
        declared: u64,
    ) -> Result<BegunPost, Refused> {
        let key = self.find_session(query)?;
        // Bodies of Engine.IO v4 are text; like Node, this closes the session when it sees v3's binary content type.
        let Some(form) = form else {
            self.end(key, CloseReason::TransportError, End::Fault(None));
            return Err(Refused::BadRequest);
        };
        // The declared length is too large: refused before a byte is read, and the session lives on.
        let max_read = self.config.max_payload;
        if declared > max_read as u64 {
            return Err(Refused::TooLarge);
        }
        let accepted = self.conn(key).is_some_and(|conn| conn.accepted);
        let max_body = self.config.max_message(accepted);
        let conn = self.conn(key).filter(|conn| conn.is_open()).ok_or(Refused::BadRequest)?;
        if let Err(reason) = conn.session.begin_post() {
            self.end(key, reason, End::Fault(None));
            return Err(Refused::BadRequest);
        }
        Ok(BegunPost { conn: key, form, max_body, max_read })
    }

    /// The POST has ended.
    pub(in crate::net) fn end_post(&mut self, key: ConnKey) {
        if let Some(conn) = self.conn(key) {
            conn.session.end_post();
        }
    }

    /// The POST has ended. Its body was longer than those of a session that the application has not accepted yet, and was dropped.
    pub(in crate::net) fn end_long_post(&mut self, key: ConnKey) {
        self.end_post(key);
        self.end(key, CloseReason::TooLong, End::Close(None));
    }

    /// The body of a POST is invalid: the session ends.
    pub(in crate::net) fn fail_post(&mut self, key: ConnKey) {
        self.end(key, CloseReason::ParseError, End::Fault(None));
    }

    /// A request of this session was dropped before it was complete. Once the session is on WebSocket, that does not
    /// matter.
    pub(in crate::net) fn abort_polling(&mut self, sid: &Sid) {
        if let Some(key) = self.lookup(sid, Action::Post) {
            self.abort_polling_of(key);
        }
    }

    /// [`ShardIo::abort_polling`] for a session's key.
    pub(in crate::net) fn abort_polling_of(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key.0).filter(|conn| conn.is_open()) else { return };
        let Some(polling) = conn.transport.polling() else { return };
        // If a POST was dropped, a poll that still waits is told of the close.
        let waits = polling.waiting.as_ref().is_some_and(|waiting| self.is_waiting(waiting));
        self.end(key, CloseReason::TransportError, if waits { End::Fault(None) } else { End::Gone });
    }
}
