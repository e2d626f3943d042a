//! A message at the home of its room, in four steps. It is looked up: one with a repeated `clientId` is stored already. It is
//! stored with an id, which fixes its order. It is delivered. It is acknowledged.

use engineio::SharedFrame;
use smallvec::SmallVec;
use socketio::{Io, json, parser::encode};
use uuid::fmt::Hyphenated;

use super::homes::{Homes, RoomLocation};
use crate::{
    chat::{
        reply::Reply,
        request::MessageRequest,
        shard_message::{Asker, LocalSockets, ToAll, ToSocket, send_to_socket},
    },
    clock::wall_clock,
    room::Room,
    store::{Receipt, Stored},
};

/// Where a message goes, found with one look for its room.
#[derive(Debug, Default)]
struct Route {
    /// The shards that have members.
    shards: SmallVec<[u16; 8]>,
    location: RoomLocation,
}

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
        let receipt = match self.find_repeated(io, asker, room, request) {
            Some(receipt) => receipt,
            None => {
                // A room that everybody has left meanwhile is not known here any more.
                let home = self.rooms.get(room);
                let known = home.map(|home| home.location).unwrap_or_default();
                let shards = home.map(|home| home.occupants.shards()).unwrap_or_default();
                let mut route = Route { shards, location: known };
                // Stored first: what nobody can find again later is not delivered either.
                let (receipt, frame) = self.stamp_and_store(io, asker, room, &mut route, request);
                deliver(io, sockets, asker, room, &mut route, &frame);
                if route.location != known
                    && let Some(home) = self.rooms.get_mut(room)
                {
                    home.location = route.location;
                }
                receipt
            }
        };
        self.acknowledge(io, sockets, asker, receipt);
    }

    /// What the message was acknowledged with, if its `clientId` says that it was sent before.
    fn find_repeated(
        &mut self,
        io: &Io<'_>,
        asker: &Asker,
        room: &Room,
        request: &MessageRequest<'_>,
    ) -> Option<Receipt> {
        let client_id = request.client_id.as_deref()?;
        self.store.receipt(io.now(), room, &asker.account.id, client_id)
    }

    /// Stamps a message and keeps it. Returns what it is acknowledged with, and its event.
    fn stamp_and_store(
        &mut self,
        io: &mut Io<'_>,
        asker: &Asker,
        room: &Room,
        route: &mut Route,
        request: &MessageRequest<'_>,
    ) -> (Receipt, SharedFrame) {
        let now = io.now();
        let mut random = [0; 10];
        io.fill_random(&mut random);
        let receipt = self.ids.next(wall_clock(), random);
        let payload = self.payload(&asker.account.fields(), receipt, request);
        let frame = encode::event("/", None, "message", &payload, request.attachments);
        let stored = Stored { id: receipt.id, json: payload.into(), attachments: request.attachments.into() };
        self.store.append(now, room, &mut route.location.log, stored);
        if let Some(client_id) = &request.client_id {
            self.store.remember(now, room, &asker.account.id, client_id, receipt);
        }
        (receipt, frame)
    }

    /// Tells the sender that the message is stored.
    fn acknowledge(&mut self, io: &mut Io<'_>, sockets: &mut dyn LocalSockets, asker: &Asker, receipt: Receipt) {
        let Some(ack) = asker.ack else { return };
        let Receipt { id, millis } = receipt;
        let reply = Reply::from(format!(r#","id":"{id}","timestamp":"{}""#, self.timestamps.format(millis)));
        let answer = ToSocket::Answer { socket: asker.socket, event: "message", ack, outcome: Ok(reply) };
        send_to_socket(io, sockets, asker.shard, answer);
    }

    /// The event's payload. What the client sent is spliced in as it was sent.
    fn payload(&mut self, fields: &str, receipt: Receipt, request: &MessageRequest<'_>) -> String {
        let (id, timestamp) = (&mut [0; Hyphenated::LENGTH], self.timestamps.format(receipt.millis));
        let id = &*receipt.id.hyphenated().encode_lower(id);
        let [key, context] = request.context.map_or(["", ""], |context| [r#","context":"#, context]);
        let (open, text, stamp) = (r#"{"id":""#, r#"","message":"#, r#","timestamp":""#);
        let parts = [open, id, text, request.message, stamp, timestamp, "\"", key, context, ",", fields, "}"];
        let payload = parts.concat();
        debug_assert!(json::check(&payload, &json::Limits::default()).is_ok(), "{payload}");
        payload
    }
}

/// Sends a message to the room's members, on the shards that have some.
fn deliver(
    io: &mut Io<'_>,
    sockets: &mut dyn LocalSockets,
    asker: &Asker,
    room: &Room,
    route: &mut Route,
    frame: &SharedFrame,
) {
    let here = io.shard();
    for &shard in &route.shards {
        if shard == here {
            sockets.deliver_message(io, &asker.account, room, &mut route.location.place, frame);
        } else {
            let (account, room, frame) = (asker.account.clone(), room.clone(), frame.clone());
            io.send_to_shard(shard, ToAll::Message { account, room, frame }.into());
        }
    }
}
