//! CONNECT: who decides about it, and how a client gets back the socket that it was.
//!
//! A client may come back on another shard than the one that its socket was on, while its old connection still seems to live, and
//! while events of other shards are on their way here. What the log has up to this shard's position is sent to the client; what
//! this shard has not delivered yet reaches the socket in the usual way. For that this shard must have delivered at least what the
//! socket's last shard had. Where it has not, it asks: the answer comes behind all events of the shard that is asked.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use engineio::{CloseReason, Outbox, ShardMessage};

use super::Server;
use crate::{
    broadcast::{numbered, one_socket},
    error::DisconnectReason,
    handler::{ConnectRequest, Decision, Handler},
    io::Io,
    recovery::{
        Admission, Claim, Claimed, Whereabouts, claiming::Claiming, event::RecoveryMessage, position::Offset,
        request::RequestTexts,
    },
    state::ids::{PendingConnect, Pid, SocketKey},
};

/// How often other shards are asked about one CONNECT. Once is enough, unless somebody else with the same pid is faster.
const ROUNDS: u8 = 3;

/// The longest payload of a CONNECT that is kept while other shards are asked. With a longer one the client gets a new socket.
const LONGEST_AUTH: usize = 64 * 1024;

/// What is next for a CONNECT that asks for an earlier socket.
enum Step {
    Claim,
    /// These shards are to be asked, and a socket of one is to end.
    Ask(Vec<(u16, Option<(Pid, SocketKey)>)>),
    /// There is no such socket.
    New,
}

impl<H: Handler> Server<H> {
    /// A client wants to join a namespace, which has counted it.
    pub(super) fn begin_connect(&mut self, outbox: &mut dyn Outbox, request: &ConnectRequest<'_>) {
        match self.claiming(outbox, request) {
            Some(claiming) if self.skips_middlewares() => self.proceed(outbox, request, claiming),
            claiming => self.ask_application(outbox, request, claiming),
        }
    }

    fn skips_middlewares(&self) -> bool {
        self.state.recovery.as_ref().is_some_and(|recovery| recovery.store.options().skip_middlewares)
    }

    /// What the client asks for, if sockets are recovered in memory and it asks for one in the right form.
    fn claiming(&mut self, outbox: &mut dyn Outbox, request: &ConnectRequest<'_>) -> Option<Claiming<H::Admission>> {
        let recovery = self.state.recovery.as_mut()?;
        recovery.start(outbox);
        let asked = request.recovery?;
        let offset = match asked.offset.map(|text| recovery.parse_offset(text)) {
            None | Some(Some(Offset::OtherRun)) => None,
            Some(Some(Offset::Known(position))) => Some(position),
            Some(None) => return None,
        };
        let pid = Pid::parse(asked.pid)?;
        let ticket = recovery.store.ticket();
        Some(Claiming { pid, ticket, offset, admission: None, auth: Box::default(), unanswered: 0, rounds: 0 })
    }

    /// The application decides.
    fn ask_application(
        &mut self,
        outbox: &mut dyn Outbox,
        request: &ConnectRequest<'_>,
        claiming: Option<Claiming<H::Admission>>,
    ) {
        let pending = request.pending;
        let decided = self.call_about_pending(outbox, pending, |handler, io| handler.authorize(io, request));
        match (decided, claiming) {
            (Decision::Later, _) => self.state.add_pending(pending),
            (Decision::Admit(admission), Some(claiming)) => {
                self.proceed(outbox, request, Claiming { admission: Some(admission), ..claiming });
            }
            (Decision::Admit(admission), None) => self.admit(outbox, pending, None, admission),
            (Decision::AdmitAs(admission, socket), _) => self.admit(outbox, pending, Some(&socket), admission),
            (Decision::Refuse(refused), _) => {
                Io { state: &mut self.state, outbox }.send_refusal(pending.conn, pending.nsp, &refused);
                self.state.namespaces.forget_client(pending.nsp);
            }
        }
    }

    /// Calls the application about a CONNECT. After a panic the client waits no longer.
    fn call_about_pending<R>(
        &mut self,
        outbox: &mut dyn Outbox,
        pending: PendingConnect,
        call: impl FnOnce(&mut H, &mut Io<'_>) -> R,
    ) -> R {
        catch_unwind(AssertUnwindSafe(|| self.call(outbox, call))).unwrap_or_else(|panic| {
            self.state.namespaces.forget_client(pending.nsp);
            resume_unwind(panic)
        })
    }

    /// The client joins the namespace.
    fn admit(
        &mut self,
        outbox: &mut dyn Outbox,
        pending: PendingConnect,
        socket: Option<&Admission>,
        admission: H::Admission,
    ) {
        let PendingConnect { conn, nsp, .. } = pending;
        let mut io = Io { state: &mut self.state, outbox };
        let socket = match socket {
            Some(socket) => io.connect_as(conn, nsp, socket).map(|admitted| admitted.socket),
            None => io.connect(conn, nsp),
        };
        self.connected(outbox, pending, socket, admission);
    }

    /// The answer was sent before the application hears of the socket, so that whatever it emits comes after. A session that is
    /// closing by now joined nothing.
    fn connected(
        &mut self,
        outbox: &mut dyn Outbox,
        pending: PendingConnect,
        socket: Option<SocketKey>,
        admission: H::Admission,
    ) {
        self.state.namespaces.forget_client(pending.nsp);
        self.report_disconnects(outbox);
        if let Some(socket) = socket {
            self.call(outbox, |handler, io| handler.on_connect(io, socket, admission));
            if let Some(kept) = self.state.sockets.get_mut(socket.0).and_then(|socket| socket.recovery.as_mut()) {
                kept.data = None;
            }
        }
    }

    /// Goes on with a CONNECT that asks for an earlier socket.
    fn proceed(&mut self, outbox: &mut dyn Outbox, request: &ConnectRequest<'_>, mut claiming: Claiming<H::Admission>) {
        match self.next_step(outbox, request, &claiming) {
            Step::Claim => {
                let claimed = self.claim(outbox, request, &claiming);
                self.recover(outbox, request, claiming, claimed);
            }
            Step::Ask(shards)
                if claiming.rounds < ROUNDS && request.auth.is_some_and(|auth| auth.len() <= LONGEST_AUTH) =>
            {
                claiming.rounds += 1;
                claiming.unanswered = shards.len();
                claiming.auth = request.auth.unwrap_or_default().into();
                let (pending, from) = (request.pending, outbox.shard());
                for (shard, old) in shards {
                    outbox.send_to_shard(shard, ShardMessage::new(RecoveryMessage::Ask { old, pending, from }));
                }
                self.state.add_pending(pending);
                self.claims.insert(pending, claiming);
            }
            Step::Ask(_) | Step::New => self.recover(outbox, request, claiming, None),
        }
    }

    fn next_step(
        &mut self,
        outbox: &mut dyn Outbox,
        request: &ConnectRequest<'_>,
        claiming: &Claiming<H::Admission>,
    ) -> Step {
        let (pid, ticket) = (claiming.pid, claiming.ticket);
        let Some(recovery) = &self.state.recovery else { return Step::New };
        let (here, store) = (recovery.shard, Arc::clone(&recovery.store));
        let mut found = store.find(pid, request.nsp, ticket);
        if let Some(Whereabouts::Live(shard, key)) = found
            && shard == here
        {
            self.end_old_socket(outbox, pid, key);
            found = store.find(pid, request.nsp, ticket);
        }
        let Some(recovery) = &self.state.recovery else { return Step::New };
        match found {
            Some(Whereabouts::Live(shard, key)) if shard != here => Step::Ask(vec![(shard, Some((pid, key)))]),
            Some(Whereabouts::Saved(end)) if recovery.seen.covers(&end) => Step::Claim,
            Some(Whereabouts::Saved(end)) => Step::Ask(recovery.seen.behind(&end).map(|shard| (shard, None)).collect()),
            Some(Whereabouts::Live(..)) | None => Step::New,
        }
    }

    fn claim(
        &mut self,
        outbox: &mut dyn Outbox,
        request: &ConnectRequest<'_>,
        claiming: &Claiming<H::Admission>,
    ) -> Option<Claimed> {
        let now = outbox.now();
        let max_bytes = Io { state: &mut self.state, outbox }.room_for_missed(request.conn);
        // A session that is closing uses nothing up.
        if max_bytes == 0 {
            return None;
        }
        let recovery = self.state.recovery.as_ref()?;
        recovery.store.claim(&Claim {
            pid: claiming.pid,
            ticket: claiming.ticket,
            nsp: request.nsp,
            offset: claiming.offset.as_ref(),
            shard: recovery.shard,
            shards: recovery.shards,
            seen: &recovery.seen,
            max_bytes,
            now,
        })
    }

    /// The client gets its socket back, or a new one.
    fn recover(
        &mut self,
        outbox: &mut dyn Outbox,
        request: &ConnectRequest<'_>,
        claiming: Claiming<H::Admission>,
        claimed: Option<Claimed>,
    ) {
        let pending = request.pending;
        let admission = claiming.admission;
        let Some(claimed) = claimed else {
            return match admission {
                Some(admission) => self.admit(outbox, pending, None, admission),
                None => self.ask_application(outbox, request, None),
            };
        };
        let data = claimed.saved.data.as_deref();
        let readmitted = admission
            .or_else(|| self.call_about_pending(outbox, pending, |handler, io| handler.readmit(io, request, data)));
        let Some(admission) = readmitted else { return self.ask_application(outbox, request, None) };
        let socket = Io { state: &mut self.state, outbox }.connect_claimed(pending.conn, pending.nsp, claimed);
        self.connected(outbox, pending, socket, admission);
    }

    /// A client came back while its old connection seems to live: that ends.
    fn end_old_socket(&mut self, outbox: &mut dyn Outbox, pid: Pid, key: SocketKey) {
        let socket = self.state.socket(key);
        let session = socket.and_then(|socket| socket.recovery.as_ref()?.session.as_ref());
        if session.is_none_or(|session| session.pid != pid) {
            return;
        }
        let Some(conn) = socket.map(|socket| socket.conn) else { return };
        let reason = CloseReason::ForcedClose;
        one_socket::flush_held_frames(&mut self.state, outbox, key);
        self.save_data(outbox, key);
        let now = outbox.now();
        self.state.remove_socket(key, DisconnectReason::Engine(reason), now);
        outbox.close(conn, reason);
        self.report_disconnects(outbox);
    }

    /// Asks the application what is to be saved with a socket that is about to end. If it panics, that is nothing.
    pub(super) fn save_data(&mut self, outbox: &mut dyn Outbox, key: SocketKey) {
        let Self { handler, state, .. } = self;
        if state.recovery.is_none() {
            return;
        }
        let data = catch_unwind(AssertUnwindSafe(|| handler.socket_data(&Io { state, outbox }, key)));
        let kept = state.sockets.get_mut(key.0).and_then(|socket| socket.recovery.as_mut());
        if let (Ok(data), Some(kept)) = (data, kept) {
            kept.data = data.map(String::into_boxed_str);
        }
    }

    /// Another shard or another thread says something about recovery.
    pub(super) fn on_recovery_message(&mut self, outbox: &mut dyn Outbox, message: RecoveryMessage) {
        match message {
            RecoveryMessage::Event(event) => numbered::apply_event(&mut self.state, outbox, &event),
            RecoveryMessage::Emit { targets, event, flags } => {
                numbered::emit_from_outside(&mut self.state, outbox, &targets, event, flags);
            }
            RecoveryMessage::Ask { old, pending, from } => {
                if let Some((pid, key)) = old {
                    self.end_old_socket(outbox, pid, key);
                }
                if let Some(recovery) = &mut self.state.recovery {
                    recovery.start(outbox);
                    let (origin, number) = (recovery.shard, recovery.last_number());
                    let answer = RecoveryMessage::Answer { pending, origin, number };
                    outbox.send_to_shard(from, ShardMessage::new(answer));
                }
            }
            RecoveryMessage::Answer { pending, origin, number } => {
                if let Some(recovery) = &mut self.state.recovery {
                    recovery.seen.raise(origin, number);
                }
                self.on_recovery_answer(outbox, pending);
            }
        }
    }

    fn on_recovery_answer(&mut self, outbox: &mut dyn Outbox, pending: PendingConnect) {
        let Some(claiming) = self.claims.get_mut(&pending) else { return };
        claiming.unanswered = claiming.unanswered.saturating_sub(1);
        if claiming.unanswered > 0 {
            return;
        }
        let Some(mut claiming) = self.claims.remove(&pending) else { return };
        let nsp = self.state.namespaces.get(pending.nsp).map(|nsp| Arc::clone(&nsp.name));
        let (Some(nsp), true) = (nsp, self.state.take_pending(pending)) else { return };
        let auth = std::mem::take(&mut claiming.auth);
        let texts = RequestTexts::read(Some(&auth));
        let recovery = texts.as_ref().map(RequestTexts::as_request);
        let request = ConnectRequest { conn: pending.conn, nsp: &nsp, auth: Some(&auth), recovery, pending };
        // The engine is not serving this client, so it would not end its session after a panic.
        if catch_unwind(AssertUnwindSafe(|| self.proceed(outbox, &request, claiming))).is_err() {
            outbox.close(pending.conn, CloseReason::Internal);
        }
    }
}
