//! [`Connections`]: how many connections each address has, from the handshake to the end of the session.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use engineio::ConnKey;

use crate::{
    limits::Addresses,
    rate::{Bucket, Rate},
};

/// So many tokens that are not valid end a connection.
const WRONG_TOKENS: u8 = 10;

/// How many CONNECTs may come at once within one connection.
const CONNECT_BURST: f64 = 10.0;

/// This shard's connections, counted by address together with those of the other shards.
#[derive(Debug)]
pub(super) struct Connections {
    addresses: Arc<Addresses>,
    connect_rate: Rate,
    /// By the connection's index.
    peers: Vec<Option<Peer>>,
}

/// The client of one connection.
#[derive(Debug)]
struct Peer {
    address: IpAddr,
    connects: Bucket,
    wrong_tokens: u8,
}

impl Connections {
    /// None yet.
    /// `connect_rate` is how many CONNECTs a second there may be within one connection; zero is no limit.
    pub(super) fn new(addresses: Arc<Addresses>, connect_rate: f64) -> Self {
        Self { addresses, connect_rate: Rate::new(connect_rate, CONNECT_BURST), peers: Vec::new() }
    }

    /// May this client open a connection? One that is known only by its trusted proxy always may.
    ///
    /// # Errors
    /// When to try again.
    pub(super) fn admit(&self, now: Instant, client: Option<IpAddr>) -> Result<(), Duration> {
        client.map_or(Ok(()), |address| self.addresses.admit(now, address))
    }

    /// A session was opened.
    pub(super) fn open(&mut self, now: Instant, conn: ConnKey, client: Option<IpAddr>) {
        let Some(address) = client else { return };
        let index = conn.index() as usize;
        if self.peers.len() <= index {
            self.peers.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.peers.get_mut(index) {
            *slot = Some(Peer { address, connects: Bucket::default(), wrong_tokens: 0 });
        }
        self.addresses.add(now, address);
    }

    /// A session is over.
    pub(super) fn close(&mut self, now: Instant, conn: ConnKey) {
        if let Some(peer) = self.peers.get_mut(conn.index() as usize).and_then(Option::take) {
            self.addresses.remove(now, peer.address);
        }
    }

    fn peer(&mut self, conn: ConnKey) -> Option<&mut Peer> {
        self.peers.get_mut(conn.index() as usize)?.as_mut()
    }

    /// Counts a CONNECT; whether the connection may send it.
    pub(super) fn take_connect(&mut self, now: Instant, conn: ConnKey) -> bool {
        let rate = self.connect_rate;
        self.peer(conn).is_none_or(|peer| peer.connects.take(&rate, now, 1).is_ok())
    }

    /// Counts a token that was not valid; whether the connection has had enough of them.
    pub(super) fn count_wrong_token(&mut self, conn: ConnKey) -> bool {
        self.peer(conn).is_some_and(|peer| {
            peer.wrong_tokens = peer.wrong_tokens.saturating_add(1);
            peer.wrong_tokens >= WRONG_TOKENS
        })
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.peers.iter().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use engineio::slab::Slab;

    use super::*;

    #[test]
    fn a_connection_counts_from_open_to_close_and_once() {
        let (now, address) = (Instant::now(), IpAddr::from([10, 0, 0, 1]));
        let addresses = Arc::new(Addresses::new(0.0, 2));
        let [mut one, mut other] = [(); 2].map(|()| Connections::new(Arc::clone(&addresses), 0.0));
        let mut slab = Slab::default();
        let [a, b] = [(); 2].map(|()| ConnKey::new(slab.insert(())));
        let address = Some(address);
        one.open(now, a, address);
        assert!(other.admit(now, address).is_ok());
        other.open(now, b, address);
        assert!(one.admit(now, address).is_err(), "two shards count together");
        other.close(now, b);
        other.close(now, b);
        assert!(one.admit(now, address).is_ok());
        assert_eq!((one.len(), other.len()), (1, 0));
        one.open(now, b, address);
        assert!(one.admit(now, None).is_ok(), "a proxy has no limit");
        assert!(one.admit(now, address).is_err(), "the second close counted for nothing");
    }
}
