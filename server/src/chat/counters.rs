//! [`Counters`]: what one shard has counted since the process began. They are plain numbers of the shard; whoever wants to know
//! asks every shard, and adds them up.

use engineio::{net::Reply, session::Transport};

/// The events whose rates are limited.
const EVENTS: [&str; 7] = ["message", "typing", "join", "leave", "history", "presence", "refresh"];

/// A question of another thread: what has this shard counted?
#[derive(Debug)]
pub(crate) struct CountersQuery(pub(crate) Reply<Counters>);

/// See the module. All but the differences that are named here only grow.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counters {
    pub(crate) opened_polling: u64,
    pub(crate) opened_websocket: u64,
    pub(crate) connected: u64,
    pub(crate) disconnected: u64,
    /// Handshakes that were refused because their address had too many connections.
    pub(crate) refused_places: u64,
    /// Handshakes that were refused because too many came from their address.
    pub(crate) refused_rate: u64,
    /// Connections without a valid token that made room for newer ones of their address.
    pub(crate) displaced: u64,
    /// CONNECTs that were refused because of their tokens.
    pub(crate) wrong_tokens: u64,
    /// Sockets that made room for newer ones of their users.
    pub(crate) replaced: u64,
    /// Events `message`, accepted or not.
    pub(crate) messages: u64,
    /// Messages that were sent to sockets, counted for each socket.
    pub(crate) delivered: u64,
    /// Clients that came back and got their sockets.
    pub(crate) recovered: u64,
    /// Clients that came back and got new sockets.
    pub(crate) unrecovered: u64,
    /// Messages that clients had missed, and were sent when they came back.
    pub(crate) replayed: u64,
    rate_limited: [u64; EVENTS.len()],
}

impl Counters {
    pub(super) fn count_opened(&mut self, transport: Transport) {
        match transport {
            Transport::Polling => self.opened_polling += 1,
            Transport::WebSocket => self.opened_websocket += 1,
        }
    }

    /// An event was refused as `rate_limited`.
    pub(super) fn count_rate_limited(&mut self, event: &str) {
        let counts = EVENTS.iter().zip(&mut self.rate_limited);
        if let Some((_, count)) = counts.into_iter().find(|(name, _)| **name == event) {
            *count += 1;
        }
    }

    /// How many events were refused as `rate_limited`, by name.
    pub(crate) fn rate_limited(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EVENTS.into_iter().zip(self.rate_limited)
    }

    /// Adds what another shard has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            opened_polling,
            opened_websocket,
            connected,
            disconnected,
            refused_places,
            refused_rate,
            displaced,
            wrong_tokens,
            replaced,
            messages,
            delivered,
            recovered,
            unrecovered,
            replayed,
            rate_limited,
        } = self;
        for (sum, more) in [
            (opened_polling, other.opened_polling),
            (opened_websocket, other.opened_websocket),
            (connected, other.connected),
            (disconnected, other.disconnected),
            (refused_places, other.refused_places),
            (refused_rate, other.refused_rate),
            (displaced, other.displaced),
            (wrong_tokens, other.wrong_tokens),
            (replaced, other.replaced),
            (messages, other.messages),
            (delivered, other.delivered),
            (recovered, other.recovered),
            (unrecovered, other.unrecovered),
            (replayed, other.replayed),
        ] {
            *sum += more;
        }
        for (sum, more) in rate_limited.iter_mut().zip(other.rate_limited) {
            *sum += more;
        }
    }
}
