//! What a bystander feels of an attack on the same server.
//!
//! The bystanders ("canaries") are pairs of users. One of a pair sends messages to a room of their own, and the time until
//! the other has it is taken. They do so three times: alone; while the attack goes to *another* server on the same core;
//! and while it goes to theirs. The second shows what sharing a core costs. Only what the third has beyond that is the
//! server's doing.

mod attacks;
pub(crate) mod client;
mod floods;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use client::Client;

pub use attacks::ATTACKS;

use crate::subject::SECRET;

/// How many pairs there are.
const PAIRS: usize = 5;
/// How often each of them sends: 16 times a second, below the chat's rate of 20.
const PAUSE: Duration = Duration::from_millis(60);

/// What an attack knows, and tells.
#[derive(Debug)]
pub struct Field {
    /// The server it goes to.
    pub address: SocketAddr,
    ready: Sender<()>,
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

impl Field {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// For the thread of the attack, when it has nothing more to do.
    fn wait_until_over(&self) {
        while self.goes_on() {
            thread::park();
        }
    }

    /// The preparations are over: from here on it is measured.
    fn begin(&self) {
        // Whoever measures waits for this.
        let _ = self.ready.send(());
    }

    /// Something was done once more.
    fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// An attack: its name, what is counted, and the function that runs it until [`Field`] says that it is over.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// The name on the command line.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    run: fn(&Field) -> io::Result<()>,
}

/// What the canaries felt.
#[derive(Debug, Clone, Default)]
pub struct Felt {
    /// The time of each message that came, sorted.
    times: Vec<Duration>,
    /// Messages that did not come within two seconds, or not at all.
    pub lost: usize,
    /// How often the attack did what it does, per second.
    pub attacks: f64,
}

impl Felt {
    /// The time that this share of the messages did not exceed, in milliseconds.
    pub fn percentile(&self, share: f64) -> f64 {
        let at = (self.times.len() as f64 * share) as usize;
        self.times.get(at.min(self.times.len().saturating_sub(1))).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// The canaries of one server.
#[derive(Debug)]
pub struct Canaries(Vec<[Client; 2]>);

impl Canaries {
    /// Connects them.
    ///
    /// # Errors
    /// The server does not let them in.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut pairs = Vec::new();
        for pair in 0..PAIRS {
            let open = |end: &str| {
                let name = format!("canary-{pair}-{end}");
                let mut client = Client::connect(address, "198.51.100.1", &client::token(SECRET, &name, &[]))?;
                client.ask(1, &format!(r#"["join",{{"roomId":"canaries-{pair}"}}]"#))?;
                Ok::<_, io::Error>(client)
            };
            pairs.push([open("a")?, open("b")?]);
        }
        Ok(Self(pairs))
    }

    /// Has them talk for so long.
    pub fn talk(&mut self, span: Duration) -> Felt {
        let until = Instant::now() + span;
        let felt = thread::scope(|scope| {
            let talks = self.0.iter_mut().enumerate().map(|(number, pair)| {
                scope.spawn(move || {
                    // Not all at the same moment.
                    thread::sleep(PAUSE / PAIRS as u32 * number as u32);
                    talk(number, pair, until)
                })
            });
            talks.collect::<Vec<_>>().into_iter().filter_map(|talk| talk.join().ok()).collect::<Vec<_>>()
        });
        let mut all = Felt::default();
        for one in felt {
            all.times.extend(one.times);
            all.lost += one.lost;
        }
        all.times.sort();
        all
    }

    /// Has them talk while the attack goes to `target`. It ends within seconds of the talk.
    ///
    /// # Errors
    /// The attack could not be prepared.
    pub fn talk_during(&mut self, attack: &Attack, target: SocketAddr, span: Duration) -> io::Result<Felt> {
        let (over, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ready, prepared) = mpsc::channel();
        let field = Field { address: target, ready, over: Arc::clone(&over), done: Arc::clone(&done) };
        thread::scope(|scope| {
            let attacker = scope.spawn(move || (attack.run)(&field));
            // An error: the attack is over already, and says why below.
            let _ = prepared.recv();
            let (before, since) = (done.load(Ordering::Relaxed), Instant::now());
            let mut felt = self.talk(span);
            let done = done.load(Ordering::Relaxed) - before;
            felt.attacks = done as f64 / since.elapsed().as_secs_f64();
            over.store(true, Ordering::Relaxed);
            attacker.thread().unpark();
            attacker.join().map_err(|_| client::refused("the attack panicked"))??;
            Ok(felt)
        })
    }
}

fn talk(number: usize, [sender, receiver]: &mut [Client; 2], until: Instant) -> Felt {
    let mut felt = Felt::default();
    let mut next = Instant::now();
    for id in 2.. {
        next += PAUSE;
        if next > until {
            break;
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let mark = format!("canary {number} {}", next.elapsed().as_nanos());
        let event = format!(r#"["message",{{"message":"{mark}","context":{{"roomId":"canaries-{number}"}}}}]"#);
        let sent = Instant::now();
        let came = sender.send(&format!("42{id}{event}")).and_then(|()| {
            receiver.find(|packet| packet.windows(mark.len()).take(400).any(|bytes| bytes == mark.as_bytes()))
        });
        let time = sent.elapsed();
        match came.and_then(|_| sender.until(&format!("43{id}["))) {
            Ok(_) => felt.times.push(time),
            Err(_) => felt.lost += 1,
        }
        // A late message shows in its own time, and must not be sent faster for it.
        next = next.max(Instant::now() - PAUSE);
    }
    felt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let mut felt = Felt::default();
        assert!(felt.percentile(0.99).is_nan());
        felt.times = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(felt.percentile(0.5), 101.0);
        assert_eq!(felt.percentile(0.99), 199.0);
        assert_eq!(felt.percentile(1.0), 200.0);
    }

    #[test]
    fn attacks_have_names_of_their_own() {
        let mut names = ATTACKS.map(|attack| attack.name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ATTACKS.len());
    }
}
