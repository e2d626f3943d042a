//! [`Connections`]: how many connections each address has, from the handshake to the end of the session.

use std::{net::IpAddr, sync::Arc, time::Instant};

use engineio::{ConnKey, ShardMessage};
use socketio::Io;

use super::counters::Counters;
use crate::{
    limits::{AddressRefusal, Addresses, Place, Standing},
    rate::{Bucket, Rate},
};

/// So many tokens that are not valid end a connection.
const WRONG_TOKENS: u8 = 10;

/// How many CONNECTs may come at once within one connection.
const CONNECT_BURST: f64 = 10.0;

/// To the shard of a connection without a valid token: it has made room for newer ones.
#[derive(Debug)]
pub(super) struct Displaced(ConnKey);

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
    conn: ConnKey,
    /// `None` if it is known only by its trusted proxy.
    address: Option<IpAddr>,
    standing: Standing,
    connects: Bucket,
    wrong_tokens: u8,
}

impl Connections {
    /// None yet.
    /// `connect_rate` is how many CONNECTs a second there may be within one connection; zero is no limit.
    pub(super) fn new(addresses: Arc<Addresses>, connect_rate: f64) -> Self {
        Self { addresses, connect_rate: Rate::new(connect_rate, CONNECT_BURST), peers: Vec::new() }
    }

    /// Another rate of CONNECTs within one connection.
    pub(super) fn set_connect_rate(&mut self, connect_rate: f64) {
        self.connect_rate = Rate::new(connect_rate, CONNECT_BURST);
    }

    /// May this client open a connection? One that is known only by its trusted proxy always may.
    ///
    /// # Errors
    /// See [`Addresses::admit`].
    pub(super) fn admit(&self, now: Instant, client: Option<IpAddr>) -> Result<(), AddressRefusal> {
        client.map_or(Ok(()), |address| self.addresses.admit(now, address))
    }

    /// A session was opened. Without a valid token it may take the place of another one, or get none.
    pub(super) fn open(&mut self, io: &mut Io<'_>, conn: ConnKey, client: Option<IpAddr>, counters: &mut Counters) {
        let displaced = self.add(io.now(), Place { shard: io.shard(), conn }, client);
        match displaced {
            Some(place) if place.shard == io.shard() => self.displace(io, Displaced(place.conn), counters),
            Some(place) => io.send_to_shard(place.shard, ShardMessage::new(Displaced(place.conn))),
            None => {}
        }
    }

    fn add(&mut self, now: Instant, place: Place, address: Option<IpAddr>) -> Option<Place> {
        let index = place.conn.index() as usize;
        if self.peers.len() <= index {
            self.peers.resize_with(index + 1, || None);
        }
        let (number, displaced) = self.addresses.open(now, address, place);
        if let Some(slot) = self.peers.get_mut(index) {
            let standing = Standing::Unproven(number);
            *slot = Some(Peer { conn: place.conn, address, standing, connects: Bucket::default(), wrong_tokens: 0 });
        }
        displaced
    }

    /// Ends a connection whose place was taken, unless it has shown a valid token since. It goes at once: where thousands come in a
    /// second, those that were given time to close would be the memory that the limit is to save. The client comes back by itself.
    pub(super) fn displace(&mut self, io: &mut Io<'_>, Displaced(conn): Displaced, counters: &mut Counters) {
        if self.peer(conn).is_some_and(|peer| peer.standing != Standing::Proven) {
            counters.displaced += 1;
            io.abort(conn);
        }
    }

    /// The connection has shown a valid token; whether its address may have it.
    pub(super) fn prove(&mut self, now: Instant, conn: ConnKey) -> bool {
        let addresses = Arc::clone(&self.addresses);
        self.peer(conn).is_none_or(|peer| {
            let Standing::Unproven(number) = peer.standing else { return true };
            let admitted = addresses.prove(now, peer.address, number);
            if admitted {
                peer.standing = Standing::Proven;
            }
            admitted
        })
    }

    /// A session is over.
    pub(super) fn close(&mut self, now: Instant, conn: ConnKey) {
        let slot = self.peers.get_mut(conn.index() as usize);
        if let Some(peer) = slot.and_then(|slot| slot.take_if(|peer| peer.conn == conn)) {
            self.addresses.close(now, peer.address, peer.standing);
        }
    }

    fn peer(&mut self, conn: ConnKey) -> Option<&mut Peer> {
        self.peers.get_mut(conn.index() as usize)?.as_mut().filter(|peer| peer.conn == conn)
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
    use crate::limits::AddressLimits;

    #[test]
    fn a_connection_counts_from_open_to_close_and_once() {
        let (now, address) = (Instant::now(), Some(IpAddr::from([10, 0, 0, 1])));
        let addresses = Arc::new(Addresses::new(AddressLimits { rate: 0.0, sockets: 2, unproven: 0, places: 0 }));
        let [mut one, mut other] = [(); 2].map(|()| Connections::new(Arc::clone(&addresses), 0.0));
        let mut slab = Slab::default();
        let [a, b] = [(); 2].map(|()| ConnKey::new(slab.insert(())));
        let place = |conn| Place { shard: 0, conn };
        let enter = |shard: &mut Connections, conn| {
            shard.add(now, place(conn), address);
            assert!(shard.prove(now, conn) && shard.prove(now, conn));
        };
        enter(&mut one, a);
        assert!(other.admit(now, address).is_ok());
        enter(&mut other, b);
        assert!(one.admit(now, address).is_err(), "two shards count together");
        other.close(now, b);
        other.close(now, b);
        assert!(one.admit(now, address).is_ok());
        assert_eq!((one.len(), other.len()), (1, 0));
        enter(&mut one, b);
        assert!(one.admit(now, None).is_ok(), "a proxy has no limit");
        assert!(one.admit(now, address).is_err(), "the second close counted for nothing");
    }
}
