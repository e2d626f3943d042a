//! A message at the home of its room, in four steps. It is looked up: one with a repeated `clientId` is stored already. It is
//! stored with an id, which fixes its order. It is delivered. It is acknowledged.
//!
//! Each step names what it touches. A store that answers later fits in between: delivery and acknowledgement need the asker, the
//! room, the event and what the store answered, and nothing else of what came before.

use std::time::Instant;

use engineio::SharedFrame;
use socketio::{Io, json, parser::encode};
use uuid::fmt::Hyphenated;

use super::{
    homes::{Home, Homes},
    stamps::Stamps,
};
use crate::{
    chat::{
        reply::Reply,
        request::MessageRequest,
        shard_message::{Asker, LocalSockets, ToAll, ToSocket, send_to_socket},
    },
    room::Room,
    store::{MemoryStore, Receipt, Stored},
};

impl Homes {
    /// Takes a checked message through all steps.
    pub(in crate::chat) fn publish(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        asker: &Asker,
        room: &Room,
        request: &MessageRequest<'_>,
    ) {
        let (now, Self { rooms, store, stamps, .. }) = (io.now(), self);
        if let Some(receipt) = find_repeated(store, now, asker, room, request) {
            return acknowledge(io, sockets, stamps, asker, receipt);
        }
        let mut random = [0; 10];
        io.fill_random(&mut random);
        let receipt = stamps.next(random);
        let payload = payload(&asker.account.fields(), receipt, stamps.timestamp(receipt), request);
        let frame = encode::event("/", None, "message", &payload, request.attachments);
        // A room that everybody has left meanwhile is not known here any more.
        let (mut home, mut unknown) = (rooms.get_mut(room), None);
        let log = home.as_deref_mut().map_or(&mut unknown, |home| &mut home.location.log);
        // Stored first: what nobody can find again later is not delivered either.
        let stored = Stored { id: receipt.id, json: payload.into(), attachments: request.attachments.into() };
        store.append(now, room, log, asker.account.id_hash, stored);
        if let Some(client_id) = &request.client_id {
            store.remember(now, room, &asker.account.id, client_id, receipt);
        }
        if let Some(home) = home {
            deliver(io, sockets, home, asker, room, &frame);
        }
        acknowledge(io, sockets, stamps, asker, receipt);
    }
}

/// What the message was acknowledged with, if its `clientId` says that it was sent before.
fn find_repeated(
    store: &mut MemoryStore,
    now: Instant,
    asker: &Asker,
    room: &Room,
    request: &MessageRequest<'_>,
) -> Option<Receipt> {
    let client_id = request.client_id.as_deref()?;
    store.receipt(now, room, &asker.account.id, client_id)
}

/// Sends a message to the room's members, on the shards that have some.
fn deliver(
    io: &mut Io<'_>,
    sockets: &mut dyn LocalSockets,
    home: &mut Home,
    asker: &Asker,
    room: &Room,
    frame: &SharedFrame,
) {
    let here = io.shard();
    for shard in home.occupants.shards() {
        if shard == here {
            let handle = &mut home.location.sockets;
            if handle.is_none() {
                *handle = io.room("/", room.name());
            }
            sockets.deliver_message(io, &asker.account, room, handle.as_ref(), frame);
        } else {
            let (account, room, frame) = (asker.account.clone(), room.clone(), frame.clone());
            io.send_to_shard(shard, ToAll::Message { account, room, frame }.into());
        }
    }
}

/// Tells the sender that the message is stored.
fn acknowledge(io: &mut Io<'_>, sockets: &mut dyn LocalSockets, stamps: &mut Stamps, asker: &Asker, receipt: Receipt) {
    let Some(ack) = asker.ack else { return };
    let reply = Reply::from(format!(r#","id":"{}","timestamp":"{}""#, receipt.id, stamps.timestamp(receipt)));
    let answer = ToSocket::Answer { socket: asker.socket, event: "message", ack, outcome: Ok(reply), expected: 0 };
    send_to_socket(io, sockets, asker.shard, answer);
}

/// The event's payload. What the client sent is spliced in as it was sent. `fields` say who sent it.
fn payload(fields: &str, receipt: Receipt, timestamp: &str, request: &MessageRequest<'_>) -> String {
    let id = &mut [0; Hyphenated::LENGTH];
    let id = &*receipt.id.hyphenated().encode_lower(id);
    let [key, context] = request.context.map_or(["", ""], |context| [r#","context":"#, context]);
    let (open, text, stamp) = (r#"{"id":""#, r#"","message":"#, r#","timestamp":""#);
    let parts = [open, id, text, request.message, stamp, timestamp, "\"", key, context, ",", fields, "}"];
    let payload = parts.concat();
    debug_assert!(json::check(&payload, &json::Limits::default()).is_ok(), "{payload}");
    payload
}
