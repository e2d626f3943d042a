//! The messages of a large store, as lines for `chat-server store import`.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How the messages are spread over rooms and time: the rooms take turns, at equal intervals.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// How many messages.
    pub messages: u64,
    /// In how many rooms.
    pub rooms: u64,
    /// When the first was sent.
    pub from: SystemTime,
    /// When the last was sent.
    pub until: SystemTime,
}

impl Past {
    /// When message number `number` was sent.
    fn time(&self, number: u64) -> SystemTime {
        let span = self.until.duration_since(self.from).unwrap_or_default();
        self.from + Duration::from_secs_f64(span.as_secs_f64() * number as f64 / self.messages.max(1) as f64)
    }

    /// The id of message number `number`: a UUID of version 7. Ids grow with the number, if messages are at least 2 ms apart.
    pub fn id(&self, number: u64) -> String {
        let millis = self.time(number).duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        format!("{:08x}-{:04x}-7000-8000-{number:012x}", millis >> 16, millis & 0xffff)
    }

    /// The name of the room of message number `number`.
    pub fn room(&self, number: u64) -> String {
        format!("room-{:04}", number % self.rooms.max(1))
    }

    /// Writes all messages, in the order of their ids, about 240 bytes each.
    ///
    /// # Errors
    /// Nobody takes them.
    pub fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        for number in 0..self.messages {
            let (id, room, user) = (self.id(number), self.room(number), number % 997);
            let time = humantime::format_rfc3339_millis(self.time(number));
            writeln!(
                output,
                "{{\"room\":\"{room}\",\"message\":{{\"id\":\"{id}\",\"message\":\"message {number:08} of a conversation\",\
                 \"timestamp\":\"{time}\",\"context\":{{\"roomId\":\"{room}\"}},\"userId\":\"user-{user:04}\",\
                 \"username\":\"User {user:04}\"}}}}"
            )?;
        }
        output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_whose_ids_grow() {
        let from = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let past = Past { messages: 10_000, rooms: 3, from, until: from + Duration::from_secs(20) };
        let mut output = Vec::new();
        past.write(&mut output).unwrap();
        let lines = String::from_utf8(output).unwrap();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 10_000);
        let id = |line: &serde_json::Value| line["message"]["id"].as_str().unwrap().to_owned();
        for (earlier, later) in lines.iter().zip(lines.iter().skip(1)) {
            assert!(id(earlier) < id(later), "{} {}", id(earlier), id(later));
        }
        assert_eq!(lines[1]["message"]["timestamp"], "2023-11-14T22:13:20.002Z");
        assert_eq!(lines[4]["room"], "room-0001");
    }
}
