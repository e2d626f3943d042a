//! [`Event`]: what is told. It is made on a shard, which copies no more than it must; the thread that sends makes the JSON.

use std::sync::Arc;

use socketio::json;

use crate::{clock::Timestamps, room::Room};

/// Something that happened, and when, in milliseconds since the Unix epoch.
#[derive(Debug)]
pub(crate) enum Event {
    /// A user has a socket, and had none. `user` are the members that say who it is, as events carry them.
    Connected { user: Arc<String>, millis: u64 },
    /// A user has had no socket for `presence.grace`, since then.
    Disconnected { user: Arc<String>, millis: u64 },
    /// A message was stored. `payload` is that of the event `message`.
    Stored { room: Room, payload: Box<str>, attachments: usize, millis: u64 },
}

impl Event {
    /// About how many bytes it keeps in memory.
    pub(super) fn weight(&self) -> usize {
        let of = match self {
            Self::Connected { user, .. } | Self::Disconnected { user, .. } => user.len(),
            Self::Stored { room, payload, .. } => room.name().len() + payload.len(),
        };
        of + size_of::<Self>()
    }

    /// Appends it as JSON.
    pub(super) fn write(&self, timestamps: &mut Timestamps, out: &mut Vec<u8>) {
        let (kind, millis) = match self {
            Self::Connected { millis, .. } => ("user.connected", millis),
            Self::Disconnected { millis, .. } => ("user.disconnected", millis),
            Self::Stored { millis, .. } => ("message.stored", millis),
        };
        let timestamp = timestamps.format(*millis);
        out.extend_from_slice(format!(r#"{{"type":"{kind}","timestamp":"{timestamp}","data":{{"#).as_bytes());
        match self {
            Self::Connected { user, .. } | Self::Disconnected { user, .. } => out.extend_from_slice(user.as_bytes()),
            Self::Stored { room, payload, attachments, .. } => {
                out.extend_from_slice(br#""roomId":"#);
                json::quote(room.id(), out);
                if *attachments > 0 {
                    out.extend_from_slice(format!(r#","attachments":{attachments}"#).as_bytes());
                }
                out.extend_from_slice(br#","message":"#);
                out.extend_from_slice(payload.as_bytes());
            }
        }
        out.extend_from_slice(b"}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_json_of_one_form() {
        let user = Arc::new(r#""userId":"a","username":"A""#.to_owned());
        let payload = r#"{"id":"1","message":"x"}"#;
        let stored =
            |attachments| Event::Stored { room: Room::new("r\""), payload: payload.into(), attachments, millis: 7 };
        for (event, expected) in [
            (
                Event::Connected { user: Arc::clone(&user), millis: 0 },
                r#"{"type":"user.connected","timestamp":"1970-01-01T00:00:00.000Z","data":{"userId":"a","username":"A"}}"#,
            ),
            (
                Event::Disconnected { user, millis: 1 },
                r#"{"type":"user.disconnected","timestamp":"1970-01-01T00:00:00.001Z","data":{"userId":"a","username":"A"}}"#,
            ),
            (
                stored(0),
                r#"{"type":"message.stored","timestamp":"1970-01-01T00:00:00.007Z","data":{"roomId":"r\"","message":{"id":"1","message":"x"}}}"#,
            ),
            (
                stored(2),
                r#"{"type":"message.stored","timestamp":"1970-01-01T00:00:00.007Z","data":{"roomId":"r\"","attachments":2,"message":{"id":"1","message":"x"}}}"#,
            ),
        ] {
            let mut out = Vec::new();
            event.write(&mut Timestamps::default(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
