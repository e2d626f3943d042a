//! [`Server`]: turns the engine's messages into packets, and packets into calls of the application.
//!
//! Socket.IO protocol v5, "Packet types". Whoever breaks the protocol loses the connection, not just the packet, as with
//! Node: with close reason "parse error". That is: a message that is no packet, a packet for a namespace that the client has
//! not joined, a second CONNECT to one that it has joined.
//!
//! A session of Engine.IO v3 has a client of version 2, which speaks protocol v4. It is connected to `/` when the session
//! opens. (It keeps its own events back until it has the answer, so an event before a decision that comes later is a
//! violation too, as in Node.) The other differences are in [`crate::parser`].

mod claims;

use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Instant,
};

use engineio::{
    CloseReason, ConnKey, Handshake, JobId, Message, Outbox, Protocol, Refusal, ShardMessage, SharedFrame,
    deadlines::soonest, job::JobPanicked,
};

use crate::{
    adapter::{Answer, OwnedArgs, RemoteSocket, ServerReply, Sockets, collector::Part},
    broadcast::{Broadcast, gather::Delivery, operations::Completed},
    config::Config,
    error::{AckError, DisconnectReason},
    handler::{ConnectRequest, Handler},
    io::Io,
    packet::{AckId, Event, Packet},
    parser::{DecodeError, Encoder, Limits, Parser, msgpack, v4},
    recovery::{claiming::Claiming, event::RecoveryMessage, request::RequestTexts},
    relay::{RelayedAction, RelayedBroadcast, RelayedOperation},
    state::{
        Departed, State,
        client::Client,
        ids::{PendingConnect, RequestId, SocketKey},
        questions,
        report::{Report, RoomChange, RoomEvent},
    },
};

/// A Socket.IO server for one shard; give it to the engine as its handler. See [the crate](crate) for a whole program.
pub struct Server<H: Handler> {
    handler: H,
    state: State,
    /// The clients that ask for an earlier socket, while other shards are asked about it.
    claims: HashMap<PendingConnect, Claiming<H::Admission>>,
}

impl<H: Handler + fmt::Debug> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("handler", &self.handler).field("state", &self.state).finish_non_exhaustive()
    }
}

/// The client broke the protocol, so its connection is closed.
struct Violation;

impl<H: Handler> Server<H> {
    /// A server with these limits and this application.
    #[must_use]
    pub fn new(config: Config, handler: H) -> Self {
        Self { handler, state: State::new(config), claims: HashMap::new() }
    }

    /// Calls the application, and then reports the sockets that left during the call. It reports them after a panic too: the
    /// engine ends the session whose message this is, and the others that left must not be forgotten.
    fn call<R>(&mut self, outbox: &mut dyn Outbox, call: impl FnOnce(&mut H, &mut Io<'_>) -> R) -> R {
        let Self { handler, state, .. } = self;
        let result = catch_unwind(AssertUnwindSafe(|| call(handler, &mut Io { state, outbox })));
        self.report_disconnects(outbox);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Calls the application about a session that the engine may not be serving just now. A panic is caught here and ends
    /// that session: the engine would end the one that it is serving, or, in a timer, the shard.
    fn call_about(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, call: impl FnOnce(&mut H, &mut Io<'_>)) {
        let Self { handler, state, .. } = self;
        if catch_unwind(AssertUnwindSafe(|| call(handler, &mut Io { state, outbox }))).is_err() {
            outbox.close(conn, CloseReason::Internal);
        }
    }

    /// Reports the sockets that left, in that order. Those that leave meanwhile follow.
    fn report_disconnects(&mut self, outbox: &mut dyn Outbox) {
        if !self.state.reports.is_empty() {
            self.report_others(outbox);
        }
        while let Some(Departed { socket, conn, reason, acks }) = self.state.departed.pop_front() {
            for ack in acks {
                self.call_about(outbox, conn, |handler, io| {
                    handler.on_ack(io, socket, ack, Err(AckError::Disconnected));
                });
            }
            self.call_about(outbox, conn, |handler, io| handler.on_disconnect(io, socket, reason));
            if !self.state.reports.is_empty() {
                self.report_others(outbox);
            }
        }
    }

    /// Reports changes of rooms, and asks about sockets that are fetched.
    fn report_others(&mut self, outbox: &mut dyn Outbox) {
        while let Some(report) = self.state.reports.pop_front() {
            match report {
                Report::Fetch(sockets, part) => self.describe(outbox, &sockets, part),
                Report::Room(event) => self.on_room_event(outbox, &event),
            }
        }
    }

    fn on_room_event(&mut self, outbox: &mut dyn Outbox, event: &RoomEvent) {
        if let Some(adapter) = self.state.config.adapter.clone() {
            self.call_about(outbox, event.conn, |_, io| match event.change {
                RoomChange::Created => adapter.room_created(io.shard(), &event.nsp, &event.room),
                RoomChange::Deleted => adapter.room_deleted(io.shard(), &event.nsp, &event.room),
                RoomChange::Joined | RoomChange::Left => {}
            });
        }
        if self.state.config.room_events {
            self.call_about(outbox, event.conn, |handler, io| handler.on_room_event(io, event));
        }
    }

    /// Passes on a packet of a client of protocol v4: the query of a CONNECT has the place of the payload.
    fn on_packet_v4(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, packet: &Packet<'_>) -> Result<(), Violation> {
        let (nsp, query) = v4::split(packet.nsp());
        if nsp.len() > self.state.config.packet.nsp_length {
            return Err(Violation);
        }
        match packet {
            Packet::Connect { .. } => self.on_connect(outbox, conn, nsp, v4::auth(query).as_deref()),
            _ => self.on_packet(outbox, conn, nsp, packet),
        }
    }

    fn on_packet(
        &mut self,
        outbox: &mut dyn Outbox,
        conn: ConnKey,
        nsp: &str,
        packet: &Packet<'_>,
    ) -> Result<(), Violation> {
        match packet {
            Packet::Connect { auth, .. } => self.on_connect(outbox, conn, nsp, *auth),
            Packet::Disconnect { .. } => {
                if self.cancel_pending(conn, nsp) {
                    return Ok(());
                }
                let socket = self.joined(conn, nsp)?;
                let now = outbox.now();
                self.state.remove_socket(socket, DisconnectReason::ClientNamespaceDisconnect, now);
                self.report_disconnects(outbox);
                Ok(())
            }
            Packet::Event { ack, event, .. } => {
                let socket = self.joined(conn, nsp)?;
                self.on_event(outbox, socket, event, *ack);
                Ok(())
            }
            Packet::Oversize { ack, event, .. } => {
                let socket = self.joined(conn, nsp)?;
                let goes_on = self.call(outbox, |handler, io| handler.on_oversize_event(io, socket, event, *ack));
                if goes_on { Ok(()) } else { Err(Violation) }
            }
            Packet::Ack { id, args, .. } => {
                let socket = self.joined(conn, nsp)?;
                // An answer that nobody waits for is ignored, as in Node.
                if !self.state.take_ack(socket, *id) {
                    return Ok(());
                }
                if questions::is_of_broadcast(*id) {
                    self.on_answer(socket, *id, args.into());
                } else {
                    self.call(outbox, |handler, io| handler.on_ack(io, socket, *id, Ok(args)));
                }
                Ok(())
            }
        }
    }

    /// The client's socket in a namespace. A packet for a namespace that the client has not joined is a violation.
    fn joined(&mut self, conn: ConnKey, nsp: &str) -> Result<SocketKey, Violation> {
        let nsp = self.state.namespaces.find(nsp).ok_or(Violation)?;
        self.state.client(conn).and_then(|client| client.socket_of(nsp)).ok_or(Violation)
    }

    /// A client leaves before it was admitted. (Node closes the connection.) `false` when it does not wait.
    fn cancel_pending(&mut self, conn: ConnKey, nsp: &str) -> bool {
        let Some(nsp) = self.state.namespaces.find(nsp) else { return false };
        let pending = self.state.pending_of(conn).iter().find(|pending| pending.nsp == nsp).copied();
        let Some(pending) = pending else { return false };
        self.state.take_pending(pending);
        self.claims.remove(&pending);
        self.state.namespaces.forget_client(nsp);
        true
    }

    fn on_connect(
        &mut self,
        outbox: &mut dyn Outbox,
        conn: ConnKey,
        name: &str,
        auth: Option<&str>,
    ) -> Result<(), Violation> {
        let limit = self.state.config.namespaces_per_client;
        let found = self.state.namespaces.find(name);
        let client = self.state.client(conn).ok_or(Violation)?;
        let has_joined = found.is_some_and(|nsp| client.socket_of(nsp).is_some());
        let joined = client.sockets.len();
        // A second CONNECT to a namespace is a violation.
        if has_joined || joined + self.state.pending_of(conn).len() >= limit {
            return Err(Violation);
        }
        let State { namespaces, config, .. } = &mut self.state;
        let Some(nsp) = found.or_else(|| namespaces.add_dynamic(name, config)) else {
            // In protocol v4 too, as in Node.
            let frame = config.encoder().connect_error(name, "Invalid namespace", None);
            // A closed connection needs no answer.
            let _ = outbox.send(conn, &frame);
            return Ok(());
        };
        // A client that calls `connect` twice sends two: the answer to the first is the answer to both.
        if self.state.pending_of(conn).iter().any(|pending| pending.nsp == nsp) {
            return Ok(());
        }
        let pending = self.state.next_pending(conn, nsp);
        let texts = RequestTexts::read(auth);
        let recovery = texts.as_ref().map(RequestTexts::as_request);
        // The namespace exists while the application decides, whoever leaves it meanwhile.
        self.state.namespaces.count_client(nsp);
        self.begin_connect(outbox, &ConnectRequest { conn, nsp: name, auth, recovery, pending });
        Ok(())
    }

    fn on_event(&mut self, outbox: &mut dyn Outbox, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        self.call(outbox, |handler, io| handler.on_event(io, socket, event, ack));
    }

    /// A whole packet in MessagePack.
    fn on_msgpack(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, bytes: &[u8]) -> Result<(), Violation> {
        let v4 = self.state.client(conn).ok_or(Violation)?.v4.is_some();
        let limits = self.state.config.packet;
        let limits = if v4 { Limits { nsp_length: v4::MAX_NAME, ..limits } } else { limits };
        let unpacked = msgpack::unpack(bytes, &limits)?;
        let packet = unpacked.packet(&limits)?;
        if v4 {
            return self.on_packet_v4(outbox, conn, &packet);
        }
        self.on_packet(outbox, conn, packet.nsp(), &packet)
    }

    fn on_text(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, text: &str) -> Result<(), Violation> {
        let now = outbox.now();
        let State { clients, config, namespaces, .. } = &mut self.state;
        let client = clients.get_mut(conn.index() as usize).and_then(Option::as_mut).ok_or(Violation)?;
        let v4 = client.v4.is_some();
        let wide;
        let limits = if v4 {
            wide = Limits { nsp_length: v4::MAX_NAME, ..config.packet };
            &wide
        } else {
            &config.packet
        };
        match client.decoder.decode_text(text, limits) {
            Ok(Some(packet)) => {
                // Attachments of an event that is refused at once: they are skipped, and must come in time nevertheless.
                if client.decoder.awaiting() {
                    client.awaiting_since = Some(now);
                    self.state.set_attachment_deadline(conn, now);
                }
                if v4 {
                    self.on_packet_v4(outbox, conn, &packet)
                } else {
                    self.on_packet(outbox, conn, packet.nsp(), &packet)
                }
            }
            Ok(None) => {
                // Checked before the attachments come: nothing is kept for a namespace that the client has not joined.
                let name = client.decoder.awaited_nsp().ok_or(Violation)?;
                let name = if v4 { v4::split(name).0 } else { name };
                let nsp = namespaces.find(name).ok_or(Violation)?;
                client.socket_of(nsp).ok_or(Violation)?;
                client.awaiting_since = Some(now);
                self.state.set_attachment_deadline(conn, now);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn on_binary(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, bytes: &[u8]) -> Result<(), Violation> {
        let State { clients, config, .. } = &mut self.state;
        let client = clients.get_mut(conn.index() as usize).and_then(Option::as_mut).ok_or(Violation)?;
        let decoded = client.decoder.decode_binary(bytes, &config.packet)?;
        if !client.decoder.awaiting() {
            client.awaiting_since = None;
        }
        match decoded {
            Some(whole) => {
                let packet = whole.packet();
                if client.v4.is_some() {
                    return self.on_packet_v4(outbox, conn, &packet);
                }
                self.on_packet(outbox, conn, packet.nsp(), &packet)
            }
            None => Ok(()),
        }
    }

    /// A socket answered a broadcast.
    fn on_answer(&mut self, key: SocketKey, id: AckId, args: OwnedArgs) {
        let State { sockets, questions, .. } = &mut self.state;
        let socket = sockets.get(key.0).map(|socket| socket.id.to_string());
        questions.answer(id, key, Answer { socket, args });
    }

    /// Asks the application about sockets, for who fetches them. If it panics, this shard is missing in the result.
    fn describe(&mut self, outbox: &mut dyn Outbox, sockets: &[SocketKey], mut part: Part<Sockets>) {
        let Self { handler, state, .. } = self;
        let described = catch_unwind(AssertUnwindSafe(|| {
            let io = Io { state, outbox };
            let found = sockets.iter().filter_map(|key| {
                let rooms = io.rooms(*key).map(Arc::from).collect();
                let (id, nsp) = (io.id(*key)?.to_string(), Arc::from(io.nsp(*key)?));
                let data = handler.socket_data(&io, *key);
                Some(RemoteSocket { id, nsp, rooms, data, shard: Some(io.shard()), server: None })
            });
            found.collect::<Vec<_>>()
        }));
        if let Ok(found) = described {
            part.add(|sockets| sockets.sockets.extend(found));
            part.done();
        }
    }

    /// Does what another shard or another thread asks for.
    fn on_operation(&mut self, outbox: &mut dyn Outbox, operation: RelayedOperation) {
        let RelayedOperation { targets, action } = operation;
        if let RelayedAction::ServerSide(event, part) = action {
            let reply = part.map(ServerReply::new);
            return self.call(outbox, |handler, io| handler.on_server_event(io, &targets.nsp, &event, reply));
        }
        Broadcast::of_targets(&mut self.state, outbox, &targets).perform(action);
        self.report_disconnects(outbox);
    }

    /// Deals with clients that joined no namespace in time, attachments that did not come, and answers that did not come.
    fn run_deadlines(&mut self, outbox: &mut dyn Outbox) {
        let now = outbox.now();
        let (connect, attachment) = (self.state.config.connect_timeout, self.state.config.attachment_timeout);
        while let Some(conn) = self.state.deadlines.connects.pop_due(now) {
            let Some(client) = self.state.client(conn) else { continue };
            client.has_connect_deadline = false;
            match client.idle_since {
                // The client gets no packet that says why, as with Node.
                Some(since) if now.duration_since(since) >= connect => outbox.close(conn, CloseReason::ForcedClose),
                Some(since) => self.state.set_connect_deadline(conn, since),
                None => {}
            }
        }
        while let Some(conn) = self.state.deadlines.attachments.pop_due(now) {
            let Some(client) = self.state.client(conn) else { continue };
            client.has_attachment_deadline = false;
            match client.awaiting_since {
                Some(since) if now.duration_since(since) >= attachment => outbox.close(conn, CloseReason::ParseError),
                Some(since) => self.state.set_attachment_deadline(conn, since),
                None => {}
            }
        }
        self.state.close_due_questions(now);
        self.state.deadlines.close_due_requests(now);
        // A question that is asked from here on waits for the next call, even if its time is up at once.
        let asked = AckId(self.state.next_ack);
        while let Some((socket, id)) = self.state.deadlines.pop_due_ack(now, asked) {
            let Some(conn) = self.state.socket(socket).map(|socket| socket.conn) else { continue };
            self.state.take_ack(socket, id);
            self.call_about(outbox, conn, |handler, io| handler.on_ack(io, socket, id, Err(AckError::Timeout)));
            self.report_disconnects(outbox);
        }
    }
}

impl From<DecodeError> for Violation {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

impl<H: Handler> engineio::Handler for Server<H> {
    fn on_handshake(&mut self, outbox: &mut dyn Outbox, handshake: &Handshake<'_>) -> Result<(), Refusal> {
        self.handler.on_handshake(outbox.now(), handshake)
    }

    fn on_open(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, handshake: &Handshake<'_>) {
        let now = outbox.now();
        let index = conn.index() as usize;
        if self.state.clients.len() <= index {
            self.state.clients.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.state.clients.get_mut(index) {
            // A session that is open has a sid.
            let v4 = handshake.sid.filter(|_| handshake.protocol == Protocol::V3);
            *slot = Some(Client::new(conn, v4, now));
        }
        self.state.set_connect_deadline(conn, now);
        self.call(outbox, |handler, io| handler.on_open(io, conn, handshake));
        // The application may have closed the session. Nothing is queued yet, so one that is open is writable.
        let v4 = self.state.client(conn).is_some_and(|client| client.v4.is_some());
        if v4 && outbox.is_writable(conn) && self.on_connect(outbox, conn, "/", None).is_err() {
            outbox.close(conn, CloseReason::ParseError);
        }
    }

    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        let result = match (self.state.config.parser, &message) {
            (Parser::Json, Message::Text(text)) => self.on_text(outbox, conn, text),
            (Parser::Json, Message::Binary(bytes)) => self.on_binary(outbox, conn, bytes),
            (Parser::Msgpack, Message::Binary(bytes)) => self.on_msgpack(outbox, conn, bytes),
            (Parser::Msgpack, Message::Text(_)) => Err(Violation),
        };
        if result.is_err() {
            outbox.close(conn, CloseReason::ParseError);
        }
    }

    fn last_frame(&mut self, conn: ConnKey) -> Option<SharedFrame> {
        // Its message was a CONNECT, if it keeps to the protocol. The namespace in it was dropped too.
        let client = self.state.client(conn).filter(|client| client.sockets.is_empty())?;
        let encode = if client.v4.is_some() { Encoder::connect_error_v4 } else { Encoder::connect_error };
        let refused = self.handler.refuse_long(conn)?;
        Some(encode(self.state.config.encoder(), "/", &refused.message, refused.data.as_deref()))
    }

    fn on_close(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, reason: CloseReason) {
        let now = outbox.now();
        // Removed first: a client that is going needs no deadline for being in no namespace.
        let slot = self.state.clients.get_mut(conn.index() as usize);
        let client = slot.and_then(|slot| slot.take_if(|client| client.conn == conn));
        for (_, socket) in client.into_iter().flat_map(|client| client.sockets) {
            let reason = DisconnectReason::Engine(reason);
            if reason.is_recoverable() {
                self.save_data(outbox, socket);
            }
            self.state.remove_socket(socket, reason, now);
        }
        self.claims.retain(|pending, _| pending.conn != conn);
        self.state.forget_pending(conn);
        // The application hears of the sockets before it hears of the end of their session.
        self.report_disconnects(outbox);
        self.call(outbox, |handler, io| handler.on_close(io, conn));
    }

    fn on_shard_message(&mut self, outbox: &mut dyn Outbox, message: ShardMessage) {
        let message = match message.downcast::<Arc<RelayedBroadcast>>() {
            Ok(relayed) => return Broadcast::apply_relayed(&mut self.state, outbox, &relayed),
            Err(message) => message,
        };
        let message = match message.downcast::<RelayedOperation>() {
            Ok(operation) => return self.on_operation(outbox, operation),
            Err(message) => message,
        };
        match message.downcast::<RecoveryMessage>() {
            Ok(message) => self.on_recovery_message(outbox, message),
            Err(message) => self.call(outbox, |handler, io| handler.on_shard_message(io, message)),
        }
    }

    fn on_job_done(&mut self, outbox: &mut dyn Outbox, job: JobId, result: Result<ShardMessage, JobPanicked>) {
        match result.map(ShardMessage::downcast::<Completed>) {
            Ok(Ok(Completed { deadline, reply })) => {
                self.state.deadlines.forget_request(deadline, job);
                self.call(outbox, |handler, io| handler.on_reply(io, RequestId(job), reply));
            }
            Ok(Err(message)) => self.call(outbox, |handler, io| handler.on_job_done(io, job, Ok(message))),
            Err(panic) => self.call(outbox, |handler, io| handler.on_job_done(io, job, Err(panic))),
        }
    }

    fn wants_flush(&self) -> bool {
        !self.state.gathered.is_empty()
    }

    fn on_flush(&mut self, outbox: &mut dyn Outbox) {
        Delivery::new(&mut self.state, outbox).flush();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        soonest([self.state.deadlines.next(), self.state.questions.next(), self.handler.poll_timeout()])
    }

    fn on_timeout(&mut self, outbox: &mut dyn Outbox) {
        self.run_deadlines(outbox);
        if self.handler.poll_timeout().is_some_and(|deadline| deadline <= outbox.now()) {
            self.call(outbox, |handler, io| handler.on_timeout(io));
        }
    }
}

#[cfg(test)]
mod tests;
