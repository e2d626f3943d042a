//! What both ways have in common: rooms, and the stamps of messages.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// The room every socket is in.
pub(crate) const LOBBY: &str = "lobby";
/// Characters of a message.
const MAX_MESSAGE: usize = 4096;

/// A message as the members of its room get it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outgoing<'a> {
    pub(crate) id: &'a str,
    pub(crate) message: &'a str,
    pub(crate) timestamp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<&'a RawValue>,
    pub(crate) user_id: &'a str,
    pub(crate) username: &'a str,
}

/// The acknowledgement of a message.
#[derive(Serialize)]
pub(crate) struct Stamped<'a> {
    pub(crate) ok: bool,
    pub(crate) id: &'a str,
    pub(crate) timestamp: &'a str,
}

/// Whether a message may be delivered.
pub(crate) fn check(message: &str) -> Result<(), &'static str> {
    if message.trim_ascii().is_empty() {
        return Err("message_empty");
    }
    if message.len() > MAX_MESSAGE && message.chars().count() > MAX_MESSAGE {
        return Err("message_too_long");
    }
    Ok(())
}

/// Chat rooms live under a prefix, so that no room id can name a socket's own room.
pub(crate) fn room(room_id: &str) -> Result<String, &'static str> {
    if room_id.is_empty() || room_id.len() > 128 { Err("room_invalid") } else { Ok(format!("room:{room_id}")) }
}

/// A new id and the time.
pub(crate) fn stamp() -> (String, String) {
    (Uuid::now_v7().to_string(), humantime::format_rfc3339_millis(SystemTime::now()).to_string())
}
