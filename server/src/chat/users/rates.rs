//! [`Rates`]: how much a user may do in a second, by the configuration.

use crate::{config::Limits, rate::Rate};

/// An event that asks the home of a room for something and may bring a long answer, or work for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) enum Question {
    History,
    Presence,
    Join,
    Leave,
}

/// Escaped as JSON, a character takes up to so many bytes.
const JSON_CHARACTER: usize = 12;

/// So many CONNECTs may come at once at least; mostly it is twice as many as a user may have sockets, for a network that changes
/// takes all of them.
const CONNECT_BURST: usize = 10;

/// See the module.
#[derive(Debug)]
pub(in crate::chat) struct Rates {
    pub(super) messages: Rate,
    pub(super) message_bytes: Rate,
    pub(super) typing: Rate,
    pub(super) questions: Rate,
    pub(super) connects: Rate,
    /// Strikes within a minute; zero is no limit.
    pub(super) strikes: u32,
}

impl Rates {
    /// What the configuration allows. `max_payload` bounds a message whose own limits are switched off.
    pub(in crate::chat) fn new(limits: &Limits, max_payload: usize) -> Self {
        let parts =
            [limits.message_length.saturating_mul(JSON_CHARACTER), limits.context_bytes, limits.attachment_bytes];
        let bounded = parts.iter().all(|part| *part > 0);
        let longest = if bounded { parts.iter().sum::<usize>().min(max_payload) } else { max_payload };
        let message_bytes = if limits.message_rate > 0.0 { limits.message_bytes_rate } else { 0.0 };
        // Any number may come at once: then none is too many.
        let message_rate = if limits.message_burst > 0 { limits.message_rate } else { 0.0 };
        // Where one user may have any number of sockets, many clients share it.
        let connect_rate = if limits.sockets_per_user > 0 { limits.connect_user_rate } else { 0.0 };
        let connects = limits.sockets_per_user.saturating_mul(2).max(CONNECT_BURST);
        Self {
            messages: Rate::new(message_rate, f64::from(limits.message_burst)),
            // One message of the largest kind goes at once.
            message_bytes: Rate::new(message_bytes, message_bytes.max(longest as f64)),
            typing: Rate::with_seconds(limits.typing_rate, 1.0),
            // A page that opens joins all its rooms at once, and asks for their history; and it may be opened again.
            questions: Rate::with_seconds(limits.question_rate, 20.0),
            connects: Rate::new(connect_rate, connects as f64),
            strikes: limits.strikes,
        }
    }
}
