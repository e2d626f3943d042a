//! One client that speaks in all rooms.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::canary::client::{Client, refused, token};
use crate::herd::{Place, numbered};
use crate::subject::SECRET;

/// How long the server may take for an answer while all clients come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub struct Speaker {
    client: Client,
    rooms: usize,
    /// How many messages the lobby, and each of the rooms, has got.
    spoken: u32,
}

fn connect(address: SocketAddr) -> io::Result<Client> {
    let client = Client::connect(address, "127.0.0.1", &token(SECRET, "speaker", &[]))?;
    client.stream.set_read_timeout(Some(PATIENCE))?;
    Ok(client)
}

impl Speaker {
    /// Connects.
    ///
    /// # Errors
    /// The server does not let it in.
    pub fn new(address: SocketAddr, rooms: usize) -> io::Result<Self> {
        Ok(Self { client: connect(address)?, rooms, spoken: 0 })
    }

    /// Connects to another server.
    ///
    /// # Errors
    /// The server does not let it in.
    pub fn go_to(&mut self, address: SocketAddr) -> io::Result<()> {
        self.client = connect(address)?;
        Ok(())
    }

    /// How many messages the lobby has got, and each of the rooms.
    pub fn spoken(&self) -> (u32, u32) {
        (self.spoken, self.spoken)
    }

    /// Sends so many messages to the lobby and to each room, in this time each, and waits until they are acknowledged.
    ///
    /// # Errors
    /// The server does not take one of them.
    pub fn speak(&mut self, messages: u32, span: Duration) -> io::Result<()> {
        let places: Vec<_> = [Place::Lobby].into_iter().chain((0..self.rooms).map(Place::Room)).collect();
        for _ in 0..messages {
            let begun = Instant::now();
            for (number, place) in places.iter().enumerate() {
                let due = begun + span * number as u32 / places.len() as u32;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let (text, id) = (numbered(*place, self.spoken), place.id());
                let event = format!("[\"message\",{{\"message\":\"{text}\",\"context\":{{\"roomId\":\"{id}\"}}}}]");
                if !self.client.ask(1, &event)? {
                    return Err(refused("a message"));
                }
            }
            self.spoken += 1;
        }
        Ok(())
    }
}

/// How many sockets the server has.
///
/// # Errors
/// It does not say.
pub fn sockets(address: SocketAddr) -> io::Result<usize> {
    let mut stream = Client::tcp(address)?.stream;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let line = answer.lines().find_map(|line| line.strip_prefix("chat_sockets "));
    line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| refused("metrics"))
}
