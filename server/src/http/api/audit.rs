//! [`Entry`]: a line of the audit trail: what was done, or was to be done, with a key.

use uuid::Uuid;

use super::call::Call;
use crate::{log_repeats::AUDIT, room::Room};

/// See the module. The log escapes what stands in it.
#[derive(Debug)]
pub(super) struct Entry {
    key: String,
    /// `None`: the call only asks something.
    action: Option<&'static str>,
    /// Whether it sends a message.
    is_message: bool,
    /// The message that it is about.
    id: Option<Uuid>,
    /// The room of that message, where it is known.
    pub(super) room: Option<Room>,
    user: Option<String>,
    /// How many messages were deleted, sockets ended, or bans lifted.
    pub(super) count: Option<usize>,
    /// Why a user is banned.
    pub(super) reason: Option<String>,
}

impl Entry {
    /// What a call names; the rest is not known before it is done.
    pub(super) fn of(key: &str, call: &Call) -> Self {
        let (id, room) = match call {
            Call::DeleteMessage { id, room } => (Some(*id), room.clone()),
            _ => (None, None),
        };
        let (action, is_message) = (call.action(), *call == Call::Publish);
        let user = call.user().map(str::to_owned);
        Self { key: key.to_owned(), action, is_message, id, room, user, count: None, reason: None }
    }

    /// Writes the line. `error`: the code of the answer, if the call failed. It may have done a part then.
    pub(super) fn log(&self, error: Option<&str>) {
        let Self { key, action, is_message, id, room, user, count, reason } = self;
        let Some(action) = *action else { return };
        if *is_message {
            // As many as there are messages.
            tracing::debug!(target: AUDIT, key, action, error, "API");
            return;
        }
        let (id, room) = (id.map(tracing::field::display), room.as_ref().map(Room::id));
        tracing::info!(target: AUDIT, key, action, id, room, user, count, reason, error, "API");
    }
}
