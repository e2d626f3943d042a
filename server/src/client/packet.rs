//! Packets of Engine.IO v4 and Socket.IO v5 in text, as a client gets them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ClientError;

/// What the server says when a session opens.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Handshake {
    /// The session's id.
    pub(crate) sid: String,
    /// What it may move to.
    pub(crate) upgrades: Vec<String>,
    /// Milliseconds between two pings.
    pub(crate) ping_interval: u64,
    /// Milliseconds that a pong may take.
    pub(crate) ping_timeout: u64,
    /// Bytes of the longest payload or message.
    pub(crate) max_payload: u64,
}

/// A packet from the server.
#[derive(Debug)]
pub(crate) enum Packet {
    /// The session is open.
    Open(Handshake),
    /// The server ends the session.
    Close,
    /// A heartbeat, to be answered.
    Ping,
    /// `3probe`: the answer to a probe.
    Probed,
    /// Nothing.
    Noop,
    /// The namespace is entered.
    Connected(Value),
    /// The namespace is not entered.
    Refused(Value),
    /// The server ends the socket.
    Disconnected,
    /// An event: its name, and its other arguments.
    Event(String, Vec<Value>),
    /// The answer to the event of this number.
    Ack(u64, Vec<Value>),
}

impl Packet {
    /// Reads one packet.
    ///
    /// # Errors
    /// No server of Engine.IO v4 and Socket.IO v5 sends it.
    pub(crate) fn parse(text: &str) -> Result<Self, ClientError> {
        let unexpected = || ClientError::unexpected("a packet of Engine.IO", text);
        let (kind, rest) = text.split_at_checked(1).ok_or_else(unexpected)?;
        match kind {
            "0" => serde_json::from_str(rest).map(Self::Open).map_err(|_| unexpected()),
            "1" => Ok(Self::Close),
            "2" => Ok(Self::Ping),
            "3" => Ok(Self::Probed),
            "4" => Self::parse_message(rest).ok_or_else(|| ClientError::unexpected("a packet of Socket.IO", text)),
            "6" => Ok(Self::Noop),
            _ => Err(unexpected()),
        }
    }

    fn parse_message(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        let object = || if rest.is_empty() { Some(Value::Null) } else { serde_json::from_str(rest).ok() };
        match kind {
            "0" => object().map(Self::Connected),
            "1" => Some(Self::Disconnected),
            "4" => object().map(Self::Refused),
            "2" | "3" => {
                let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                let (id, json) = rest.split_at_checked(digits)?;
                let mut arguments: Vec<Value> = serde_json::from_str(json).ok()?;
                if kind == "3" {
                    return Some(Self::Ack(id.parse().ok()?, arguments));
                }
                if arguments.is_empty() {
                    return None;
                }
                let Value::String(name) = arguments.remove(0) else { return None };
                Some(Self::Event(name, arguments))
            }
            _ => None,
        }
    }
}

/// The packet that enters the namespace `/`.
pub(crate) fn connect_packet(token: Option<&str>) -> String {
    match token {
        Some(token) => format!("40{}", json!({ "token": token })),
        None => "40".to_owned(),
    }
}

/// The packet of an event that wants an answer.
pub(super) fn event_packet(id: u64, event: &str, payload: &Value) -> String {
    format!("42{id}{}", json!([event, payload]))
}

/// The answer to CONNECT, as a result.
pub(super) fn connect_answer(packet: Packet) -> Option<Result<Value, ClientError>> {
    match packet {
        Packet::Connected(value) => Some(Ok(value)),
        Packet::Refused(value) => {
            let text = |value: &Value| value.as_str().unwrap_or("none").chars().take(64).collect::<String>();
            Some(Err(ClientError::Unauthorized {
                code: text(&value["data"]["code"]),
                message: text(&value["message"]),
            }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_server() {
        let open =
            r#"0{"sid":"a","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        assert!(matches!(Packet::parse(open), Ok(Packet::Open(Handshake { ping_interval: 25_000, .. }))));
        assert!(matches!(Packet::parse("2"), Ok(Packet::Ping)));
        assert!(matches!(Packet::parse(r#"40{"sid":"b"}"#), Ok(Packet::Connected(value)) if value["sid"] == "b"));
        assert!(
            matches!(Packet::parse(r#"42["a",1,"o"]"#), Ok(Packet::Event(name, rest)) if name == "a" && rest.len() == 2)
        );
        assert!(matches!(Packet::parse(r#"4317[{"ok":true}]"#), Ok(Packet::Ack(17, rest)) if rest[0]["ok"] == true));
        for text in ["", "é", "0", "0[]", "4", "4é", "42", "42[]", "42[1]", "43[]", "9", "<html>", "45-"] {
            assert!(Packet::parse(text).is_err(), "{text}");
        }
    }
}
