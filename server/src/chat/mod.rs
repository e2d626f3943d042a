//! The chat: what happens to users, rooms and messages, as plain functions over [`Io`].
//!
//! One value a shard. It has two parts: [`Sockets`] runs on a socket's shard, [`Homes`] on the home of a room, the shard that
//! alone orders the room's messages and knows who is in it. Neither part sees the other's state. They send each
//! other the messages of `shard_message`; with one shard these are calls. Everything is synchronous: an event comes in, and what
//! it causes on this shard is queued before the call returns.
//!
//! | module | what it does |
//! |---|---|
//! | `request` | checks what clients send |
//! | `socket` | a socket's side of every event |
//! | `home` | a room's side: order, history, who is there |
//! | `recovery` | sessions, private ids and offsets, by which clients get back what they missed |
//! | `users` | what all shards must know of a user together |
//! | `shard_message` | what shards send each other; where the home of a room is |
//! | `api`, `api_request` | what the HTTP API does, and what it asks of shards |
//! | `connections` | how many connections each address has |
//! | `reply`, `error` | what an event is acknowledged with; refusals |

mod api;
mod api_request;
mod connections;
mod counters;
mod deleted;
mod error;
mod home;
mod recovery;
mod reply;
mod request;
mod shard_message;
mod socket;
mod users;

use std::{borrow::Cow, fmt, sync::Arc, time::Instant};

pub(crate) use api::{ChatApi, MessagePage, RoomInfo, check_user, room};
use api_request::ApiRequest;
use arc_swap::ArcSwap;
use connections::{Connections, Displaced};
pub(crate) use counters::{Counters, CountersQuery};
use engineio::{ConnKey, Handshake, Protocol, Refusal, ShardMessage, net::Reply};
use error::NO_SUCH_EVENT;
pub(crate) use error::{ChatError, Code};
use home::Homes;
use recovery::Sessions;
use reply::Outcome;
pub(crate) use request::{HISTORY_PAGE, PageRequest};
use shard_message::{HomeShards, LocalSockets as _, Sender, ToAll, ToHome, ToSocket};
use socket::{Admission, CheckedMessage, ConnectRefusal, Recovery, Sockets, unauthorized};
use socketio::{
    AckId, Args, ConnectError, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, OversizeEvent, SocketKey,
};
use users::{Accounts, Bans};

use crate::{
    auth::{AuthError, Verifier},
    config::Config,
    limits::{AddressLimits, AddressRefusal, Addresses},
    store::{Answer, Identity, Store},
    webhooks::Webhooks,
};

/// What the shards of one chat have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What holds now: a reload replaces it.
    config: Arc<ArcSwap<Config>>,
    accounts: Arc<Accounts>,
    bans: Arc<Bans>,
    addresses: Arc<Addresses>,
    homes: HomeShards,
    /// `None` where sessions are not recovered.
    sessions: Option<Arc<Sessions>>,
    /// How many shards share what a store in memory may take.
    shards: usize,
    /// Where messages are kept, if not in memory.
    store: Option<Arc<dyn Store>>,
    verifier: Arc<ArcSwap<Verifier>>,
    webhooks: Webhooks,
}

/// A question of another thread: does this shard deal with what it is sent?
#[derive(Debug)]
pub(crate) struct AliveCheck(pub(crate) Reply<()>);

/// To every shard: the configuration is another one from now on.
#[derive(Debug, Clone)]
pub(crate) struct Renewed(pub(crate) Arc<Config>);

/// The token in the handshake of a session. `Debug` does not show it.
struct QueryToken {
    conn: ConnKey,
    token: String,
}

impl fmt::Debug for QueryToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryToken").field("conn", &self.conn).finish_non_exhaustive()
    }
}

/// The chat of one shard.
#[derive(Debug)]
pub(crate) struct Chat {
    connections: Connections,
    /// What a client of version 2 brought in its handshake. It is connected as soon as its session is open, and this is its
    /// token.
    query_token: Option<QueryToken>,
    sockets: Sockets,
    homes: Homes,
}

fn address_limits(config: &Config) -> AddressLimits {
    AddressLimits {
        rate: config.limits.connect_rate,
        sockets: config.limits.sockets_per_ip,
        unproven: config.limits.unproven_per_ip,
        places: config.places.unwrap_or(0),
    }
}

impl Shared {
    /// For a chat of so many shards. Without a `store` each of them keeps its messages in memory.
    pub(crate) fn new(config: Arc<Config>, shards: usize, store: Option<Arc<dyn Store>>) -> Self {
        let Identity { run, home_keys } = store.as_ref().map_or_else(Identity::in_memory, |store| store.identity());
        let window = config.recovery.max_disconnection;
        Self {
            accounts: Arc::new(Accounts::new(&config)),
            bans: Arc::new(Bans::new(store.as_ref().map(|store| store.bans()).unwrap_or_default())),
            addresses: Arc::new(Addresses::new(address_limits(&config))),
            homes: HomeShards::new(&home_keys),
            sessions: (!window.is_zero()).then(|| Arc::new(Sessions::new(run, window))),
            verifier: Arc::new(ArcSwap::from_pointee(Verifier::new(&config.auth))),
            shards: shards.max(1),
            store,
            webhooks: Webhooks::default(),
            config: Arc::new(ArcSwap::new(config)),
        }
    }

    /// The configuration that holds at any time.
    pub(crate) fn config(&self) -> Arc<ArcSwap<Config>> {
        Arc::clone(&self.config)
    }

    /// What tokens are checked against now.
    pub(crate) fn verifier(&self) -> Arc<Verifier> {
        self.verifier.load_full()
    }

    /// Tokens are checked against this from now on, on every shard.
    pub(crate) fn renew_verifier(&self, verifier: Verifier) {
        self.verifier.store(Arc::new(verifier));
    }

    /// What the shards have in common follows this configuration from now on. Each shard has to hear of it by [`Renewed`].
    pub(crate) fn renew(&self, config: &Arc<Config>) {
        self.accounts.renew(config);
        self.addresses.set_limits(address_limits(config));
        self.config.store(Arc::clone(config));
    }

    /// The same with more keys than the secrets of the configuration.
    pub(crate) fn checking_by(self, verifier: Verifier) -> Self {
        self.renew_verifier(verifier);
        self
    }

    /// The same, with these webhooks.
    pub(crate) fn with_webhooks(self, webhooks: Webhooks) -> Self {
        Self { webhooks, ..self }
    }

    /// What the HTTP API can do to it.
    pub(crate) fn api(&self) -> ChatApi {
        ChatApi {
            config: Arc::clone(&self.config),
            accounts: Arc::clone(&self.accounts),
            bans: Arc::clone(&self.bans),
            homes: self.homes.clone(),
            store: self.store.clone(),
            ban_changes: Arc::default(),
        }
    }
}

impl Chat {
    /// An empty chat.
    pub(crate) fn new(shared: &Shared) -> Self {
        let (config, accounts) = (shared.config.load_full(), Arc::clone(&shared.accounts));
        let shards = u16::try_from(shared.shards).unwrap_or(u16::MAX);
        let queue = config.limits.outbound_hard;
        let recovery =
            |sessions: &Arc<Sessions>| Recovery::new(Arc::clone(sessions), shared.store.clone(), shards, queue);
        let recovery = shared.sessions.as_ref().map(recovery);
        Self {
            connections: Connections::new(Arc::clone(&shared.addresses), config.limits.connect_user_rate),
            query_token: None,
            homes: Homes::new(Arc::clone(&config), shared.shards, shared.store.clone())
                .with_webhooks(shared.webhooks.clone()),
            sockets: Sockets::new(
                config,
                accounts,
                Arc::clone(&shared.bans),
                shared.homes.clone(),
                Arc::clone(&shared.verifier),
                recovery,
            )
            .with_webhooks(shared.webhooks.clone()),
        }
    }

    /// `message`: the socket's side checks it, then the home takes it.
    fn on_message(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
        ack: Option<AckId>,
    ) -> Result<Outcome, ChatError> {
        self.sockets.counters.messages += 1;
        let Some(checked) = self.sockets.check_message(io, socket, args, ack)? else { return Ok(Outcome::Asked) };
        if io.shards() > 1 {
            self.sockets.send_message(io, checked);
        } else {
            // The sender may be about to enter the room.
            self.run_homes(io);
            // The home is this shard, and the message need not be copied to go there.
            let CheckedMessage { asker, room, request } = checked;
            self.homes.publish(io, &mut self.sockets, &Sender::Socket(asker), &room, &request);
        }
        Ok(Outcome::Asked)
    }

    /// Has the homes of this shard deal with what its sockets sent them. With several shards there is nothing to do: it all goes
    /// by shard messages.
    fn run_homes(&mut self, io: &mut Io<'_>) {
        while let Some(message) = self.sockets.next_for_home() {
            self.homes.receive(io, &mut self.sockets, message);
        }
    }

    /// Deals with a message for all shards.
    fn receive_all(&mut self, io: &mut Io<'_>, message: &ToAll) {
        self.sockets.receive_all(io, message);
        if let ToAll::UserGone { account, past, .. } = message {
            self.homes.forget_user(io, &mut self.sockets, account, past);
        }
    }
}

impl Handler for Chat {
    type Admission = Admission;

    fn on_handshake(&mut self, now: Instant, handshake: &Handshake<'_>) -> Result<(), Refusal> {
        self.connections.admit(now, handshake.client).map_err(|refusal| {
            let counters = &mut self.sockets.counters;
            match refusal {
                AddressRefusal::Places => counters.refused_places += 1,
                AddressRefusal::Rate(_) => counters.refused_rate += 1,
            }
            Refusal::Unavailable { retry_after: refusal.retry_after() }
        })
    }

    fn on_open(&mut self, io: &mut Io<'_>, conn: ConnKey, handshake: &Handshake<'_>) {
        self.sockets.counters.count_opened(handshake.transport);
        tracing::debug!(
            shard = io.shard(),
            conn = conn.index(),
            client = handshake.client.map(tracing::field::display),
            transport = handshake.transport.as_str(),
            "session opened"
        );
        self.connections.open(io, conn, handshake.client, &mut self.sockets.counters);
        if handshake.protocol == Protocol::V3 {
            let token = request::query_token(handshake.uri.query().unwrap_or_default());
            self.query_token = token.map(|token| QueryToken { conn, token });
        }
    }

    fn on_close(&mut self, io: &mut Io<'_>, conn: ConnKey) {
        self.connections.close(io.now(), conn);
        self.sockets.give_up_claim(io, conn);
    }

    fn authorize(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<Admission> {
        let ConnectRequest { conn, auth, .. } = *request;
        let query_token = self.query_token.take().filter(|of| of.conn == conn).map(|of| Cow::Owned(of.token));
        // Before the token is looked at, which costs most of it.
        let refusal = if self.connections.take_connect(io.now(), conn) {
            let token = request::token(auth).or(query_token);
            match self.sockets.authorize(io, token.as_deref(), request.recovery.is_some()) {
                Ok(admission) if self.connections.prove(io.now(), conn) => {
                    return self.sockets.decide(io, request, admission);
                }
                // The next handshake is told when to try again.
                Ok(_) => ConnectRefusal::Later,
                Err(refusal) => refusal,
            }
        } else {
            ConnectRefusal::Later
        };
        let code = refusal.code();
        self.sockets.note_refusal(Some(io.shard()), conn, code);
        match refusal {
            ConnectRefusal::TooMany | ConnectRefusal::Banned => Decision::Refuse(unauthorized(code)),
            ConnectRefusal::Token(_) => {
                if self.connections.count_wrong_token(conn) {
                    io.close(conn);
                }
                Decision::Refuse(unauthorized(code))
            }
            ConnectRefusal::Later => {
                io.close(conn);
                // Nobody gets it: the session is closing.
                Decision::Refuse(ConnectError { message: "try again later".to_owned(), data: None })
            }
        }
    }

    fn refuse_long(&mut self, conn: ConnKey) -> Option<ConnectError> {
        // A client that does nothing wrong sends nothing else before its token is accepted.
        let code = AuthError::TOO_LONG.code();
        self.sockets.note_refusal(None, conn, code);
        Some(unauthorized(code))
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Admission) {
        self.sockets.connect(io, socket, admission);
        self.run_homes(io);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        if !self.sockets.touch(io, socket) {
            return;
        }
        let outcome = match &*event.name {
            "message" => self.on_message(io, socket, &event.args, ack),
            "typing" => self.sockets.on_typing(io, socket, &event.args).map(Outcome::Done),
            "join" => self.sockets.on_join(io, socket, &event.args, ack),
            "history" => self.sockets.on_history(io, socket, &event.args, ack),
            "presence" => self.sockets.on_presence(io, socket, &event.args, ack),
            "refresh" => self.sockets.on_refresh(io, socket, &event.args, ack).map(Outcome::Done),
            "leave" => self.sockets.on_leave(io, socket, &event.args).map(Outcome::Done),
            _ => Err(ChatError::new(Code::UnknownEvent, NO_SUCH_EVENT)),
        };
        self.run_homes(io);
        let outcome = match outcome {
            Ok(Outcome::Asked) => return,
            Ok(Outcome::Done(reply)) => Ok(reply),
            Err(error) => Err(error),
        };
        self.sockets.answer(io, socket, &event.name, ack, &outcome);
    }

    fn on_oversize_event(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        event: &OversizeEvent<'_>,
        ack: Option<AckId>,
    ) -> bool {
        if self.sockets.touch(io, socket) {
            let error = self.sockets.refuse_oversize(io, socket, event);
            self.sockets.answer(io, socket, &event.name, ack, &Err(error));
        }
        true
    }

    fn on_disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, reason: DisconnectReason) {
        self.sockets.disconnect(io, socket, reason);
        self.run_homes(io);
    }

    fn on_shard_message(&mut self, io: &mut Io<'_>, message: ShardMessage) {
        let message = match message.downcast::<ToHome>() {
            Ok(message) => return self.homes.receive(io, &mut self.sockets, message),
            Err(other) => other,
        };
        let message = match message.downcast::<ToSocket>() {
            Ok(message) => {
                self.sockets.receive(io, message);
                return self.run_homes(io);
            }
            Err(other) => other,
        };
        let message = match message.downcast::<ToAll>() {
            Ok(message) => return self.receive_all(io, &message),
            Err(other) => other,
        };
        let message = match message.downcast::<ApiRequest>() {
            Ok(ApiRequest::Disconnect { user, reason, reply }) => {
                return reply.send(self.sockets.expel_user(io, &user, reason));
            }
            Ok(request) => {
                self.homes.administer(io, &mut self.sockets, request);
                return self.run_homes(io);
            }
            Err(other) => other,
        };
        let message = match message.downcast::<Displaced>() {
            Ok(displaced) => return self.connections.displace(io, displaced, &mut self.sockets.counters),
            Err(other) => other,
        };
        let message = match message.downcast() {
            Ok(CountersQuery(reply)) => return reply.send(self.sockets.counters.clone()),
            Err(other) => other,
        };
        let message = match message.downcast::<Answer>() {
            Ok(answer) => {
                self.homes.receive_stored(io, &mut self.sockets, answer);
                return self.run_homes(io);
            }
            Err(other) => other,
        };
        let message = match message.downcast() {
            Ok(Renewed(config)) => {
                self.connections.set_connect_rate(config.limits.connect_user_rate);
                self.homes.renew(Arc::clone(&config));
                return self.sockets.renew(config);
            }
            Err(other) => other,
        };
        // Nobody sends a chat anything else.
        if let Ok(AliveCheck(reply)) = message.downcast() {
            reply.send(());
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.sockets.poll_timeout()
    }

    fn on_timeout(&mut self, io: &mut Io<'_>) {
        self.sockets.on_timeout(io);
        self.run_homes(io);
        while let Some(gone) = self.sockets.next_gone(io) {
            let here = io.shard();
            for shard in (0..io.shards()).filter(|shard| *shard != here) {
                io.send_to_shard(shard, gone.clone().into());
            }
            self.receive_all(io, &gone);
        }
    }
}

#[cfg(test)]
mod tests;
