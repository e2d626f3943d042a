//! Why a chat event was refused, as the client is told.

use std::{fmt, time::Duration};

use socketio::json;

/// The longest name of an event that an `error` repeats, in bytes; of a longer one it repeats the beginning.
const MAX_EVENT: usize = 64;

/// When to try again what the server could not do.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A code of docs/chat-protocol.md, "Errors".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidPayload,
    MessageEmpty,
    MessageTooLong,
    ContextTooLarge,
    RoomInvalid,
    RoomForbidden,
    TooManyRooms,
    RateLimited,
    UnknownEvent,
    TokenExpired,
    IdleTimeout,
    Replaced,
    Disconnected,
    Banned,
    UserInvalid,
    TooManyBans,
    ServerBusy,
    StoreUnavailable,
}

impl Code {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidPayload => "invalid_payload",
            Self::MessageEmpty => "message_empty",
            Self::MessageTooLong => "message_too_long",
            Self::ContextTooLarge => "context_too_large",
            Self::RoomInvalid => "room_invalid",
            Self::RoomForbidden => "room_forbidden",
            Self::TooManyRooms => "too_many_rooms",
            Self::RateLimited => "rate_limited",
            Self::UnknownEvent => "unknown_event",
            Self::TokenExpired => "token_expired",
            Self::IdleTimeout => "idle_timeout",
            Self::Replaced => "replaced",
            Self::Disconnected => "disconnected",
            Self::Banned => "banned",
            Self::UserInvalid => "user_invalid",
            Self::TooManyBans => "too_many_bans",
            Self::ServerBusy => "server_busy",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// Whether it counts towards `limits.strikes`, as a rule.
    const fn is_strike(self) -> bool {
        matches!(self, Self::InvalidPayload | Self::UnknownEvent | Self::RoomForbidden)
    }
}

/// What a client is told of an event that there is not.
pub(super) const NO_SUCH_EVENT: &str = "no such event";

/// The code of a CONNECT whose connection ends, so that the client comes back by itself.
pub(super) const LATER: &str = "later";

/// The code of the refusal of a CONNECT whose user has as many sockets as it may.
pub(super) const TOO_MANY: &str = "too_many_connections";

/// A limit that something exceeds, as it is told: `message has 4,097 characters; at most 4,096 (limits.message_length)`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// What has it: `message has`.
    pub(crate) subject: &'static str,
    /// What is counted: `characters`.
    pub(crate) unit: &'static str,
    /// The key of the configuration.
    pub(crate) key: &'static str,
}

/// What was wrong and what to do. It is put into words where somebody is told, so a refusal costs no allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// These words, in which there is nothing that JSON escapes.
    Text(&'static str),
    /// So much, where there may be `most`.
    Exceeds { limit: &'static Limit, count: usize, most: usize },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Text(text) => f.write_str(text),
            Self::Exceeds { limit: Limit { subject, unit, key }, count, most } => {
                write!(f, "{subject} {} {unit}; at most {} ({key})", Grouped(count), Grouped(most))
            }
        }
    }
}

/// A number with a comma before each three digits.
struct Grouped(usize);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 1000, self.0 % 1000) {
            (0, rest) => write!(f, "{rest}"),
            (thousands, rest) => write!(f, "{},{rest:03}", Self(thousands)),
        }
    }
}

/// A refusal: the code, what was wrong and what to do, and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChatError {
    pub(crate) code: Code,
    pub(crate) message: Reason,
    pub(crate) retry_after: Option<Duration>,
    /// Whether it counts towards `limits.strikes`.
    pub(crate) strike: bool,
}

impl ChatError {
    pub(crate) const fn new(code: Code, message: &'static str) -> Self {
        Self { code, message: Reason::Text(message), retry_after: None, strike: code.is_strike() }
    }

    /// There is more of something than there may be.
    pub(crate) const fn exceeds(code: Code, limit: &'static Limit, count: usize, most: usize) -> Self {
        Self { message: Reason::Exceeds { limit, count, most }, ..Self::new(code, "") }
    }

    /// The same for what a serialiser writes by itself: a fault that its user may never have seen.
    pub(crate) const fn without_strike(self) -> Self {
        Self { strike: false, ..self }
    }

    /// A refusal that is no fault of the client's, who is to try again.
    pub(crate) const fn later(code: Code, message: &'static str) -> Self {
        Self { retry_after: Some(TRY_AGAIN), ..Self::new(code, message) }
    }

    pub(crate) const fn rate_limited(retry_after: Duration) -> Self {
        let error = Self::new(Code::RateLimited, "too many events; try again later");
        Self { retry_after: Some(retry_after), ..error }
    }

    /// As the JSON object of an `error` event, or of an acknowledgement (without `event`).
    pub(crate) fn to_json(self, event: Option<&str>) -> String {
        self.to_json_with(event, "")
    }

    /// The same, with more JSON members, each with a comma before it.
    pub(crate) fn to_json_with(self, event: Option<&str>, members: &str) -> String {
        // The message is ours, without a character that JSON escapes.
        let mut text = format!(r#"{{"message":"{}","code":"{}""#, self.message, self.code.as_str()).into_bytes();
        if let Some(event) = event {
            text.extend_from_slice(br#","event":"#);
            json::quote(&event[..event.floor_char_boundary(MAX_EVENT)], &mut text);
        }
        if let Some(after) = self.retry_after {
            text.extend_from_slice(format!(r#","retryAfter":{}"#, after.as_millis().max(1)).as_bytes());
        }
        text.extend_from_slice(members.as_bytes());
        text.push(b'}');
        String::from_utf8(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_with_its_figures_and_its_key() {
        let limit = &Limit { subject: "message has", unit: "characters", key: "limits.message_length" };
        for (count, most, told) in [
            (4097, 4096, "message has 4,097 characters; at most 4,096 (limits.message_length)"),
            (1_000_005, 999, "message has 1,000,005 characters; at most 999 (limits.message_length)"),
        ] {
            let error = ChatError::exceeds(Code::MessageTooLong, limit, count, most);
            assert_eq!(error.to_json(None), format!(r#"{{"message":"{told}","code":"message_too_long"}}"#));
        }
    }

    #[test]
    fn a_long_event_name_is_not_repeated_whole() {
        let error = ChatError::new(Code::UnknownEvent, "no such event");
        for name in ["é".repeat(400_000), "x".repeat(800_000)] {
            let json = error.to_json(Some(&name));
            assert!(json.len() < 200 && json.contains(&name[..64]), "{} bytes", json.len());
        }
        assert!(error.to_json(Some("nope")).contains(r#""event":"nope""#));
    }
}
