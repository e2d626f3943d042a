//! How messages are sent to rooms: with a number in flight in each, or at a fixed rate over all. Both wait at the end
//! until all is delivered, so what was measured is exactly what was sent.

use std::time::{Duration, Instant};

use crate::crowd::{Crowd, Packet};
use crate::error::Error;
use crate::ledger::{self, Faults, Ledger, Shape};

/// How long to wait after the last message for missing deliveries, before they count as lost.
const DRAIN: Duration = Duration::from_secs(10);
/// How many numbers one room's messages have; the next room's follow them.
const ROOM_SPAN: u32 = 1_000_000;

/// The rooms of a crowd.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many.
    pub rooms: usize,
    /// Members of each room. The first room's are the crowd's first clients, and so on; clients after the last room's
    /// are not checked.
    pub members: usize,
    /// Members of each room that send, in turn: the first, and others at equal intervals.
    pub senders: usize,
    /// Bytes of text.
    pub text: usize,
    /// Bytes of the attachment in `context`, 0 for none.
    pub attachment: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { rooms: 1, members: 1, senders: 1, text: ledger::TEXT_LEN, attachment: 0 }
    }
}

impl Plan {
    /// The id of room number `room`.
    pub fn id(room: usize) -> String {
        format!("bench-{room:04}")
    }

    /// The id of the room of client number `member`.
    pub fn id_of(&self, member: usize) -> String {
        Self::id(member / self.members.max(1))
    }
}

/// How messages are sent.
#[derive(Debug, Clone, Copy)]
pub enum Offer {
    /// This many messages of each room are in flight, that is not received by every member; the next is sent when one
    /// is complete.
    InFlight(usize),
    /// This many messages a second over all rooms, which take turns, however fast the server is.
    PerSecond(u32),
}

/// Rooms under load.
#[derive(Debug)]
pub struct Rooms {
    crowd: Crowd,
    plan: Plan,
    rooms: Vec<Ledger>,
    /// For each room: what its messages have after their text.
    contexts: Vec<String>,
    /// Messages in all rooms that not every member has received.
    open: usize,
    /// Rooms in which a message was just completed.
    ready: Vec<usize>,
    /// The first `message` event received, to check once that it is the chat's.
    sample: Option<Vec<u8>>,
    clock: Option<Stopwatch>,
}

/// The time from sending a message to each of its deliveries, by room and message.
#[derive(Debug, Default)]
struct Stopwatch {
    sent: Vec<Vec<Instant>>,
    latencies: Vec<Duration>,
}

impl Rooms {
    /// The rooms of `plan`, whose members are the clients of `crowd`.
    pub fn new(crowd: Crowd, plan: Plan) -> Self {
        let plan = Plan { senders: plan.senders.clamp(1, plan.members.max(1)), ..plan };
        let file = if plan.attachment == 0 { "" } else { ",\"file\":{\"_placeholder\":true,\"num\":0}" };
        let context = |room| format!("\",\"context\":{{\"roomId\":\"{}\"{file}}}}}]", Plan::id(room));
        let span = if plan.rooms == 1 { 0 } else { ROOM_SPAN };
        let ledger = |room: usize| {
            let first = u32::try_from(room).unwrap_or(u32::MAX).saturating_mul(span);
            Ledger::new(plan.members, plan.senders, Shape { first, text: plan.text, attachment: plan.attachment })
        };
        Self {
            crowd,
            rooms: (0..plan.rooms).map(ledger).collect(),
            contexts: (0..plan.rooms).map(context).collect(),
            plan,
            open: 0,
            ready: Vec::new(),
            sample: None,
            clock: None,
        }
    }

    /// The clients, to keep them alive while no messages are sent.
    pub fn crowd(&mut self) -> &mut Crowd {
        &mut self.crowd
    }

    /// Deliveries in all rooms so far.
    pub fn deliveries(&self) -> u64 {
        self.rooms.iter().map(Ledger::deliveries).sum()
    }

    /// Messages sent in all rooms so far.
    pub fn sent(&self) -> usize {
        self.rooms.iter().map(Ledger::sent).sum()
    }

    /// The faults in all rooms so far.
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for ledger in &self.rooms {
            faults.add(ledger.faults());
        }
        faults
    }

    /// The length of one delivery on a WebSocket, in bytes, once there was one; without attachments all are equally
    /// long.
    pub fn frame_len(&self) -> Option<u64> {
        // Packet types before the event, and the frame header for 126 bytes or more.
        self.sample.as_ref().map(|event| (event.len() + 2 + 4) as u64)
    }

    /// From now on times each delivery. Call it before the first message. It costs the generator one reading of the
    /// clock for each delivery.
    pub fn time_deliveries(&mut self) {
        self.clock = Some(Stopwatch { sent: vec![Vec::new(); self.rooms.len()], latencies: Vec::new() });
    }

    /// The times of the deliveries since the last call, sorted.
    pub fn take_latencies(&mut self) -> Vec<Duration> {
        let mut latencies = self.clock.as_mut().map(|clock| std::mem::take(&mut clock.latencies)).unwrap_or_default();
        latencies.sort_unstable();
        latencies
    }

    /// Sends messages for `duration`, then waits until all are delivered, at most 10 s. Returns the time it took.
    ///
    /// # Errors
    /// As [`Crowd::pump`]'s; [`Error::Event`] if the first delivery of all lacks a field.
    pub fn offer(&mut self, offer: Offer, duration: Duration) -> Result<Duration, Error> {
        let (start, mut due) = (Instant::now(), 0_u32);
        self.ready = (0..self.rooms.len()).collect();
        loop {
            let elapsed = start.elapsed();
            if elapsed >= duration && (self.open == 0 || elapsed >= duration + DRAIN) {
                return Ok(elapsed);
            }
            let mut wait = (duration + DRAIN).saturating_sub(elapsed);
            if elapsed < duration {
                wait = duration - elapsed;
                match offer {
                    Offer::InFlight(limit) => self.fill_up(limit),
                    Offer::PerSecond(rate) => {
                        while Duration::from_secs(1) * due / rate.max(1) <= elapsed {
                            self.send(due as usize % self.rooms.len());
                            due += 1;
                        }
                        wait = wait.min(Duration::from_secs(1) * due / rate.max(1) - elapsed);
                    }
                }
            }
            self.pump(wait)?;
        }
    }

    fn fill_up(&mut self, limit: usize) {
        let mut ready = std::mem::take(&mut self.ready);
        for room in ready.drain(..) {
            for _ in self.rooms[room].open()..limit {
                self.send(room);
            }
        }
        self.ready = ready;
    }

    fn send(&mut self, room: usize) {
        let Plan { members, senders, text, attachment, .. } = self.plan;
        let (number, sender) = self.rooms[room].send();
        self.open += 1;
        let member = room * members + sender * members / senders;
        let head = if attachment == 0 { "42" } else { "451-" };
        let (text, context) = (ledger::text(number, text), &self.contexts[room]);
        let packet = format!("{head}[\"message\",{{\"message\":\"{text}{context}");
        self.crowd.send(member, Packet::Text(packet.as_bytes()));
        if attachment > 0 {
            self.crowd.send(member, Packet::Binary(&ledger::attachment(number, attachment)));
        }
        if let Some(clock) = &mut self.clock {
            clock.sent[room].push(Instant::now());
        }
    }

    fn pump(&mut self, wait: Duration) -> Result<(), Error> {
        let Self { crowd, plan, rooms, open, ready, sample, clock, .. } = self;
        let unchecked = sample.is_none();
        crowd.pump(wait, |member, packet| {
            let (room, place) = (member / plan.members, member % plan.members);
            let Some(ledger) = rooms.get_mut(room) else { return };
            if unchecked && sample.is_none() {
                *sample = event(packet);
            }
            let before = ledger.open();
            let Some(index) = ledger.receive(place, packet) else { return };
            if ledger.open() < before {
                *open -= 1;
                ready.push(room);
            }
            if let Some(clock) = clock {
                clock.latencies.push(clock.sent[room][index].elapsed());
            }
        })?;
        match sample {
            Some(packet) if unchecked => check_event(packet),
            _ => Ok(()),
        }
    }
}

/// The packet, if it is a `message` event.
fn event(packet: Packet<'_>) -> Option<Vec<u8>> {
    let Packet::Text(text) = packet else { return None };
    let json = text.strip_prefix(b"42").or_else(|| text.strip_prefix(b"451-"))?;
    json.starts_with(b"[\"message\",").then(|| json.to_vec())
}

/// A server that delivers less than the chat promises would be compared on unequal work.
fn check_event(json: &[u8]) -> Result<(), Error> {
    let shown = || Error::Event(String::from_utf8_lossy(json).into_owned());
    let event: serde_json::Value = serde_json::from_slice(json).map_err(|_| shown())?;
    let has_text = |field: &str| event[1][field].as_str().is_some_and(|value| !value.is_empty());
    let complete = ["id", "message", "timestamp", "userId", "username"].into_iter().all(has_text);
    let room = event[1]["context"]["roomId"].as_str().is_some_and(|room| room.starts_with("bench-"));
    if complete && room { Ok(()) } else { Err(shown()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_needs_every_field_of_the_chat() {
        let whole = r#"["message",{"id":"i","message":"m","timestamp":"t","context":{"roomId":"bench-0000"},"userId":"u","username":"n"}]"#;
        for head in ["42", "451-"] {
            let packet = format!("{head}{whole}");
            let json = event(Packet::Text(packet.as_bytes())).unwrap();
            assert!(check_event(&json).is_ok());
        }
        assert_eq!(event(Packet::Text(b"42[\"userStatus\",{}]")), None);
        assert!(check_event(whole.replace("bench-", "other-").as_bytes()).is_err());
        for field in ["id", "message", "timestamp", "context", "userId", "username"] {
            let without = whole.replace(&format!("\"{field}\":"), "\"x\":");
            assert!(check_event(without.as_bytes()).is_err(), "{field}");
        }
    }
}
