//! What came of a step.

use std::time::Duration;

use serde_json::Value;

use crate::client::ClientError;

/// A step that passed.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// What was found, in a few words.
    pub(super) detail: String,
    /// What works, and yet should be looked at.
    pub(super) warnings: Vec<String>,
}

/// A step that failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection, or what came over it.
    Client(ClientError),
    /// The chat refused an event, with a code.
    Refused {
        /// The event's name.
        event: &'static str,
        /// The error of its acknowledgement.
        error: Value,
    },
    /// The server does what it must not do; what to do about it.
    Wrong(String, &'static str),
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl Fault {
    /// What went wrong, as one line.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Client(error) => error.to_string(),
            Self::Refused { event, error } => {
                let text = |value: &Value| value.as_str().unwrap_or_default().chars().take(200).collect::<String>();
                format!("{event} was refused with {}: {}", text(&error["code"]), text(&error["message"]))
            }
            Self::Wrong(reason, _) => reason.clone(),
        }
    }
}

/// As a text with a precision that fits.
pub(super) fn milliseconds(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    let digits = if milliseconds < 10.0 { 2 } else { 0 };
    format!("{milliseconds:.digits$} ms")
}
