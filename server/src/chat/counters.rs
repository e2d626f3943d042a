//! [`Counters`]: what one shard has counted since the process began. They are plain numbers of the shard; whoever wants to know
//! asks every shard, and adds them up.

use engineio::{net::Reply, session::Transport};

use super::error::{LATER, TOO_MANY};

/// The events of clients. The rate of each is limited.
pub(super) const EVENTS: [&str; 7] = ["message", "typing", "join", "leave", "history", "presence", "refresh"];

/// Why CONNECTs are refused: the codes of their CONNECT_ERRORs, and `later`, of those that are told by the end of the transport.
const REFUSALS: [&str; 8] = [
    "token_missing",
    "token_invalid",
    "token_expired",
    "token_not_yet_valid",
    "claims_invalid",
    "banned",
    TOO_MANY,
    LATER,
];

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
    /// Connections without a valid token that made room for newer ones.
    pub(crate) displaced: u64,
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
    connects_refused: [u64; REFUSALS.len()],
    rate_limited: [u64; EVENTS.len()],
}

impl Counters {
    pub(super) fn count_opened(&mut self, transport: Transport) {
        match transport {
            Transport::Polling => self.opened_polling += 1,
            Transport::WebSocket => self.opened_websocket += 1,
        }
    }

    /// A CONNECT was refused.
    pub(super) fn count_connect_refused(&mut self, code: &str) {
        count(&REFUSALS, &mut self.connects_refused, code);
    }

    /// How many CONNECTs were refused, by code.
    pub(crate) fn connects_refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REFUSALS.into_iter().zip(self.connects_refused)
    }

    /// An event was refused as `rate_limited`.
    pub(super) fn count_rate_limited(&mut self, event: &str) {
        count(&EVENTS, &mut self.rate_limited, event);
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
            replaced,
            messages,
            delivered,
            recovered,
            unrecovered,
            replayed,
            connects_refused,
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
            (replaced, other.replaced),
            (messages, other.messages),
            (delivered, other.delivered),
            (recovered, other.recovered),
            (unrecovered, other.unrecovered),
            (replayed, other.replayed),
        ] {
            *sum += more;
        }
        let arrays = [
            (&mut connects_refused[..], &other.connects_refused[..]),
            (&mut rate_limited[..], &other.rate_limited[..]),
        ];
        for (sums, others) in arrays {
            for (sum, more) in sums.iter_mut().zip(others) {
                *sum += more;
            }
        }
    }
}

/// Counts what has this name.
fn count(names: &[&str], counts: &mut [u64], name: &str) {
    if let Some((_, count)) = names.iter().zip(counts).find(|(known, _)| **known == name) {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::AuthError, chat::error::Code};

    #[test]
    fn every_code_of_a_refusal_is_counted_and_added_up() {
        let codes = [
            AuthError::Missing.code(),
            AuthError::TOO_LONG.code(),
            AuthError::Expired.code(),
            AuthError::NotYetValid.code(),
            AuthError::Claims("").code(),
            Code::Banned.as_str(),
            TOO_MANY,
            LATER,
        ];
        let (mut one, mut sum) = (Counters::default(), Counters::default());
        codes.iter().for_each(|code| one.count_connect_refused(code));
        one.count_rate_limited("join");
        sum.add(&one);
        sum.add(&one);
        assert_eq!(sum.connects_refused().collect::<Vec<_>>(), codes.map(|code| (code, 2)));
        assert_eq!(sum.rate_limited().map(|(_, count)| count).sum::<u64>(), 2);
    }
}
