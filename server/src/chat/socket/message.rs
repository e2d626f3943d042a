//! `message`: checked on the sender's shard, and delivered on each shard that has members of the room. What comes in between
//! is the home's.

use bytes::Bytes;
use socketio::{AckId, Args, Io, OversizeEvent, RoomHandle, SocketKey, parser::encode};

use super::sockets::Sockets;
use crate::{
    chat::{
        counters::EVENTS,
        error::{ChatError, Code, NO_SUCH_EVENT},
        request::{self, MessageRequest, OwnedMessage},
        shard_message::{Asker, Delivery, HomeRequest},
    },
    room::{LOBBY, Room},
};

/// A message that may be sent, and its room, which the sender is in or about to be in.
#[derive(Debug)]
pub(in crate::chat) struct CheckedMessage<'a> {
    pub(in crate::chat) asker: Asker,
    pub(in crate::chat) room: Room,
    pub(in crate::chat) request: MessageRequest<'a>,
}

impl Sockets {
    /// Checks a `message`: the user's rate, the form, the room. `None` when the socket is gone.
    pub(in crate::chat) fn check_message<'a>(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'a>,
        ack: Option<AckId>,
    ) -> Result<Option<CheckedMessage<'a>>, ChatError> {
        let limits = &self.config.limits;
        if let Some(member) = self.members.get(socket) {
            let bytes = args.raw().len() + args.attachments().iter().map(Bytes::len).sum::<usize>();
            let taken = member.account.take_message(&self.accounts.rates(), io.now(), bytes);
            taken.map_err(ChatError::rate_limited)?;
        }
        let request = request::message(args, limits)?;
        let room = match &request.room {
            Some(room) => self.admit(io, socket, room, None)?,
            // It may have left the lobby; the sender gets its own message too.
            None if self.config.rooms.lobby => self.admit(io, socket, LOBBY, None)?,
            None => return Err(ChatError::new(Code::InvalidPayload, "there is no lobby: context.roomId is missing")),
        };
        Ok(self.asker(io, socket, ack).map(|asker| CheckedMessage { asker, room, request }))
    }

    /// Why an event is refused that exceeds a limit of the parser. A `message` counts for the user's rate.
    pub(in crate::chat) fn refuse_oversize(
        &self,
        io: &Io<'_>,
        socket: SocketKey,
        event: &OversizeEvent<'_>,
    ) -> ChatError {
        if !EVENTS.contains(&&*event.name) {
            return ChatError::new(Code::UnknownEvent, NO_SUCH_EVENT);
        }
        let member = self.members.get(socket).filter(|_| event.name == "message");
        let taken = member.map(|member| member.account.take_message(&self.accounts.rates(), io.now(), event.bytes));
        match taken {
            Some(Err(wait)) => ChatError::rate_limited(wait),
            _ => request::oversize(&event.name, event.excess),
        }
    }

    /// Sends a checked message to the room's home.
    pub(in crate::chat) fn send_message(&mut self, io: &mut Io<'_>, checked: CheckedMessage<'_>) {
        let CheckedMessage { asker, room, request } = checked;
        self.homes.send(io, room, HomeRequest::Publish { asker, message: OwnedMessage::of(&request) });
    }

    /// Sends a message to the room's members on this shard. Its user has finished typing there.
    pub(super) fn deliver(&mut self, io: &mut Io<'_>, delivery: Delivery<'_>, handle: Option<&RoomHandle>) {
        let Delivery { account, room, json, attachments, .. } = delivery;
        let frame = match &mut self.recovery {
            Some(recovery) => {
                encode::event_with_offset("/", "message", json, recovery.next_offset(delivery), attachments)
            }
            None => encode::event("/", None, "message", json, attachments),
        };
        let broadcast = io.of("/").local();
        let broadcast = match handle {
            Some(handle) => broadcast.to_room(handle),
            None => broadcast.to(room.name()),
        };
        self.counters.delivered += broadcast.emit_frame(&frame) as u64;
        self.end_typing_of_user(io, account, room);
    }
}
