//! `message`: checked, stamped, stored, delivered, in this order.

use std::sync::Arc;

use socketio::{Args, Io, SocketKey, json};
use uuid::fmt::Hyphenated;

use super::{
    Chat, LOBBY, Reply,
    error::{ChatError, Code},
    request::{self, MessageRequest},
    room_name, wall_clock,
};
use crate::store::Receipt;

impl Chat {
    pub(super) fn on_message(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
    ) -> Result<Reply, ChatError> {
        let config = Arc::clone(&self.config);
        if let Some(user) = self.user_of(socket) {
            user.messages(&config.limits).take().map_err(ChatError::rate_limited)?;
        }
        let request = request::message(args, &config.limits)?;
        let room = match &request.room {
            Some(room) => self.admit(io, socket, room)?,
            // It may have left the lobby; the sender gets its own message too.
            None if config.rooms.lobby => self.admit(io, socket, LOBBY)?,
            None => return Err(ChatError::new(Code::InvalidPayload, "there is no lobby: context.roomId is missing")),
        };
        let receipt = self.publish(io, socket, &room, &request);
        Ok(Reply::from(format!(r#","id":"{}","timestamp":"{}""#, receipt.id, receipt.timestamp)))
    }

    /// Stamps, stores and delivers a checked message, once per `clientId`.
    fn publish(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        room: &Arc<str>,
        request: &MessageRequest<'_>,
    ) -> Receipt {
        let now = io.now();
        let user = self.member(socket).map(|member| Arc::clone(&member.user)).unwrap_or_default();
        if let Some(client_id) = &request.client_id
            && let Some(receipt) = self.store.receipt(now, room, &user, client_id)
        {
            return receipt.clone();
        }
        let mut random = [0; 10];
        io.fill_random(&mut random);
        let (id, millis) = self.ids.next(wall_clock(), random);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
        let receipt =
            Receipt { id: id.hyphenated().to_string(), timestamp: humantime::format_rfc3339_millis(time).to_string() };
        let payload = self.payload(&user, &receipt, request);
        // Stored first: what nobody can find again later is not delivered either.
        self.store.append(now, room, id, &payload, request.attachments);
        // Only a reserved name is an error, and this is none.
        let _ = io.of("/").to(&room_name(room)).emit("message", &payload, request.attachments);
        if let Some(client_id) = &request.client_id {
            self.store.remember(now, room, &user, client_id, receipt.clone());
        }
        self.end_typing_of_user(io, &user, room);
        receipt
    }

    /// The event's payload. What the client sent is spliced in as it was sent.
    fn payload(&self, user: &str, receipt: &Receipt, request: &MessageRequest<'_>) -> String {
        let fields = self.users.get(user).map(|user| &*user.fields).unwrap_or_default();
        let context = request.context.unwrap_or_default();
        let size = Hyphenated::LENGTH + receipt.timestamp.len() + request.message.len() + context.len() + fields.len();
        let mut payload = String::with_capacity(size + 64);
        payload.push_str(r#"{"id":""#);
        payload.push_str(&receipt.id);
        payload.push_str(r#"","message":"#);
        payload.push_str(request.message);
        payload.push_str(r#","timestamp":""#);
        payload.push_str(&receipt.timestamp);
        payload.push('"');
        if !context.is_empty() {
            payload.push_str(r#","context":"#);
            payload.push_str(context);
        }
        payload.push(',');
        payload.push_str(fields);
        payload.push('}');
        debug_assert!(json::check(&payload, &json::Limits::default()).is_ok(), "{payload}");
        payload
    }
}
