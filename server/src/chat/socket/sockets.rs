//! [`Sockets`]: the state of a shard's sockets, and their way to the homes of rooms.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use arc_swap::ArcSwap;
use engineio::deadlines::Heap;
use socketio::{AckId, Io, SocketKey};

use super::{deadlines::SocketDeadlines, member::Members, recovery::Recovery};
use crate::{
    auth::Verifier,
    chat::{
        counters::Counters,
        shard_message::{Asker, HomeRequest, HomeShards, ToHome},
        users::{Accounts, Bans},
    },
    clock::ClockWatch,
    config::Config,
    room::{LOBBY, Room},
    webhooks::Webhooks,
};

/// The sockets of one shard, and what the chat keeps of each.
#[derive(Debug)]
pub(in crate::chat) struct Sockets {
    pub(super) config: Arc<Config>,
    pub(super) verifier: Arc<ArcSwap<Verifier>>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) bans: Arc<Bans>,
    pub(super) webhooks: Webhooks,
    pub(super) members: Members,
    /// Rooms, whatever their homes, that are too large for presence.
    pub(super) quiet: HashSet<Room>,
    pub(super) homes: HomeLink,
    pub(super) idle: SocketDeadlines,
    pub(super) expiry: SocketDeadlines,
    pub(super) typing: SocketDeadlines,
    /// Sockets whose questions wait until their clients have taken something.
    pub(super) unasked: SocketDeadlines,
    /// Users whose last socket went here, each once.
    pub(super) gone: Heap<Arc<str>>,
    /// Users who are gone, but have not got back all that they spent of their rates.
    pub(super) resting: Heap<Arc<str>>,
    /// Tokens end by the wall clock.
    pub(super) clock: ClockWatch,
    pub(super) lobby: Room,
    /// `None` where sessions are not recovered.
    pub(super) recovery: Option<Recovery>,
    pub(in crate::chat) counters: Counters,
}

/// The way from sockets to homes.
#[derive(Debug)]
pub(super) struct HomeLink {
    shards: HomeShards,
    /// With one shard: what its homes are to deal with before the call ends.
    waiting: VecDeque<ToHome>,
}

impl HomeLink {
    /// The home of a room, of so many shards.
    pub(super) fn of(&self, room: &Room, shards: u16) -> u16 {
        self.shards.of(room, shards)
    }

    /// Sends a request to the home of a room. With several shards it is a shard message even where the home is this shard:
    /// what others sent before may still lie in front of the home, and whoever heard that a socket is connected must reach
    /// it.
    pub(super) fn send(&mut self, io: &mut Io<'_>, room: Room, request: HomeRequest) {
        let message = ToHome { room, request };
        match io.shards() {
            0 | 1 => self.waiting.push_back(message),
            shards => io.send_to_shard(self.shards.of(&message.room, shards), message.into()),
        }
    }
}

impl Sockets {
    /// No sockets yet.
    pub(in crate::chat) fn new(
        config: Arc<Config>,
        accounts: Arc<Accounts>,
        bans: Arc<Bans>,
        homes: HomeShards,
        verifier: Arc<ArcSwap<Verifier>>,
        recovery: Option<Recovery>,
    ) -> Self {
        Self {
            verifier,
            accounts,
            bans,
            webhooks: Webhooks::default(),
            members: Members::default(),
            quiet: HashSet::new(),
            homes: HomeLink { shards: homes, waiting: VecDeque::new() },
            idle: SocketDeadlines::default(),
            expiry: SocketDeadlines::default(),
            typing: SocketDeadlines::default(),
            unasked: SocketDeadlines::default(),
            gone: Heap::default(),
            resting: Heap::default(),
            clock: ClockWatch::default(),
            lobby: Room::new(LOBBY),
            recovery,
            counters: Counters::default(),
            config,
        }
    }

    /// The same sockets, of which these webhooks tell.
    pub(in crate::chat) fn with_webhooks(self, webhooks: Webhooks) -> Self {
        Self { webhooks, ..self }
    }

    /// What the homes of this shard are to deal with before the call ends. Always `None` with several shards.
    pub(in crate::chat) fn next_for_home(&mut self) -> Option<ToHome> {
        self.homes.waiting.pop_front()
    }

    /// This socket, as one who asks a home.
    pub(super) fn asker(&self, io: &Io<'_>, socket: SocketKey, ack: Option<AckId>) -> Option<Asker> {
        let account = Arc::clone(&self.members.get(socket)?.account);
        Some(Asker { shard: io.shard(), socket, account, ack })
    }
}
