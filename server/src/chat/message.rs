//! `message`: checked, stamped, stored, delivered, in this order.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use engineio::SharedFrame;
use socketio::{AckId, Args, Io, SocketKey, json, parser::encode};
use uuid::fmt::Hyphenated;

use super::{
    Chat, LOBBY, Outcome, Reply,
    accounts::Account,
    error::{ChatError, Code},
    post::{Asker, Post},
    request::{self, MessageRequest},
    room::Room,
    wall_clock,
};
use crate::store::{Receipt, Stored};

/// A checked `message` on its way to another shard.
#[derive(Debug)]
pub(super) struct OwnedMessage {
    message: Box<str>,
    context: Option<Box<str>>,
    client_id: Option<Box<str>>,
    attachments: Box<[Bytes]>,
}

impl OwnedMessage {
    fn of(request: &MessageRequest<'_>) -> Self {
        Self {
            message: request.message.into(),
            context: request.context.map(Box::from),
            client_id: request.client_id.as_deref().map(Box::from),
            attachments: request.attachments.into(),
        }
    }

    pub(super) fn request(&self) -> MessageRequest<'_> {
        MessageRequest {
            message: &self.message,
            context: self.context.as_deref(),
            room: None,
            client_id: self.client_id.as_deref().map(Cow::Borrowed),
            attachments: &self.attachments,
        }
    }

    /// About how many bytes it keeps in memory.
    pub(super) fn weight(&self) -> usize {
        let context = self.context.as_ref().map_or(0, |context| context.len());
        self.message.len() + context + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

impl Chat {
    pub(super) fn on_message(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
        ack: Option<AckId>,
    ) -> Result<Outcome, ChatError> {
        let config = Arc::clone(&self.config);
        if let Some(member) = self.member(socket) {
            member.account.messages(&config.limits).take().map_err(ChatError::rate_limited)?;
        }
        let request = request::message(args, &config.limits)?;
        let room = match &request.room {
            Some(room) => self.admit(io, socket, room, None)?,
            // It may have left the lobby; the sender gets its own message too.
            None if config.rooms.lobby => self.admit(io, socket, LOBBY, None)?,
            None => return Err(ChatError::new(Code::InvalidPayload, "there is no lobby: context.roomId is missing")),
        };
        if let Some(asker) = self.asker(io, socket, ack) {
            if io.shards() > 1 {
                let message = OwnedMessage::of(&request);
                self.deliver_home(io, &room.clone(), Post::Message { asker, room, message });
            } else {
                self.publish(io, &asker, &room, &request);
            }
        }
        Ok(Outcome::Asked)
    }

    /// At the room's home: stamps, stores and delivers a checked message, once per `clientId`, and acknowledges it.
    pub(super) fn publish(&mut self, io: &mut Io<'_>, asker: &Asker, room: &Room, request: &MessageRequest<'_>) {
        let (now, user) = (io.now(), &asker.account.id);
        if let Some(client_id) = &request.client_id
            && let Some(receipt) = self.store.receipt(now, room, user, client_id)
        {
            return self.acknowledge(io, asker, receipt);
        }
        let mut random = [0; 10];
        io.fill_random(&mut random);
        let (id, millis) = self.ids.next(wall_clock(), random);
        let receipt = Receipt { id, millis };
        let payload = self.payload(&asker.account.fields(), receipt, request);
        let frame = encode::event("/", None, "message", &payload, request.attachments);
        // A room that everybody has left meanwhile has no home.
        let (mut home, mut no_log) = (self.homes.get_mut(room), None);
        // Stored first: what nobody can find again later is not delivered either.
        let stored = Stored { id, json: payload.into(), attachments: request.attachments.into() };
        let log = home.as_mut().map_or(&mut no_log, |home| &mut home.ways.log);
        self.store.append(now, room, log, stored);
        if let Some(home) = home {
            let shards = home.shards();
            if shards.contains(&io.shard()) {
                home.broadcast_here(io, room, &frame);
            }
            self.fan_out(io, &asker.account, room, &shards, &frame);
        }
        self.acknowledge(io, asker, receipt);
        if let Some(client_id) = &request.client_id {
            self.store.remember(now, room, user, client_id, receipt);
        }
    }

    fn acknowledge(&mut self, io: &mut Io<'_>, asker: &Asker, receipt: Receipt) {
        if let Some(ack) = asker.ack {
            let Receipt { id, millis } = receipt;
            let reply = Reply::from(format!(r#","id":"{id}","timestamp":"{}""#, self.clock.format(millis)));
            self.reply(io, asker, "message", ack, reply);
        }
    }

    /// Sends a message to the shards that have members of the room. On this one it has been sent.
    fn fan_out(&mut self, io: &mut Io<'_>, account: &Arc<Account>, room: &Room, shards: &[u16], frame: &SharedFrame) {
        let here = io.shard();
        for &shard in shards {
            if shard == here {
                self.end_typing_of_user(io, account, room);
            } else {
                let post = Post::Fanout { account: Arc::clone(account), room: room.clone(), frame: frame.clone() };
                self.deliver(io, shard, post);
            }
        }
    }

    /// Sends a message of another shard's home to the room's members on this shard. Its user has finished typing there.
    pub(super) fn fan_out_here(&mut self, io: &mut Io<'_>, account: &Account, room: &Room, frame: &SharedFrame) {
        io.of("/").local().to(room.name()).emit_frame(frame);
        self.end_typing_of_user(io, account, room);
    }

    /// The event's payload. What the client sent is spliced in as it was sent.
    fn payload(&mut self, fields: &str, receipt: Receipt, request: &MessageRequest<'_>) -> String {
        let (id, timestamp) = (&mut [0; Hyphenated::LENGTH], self.clock.format(receipt.millis));
        let id = &*receipt.id.hyphenated().encode_lower(id);
        let [key, context] = request.context.map_or(["", ""], |context| [r#","context":"#, context]);
        let (open, text, stamp) = (r#"{"id":""#, r#"","message":"#, r#","timestamp":""#);
        let parts = [open, id, text, request.message, stamp, timestamp, "\"", key, context, ",", fields, "}"];
        let payload = parts.concat();
        debug_assert!(json::check(&payload, &json::Limits::default()).is_ok(), "{payload}");
        payload
    }
}
