//! How messages are offered to a room: a window in flight, or a fixed rate. Both end in silence, so what was measured
//! in between is exactly what was sent in between.

use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::error::Error;
use crate::ledger::{self, Ledger};

/// How long deliveries still owed are awaited after the last message, before they count as lost.
const DRAIN: Duration = Duration::from_secs(10);

/// One room under load: its members are the whole crowd, its senders are spread evenly among them.
#[derive(Debug)]
pub struct Room {
    crowd: Crowd,
    ledger: Ledger,
    id: String,
    senders: usize,
    /// The first `message` event received, to check once that it is the chat's.
    sample: Option<Vec<u8>>,
}

/// How messages are offered.
#[derive(Debug, Clone, Copy)]
pub enum Offer {
    /// So many messages not yet received by every member; the next is sent when one is complete.
    InFlight(usize),
    /// So many messages a second, whatever the server does.
    PerSecond(u32),
}

impl Room {
    /// The room `id` with `crowd` as its members.
    pub fn new(crowd: Crowd, id: &str, senders: usize) -> Self {
        let senders = senders.clamp(1, crowd.len().max(1));
        Self { ledger: Ledger::new(crowd.len(), senders), crowd, id: id.to_owned(), senders, sample: None }
    }

    /// The account of all deliveries since the room was made.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Offers messages for `duration`, then waits until all are delivered, 10 s at most. Returns the time it took.
    ///
    /// # Errors
    /// As [`Crowd::pump`]'s; [`Error::Event`] if the first delivery of all lacks a field.
    pub fn offer(&mut self, offer: Offer, duration: Duration) -> Result<Duration, Error> {
        let (start, mut due) = (Instant::now(), 0_u32);
        loop {
            let elapsed = start.elapsed();
            if elapsed >= duration && (self.ledger.open() == 0 || elapsed >= duration + DRAIN) {
                return Ok(elapsed);
            }
            let mut wait = (duration + DRAIN).saturating_sub(elapsed);
            if elapsed < duration {
                wait = duration - elapsed;
                match offer {
                    Offer::InFlight(limit) => {
                        for _ in self.ledger.open()..limit {
                            self.send();
                        }
                    }
                    Offer::PerSecond(rate) => {
                        while Duration::from_secs(1) * due / rate.max(1) <= elapsed {
                            self.send();
                            due += 1;
                        }
                        wait = wait.min(Duration::from_secs(1) * due / rate.max(1) - elapsed);
                    }
                }
            }
            self.pump(wait)?;
        }
    }

    fn send(&mut self) {
        let (number, sender) = self.ledger.send();
        let member = sender * self.crowd.len() / self.senders;
        let packet = format!(
            "42[\"message\",{{\"message\":\"{}\",\"context\":{{\"roomId\":\"{}\"}}}}]",
            ledger::text(number),
            self.id
        );
        self.crowd.send(member, packet.as_bytes());
    }

    fn pump(&mut self, wait: Duration) -> Result<(), Error> {
        let Self { crowd, ledger, sample, .. } = self;
        if sample.is_some() {
            return crowd.pump(wait, |member, packet| ledger.receive(member, packet));
        }
        crowd.pump(wait, |member, packet| {
            if sample.is_none() && packet.starts_with(b"42[\"message\",") {
                *sample = Some(packet.to_vec());
            }
            ledger.receive(member, packet);
        })?;
        sample.as_deref().map_or(Ok(()), |packet| check_event(packet, &self.id))
    }
}

/// A server that delivers less than the chat promises would be compared with unequal work.
fn check_event(packet: &[u8], room: &str) -> Result<(), Error> {
    let shown = || Error::Event(String::from_utf8_lossy(packet).into_owned());
    let json = packet.strip_prefix(b"42").ok_or_else(shown)?;
    let event: serde_json::Value = serde_json::from_slice(json).map_err(|_| shown())?;
    let has_text = |field: &str| event[1][field].as_str().is_some_and(|value| !value.is_empty());
    let complete = ["id", "message", "timestamp", "userId", "username"].into_iter().all(has_text);
    if complete && event[1]["context"]["roomId"] == room { Ok(()) } else { Err(shown()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_needs_every_field_of_the_chat() {
        let whole = r#"42["message",{"id":"i","message":"m","timestamp":"t","context":{"roomId":"r"},"userId":"u","username":"n"}]"#;
        assert!(check_event(whole.as_bytes(), "r").is_ok());
        assert!(check_event(whole.as_bytes(), "other").is_err());
        for field in ["id", "message", "timestamp", "context", "userId", "username"] {
            let without = whole.replace(&format!("\"{field}\":"), "\"x\":");
            assert!(check_event(without.as_bytes(), "r").is_err(), "{field}");
        }
    }
}
