//! The event that tells members that a message was deleted (docs/chat-protocol.md, "Events from the server").

use socketio::json;
use uuid::Uuid;

use crate::room::Room;

/// Its name.
pub(super) const MESSAGE_DELETED: &str = "messageDeleted";

/// Its payload.
pub(super) fn message_deleted(room: &Room, id: Uuid) -> String {
    let mut payload = format!(r#"{{"id":"{id}","roomId":"#).into_bytes();
    json::quote(room.id(), &mut payload);
    payload.push(b'}');
    String::from_utf8(payload).unwrap_or_default()
}
