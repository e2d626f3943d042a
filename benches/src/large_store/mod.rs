//! What a store with very many messages costs: memory, time to start, and the time that a page of the history takes.

mod lines;

pub use lines::Past;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::canary::client::{Client, refused, token};
use crate::subject::SECRET;

/// The largest page of the history that a client may ask for, in messages.
const PAGE: usize = 200;

/// Times of one kind of request, sorted.
#[derive(Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of all is below, in milliseconds.
    pub fn percentile(&self, share: f64) -> f64 {
        let at = (self.0.len() as f64 * share) as usize;
        self.0.get(at.min(self.0.len().saturating_sub(1))).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// Asks for the page before a message, in a room; the id of the page's first message, if there is one, and the time it took.
fn page(client: &mut Client, room: &str, before: Option<&str>) -> io::Result<(Option<String>, Duration)> {
    let before = before.map_or_else(String::new, |id| format!(",\"before\":\"{id}\""));
    let begun = Instant::now();
    client.send(&format!("421[\"history\",{{\"roomId\":\"{room}\",\"limit\":{PAGE}{before}}}]"))?;
    let answer = client.until("431[")?;
    let time = begun.elapsed();
    let messages = answer.split_once("\"ok\":true,\"messages\":[").ok_or_else(|| refused(&answer))?.1;
    let first = messages.strip_prefix("{\"id\":\"").and_then(|rest| rest.get(..36));
    Ok((first.map(str::to_owned), time))
}

/// A member of this room.
fn member(address: SocketAddr, user: &str, room: &str) -> io::Result<Client> {
    let mut client = Client::connect(address, "192.0.2.1", &token(SECRET, user, &[]))?;
    if client.ask(1, &format!("[\"join\",{{\"roomId\":\"{room}\"}}]"))? { Ok(client) } else { Err(refused("join")) }
}

/// The times of one page in each of `count` rooms, before the message that stands at this share of all.
///
/// # Errors
/// The server does not answer with a page.
pub fn time_pages(address: SocketAddr, past: &Past, share: f64, count: u64) -> io::Result<Times> {
    let number = (past.messages as f64 * share) as u64;
    let times = (0..count).map(|room| {
        let room = past.room(room);
        let mut client = member(address, "reader", &room)?;
        page(&mut client, &room, Some(&past.id(number))).map(|(_, time)| time)
    });
    times.collect::<io::Result<_>>().map(Times::new)
}

/// `readers` clients page back through a room each, as fast as they can, while a writer sends to a further room. The times of the
/// pages, and those of the acknowledgements.
///
/// # Errors
/// The server does not answer as it should.
pub fn time_load(address: SocketAddr, past: &Past, readers: u64, span: Duration) -> io::Result<(Times, Times)> {
    let over = AtomicBool::new(false);
    let until = Instant::now() + span;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..readers)
            .map(|reader| {
                scope.spawn(move || {
                    let (mut times, mut number) = (Vec::new(), reader);
                    while Instant::now() < until {
                        // Each room from its end to its beginning, then another one.
                        number += readers;
                        let room = past.room(number);
                        let mut client = member(address, &format!("reader-{reader}"), &room)?;
                        let mut before = None;
                        while Instant::now() < until {
                            let (first, time) = page(&mut client, &room, before.as_deref())?;
                            times.push(time);
                            before = first;
                            if before.is_none() {
                                break;
                            }
                        }
                    }
                    io::Result::Ok(times)
                })
            })
            .collect();
        let writer = scope.spawn(|| {
            let mut client = member(address, "writer", "written")?;
            let mut times = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                if !client.ask(2, "[\"message\",{\"message\":\"new\",\"context\":{\"roomId\":\"written\"}}]")? {
                    return Err(refused("a message"));
                }
                times.push(begun.elapsed());
                thread::sleep(Duration::from_millis(5));
            }
            io::Result::Ok(times)
        });
        let fail = |_| io::Error::other("a thread has panicked");
        let pages: io::Result<Vec<Vec<Duration>>> = readers.into_iter().map(|it| it.join().map_err(fail)?).collect();
        over.store(true, Ordering::Relaxed);
        let acks = writer.join().map_err(fail)??;
        Ok((Times::new(pages?.concat()), Times::new(acks)))
    })
}
