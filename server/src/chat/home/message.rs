//! A message at the home of its room, in four steps. It is looked up: one with a repeated `clientId` is stored already. It is
//! stored with an id, which fixes its order. It is delivered. It is acknowledged.
//!
//! With a store in memory all of that happens in one call. A store that answers later does the first two steps itself:
//! [`Homes::hand_over`] gives it the message, and [`Homes::receive_stored`] does the rest when the answer comes.

use std::{cell::RefCell, sync::Arc, time::Instant};

use socketio::{Io, json};
use uuid::fmt::Hyphenated;

use super::{
    awaited::{Awaited, Item, Settled, Waiter, refusal},
    homes::{Home, HomeStore, Homes},
    stamps::Stamps,
};
use crate::{
    chat::{
        api_request::PublishReply,
        error::ChatError,
        reply::Reply,
        request::MessageRequest,
        shard_message::{Asker, Delivery, LocalSockets, Sender, ToAll, ToSocket, send_to_socket},
        users::Account,
    },
    config::WebhookEvent,
    room::Room,
    store::{Append, Draft, MemoryStore, Receipt, StoreError, Stored, Taken},
    webhooks::{self, Webhooks},
};

impl Homes {
    /// Takes a checked message through all steps.
    pub(in crate::chat) fn publish(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        sender: &Sender,
        room: &Room,
        request: &MessageRequest<'_>,
    ) {
        let account = sender.account();
        let (now, Self { rooms, store, stamps, webhooks, .. }) = (io.now(), &mut *self);
        let HomeStore::Here(store) = store else { return self.hand_over(io, sockets, sender, room, request) };
        if let Some(receipt) = find_repeated(store, now, account, room, request) {
            return acknowledge(io, sockets, stamps, sender, receipt);
        }
        let mut random = [0; 10];
        io.fill_random(&mut random);
        let receipt = stamps.next(random);
        let payload = payload(&account.fields(), receipt, stamps.timestamp(receipt), request);
        let stored = Stored { id: receipt.id, json: payload.into(), attachments: request.attachments.into() };
        // A room that everybody has left meanwhile is not known here any more.
        let (mut home, mut unknown) = (rooms.get_mut(room), None);
        if let Some(home) = &mut home {
            // It leaves when the turn is over, and then it is stored.
            deliver(io, sockets, home, account, room, &stored);
        }
        let log = home.map_or(&mut unknown, |home| &mut home.location.log);
        tell_stored(webhooks, room, receipt, &stored);
        store.append(now, room, log, account.id_hash, stored);
        if let Some(client_id) = &request.client_id {
            store.remember(now, room, &account.id, client_id, receipt);
        }
        acknowledge(io, sockets, stamps, sender, receipt);
    }

    /// Gives a message to a store that answers later.
    fn hand_over(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        sender: &Sender,
        room: &Room,
        request: &MessageRequest<'_>,
    ) {
        let account = sender.account();
        let HomeStore::Elsewhere(awaited) = &mut self.store else { return };
        let append = Append {
            shard: io.shard(),
            room: room.clone(),
            user: Arc::clone(&account.id),
            client_id: request.client_id.as_deref().map(Box::from),
            draft: draft(&account.fields(), request),
        };
        let taken = awaited.append(sender, append);
        let asker = match sender {
            Sender::Socket(asker) => asker,
            Sender::Api { reply, .. } => {
                if let Err(error) = taken {
                    answer_api(reply, Err(refusal(error)));
                }
                return;
            }
        };
        let item = match taken {
            Ok(()) => Item::Message(asker.ack),
            // In its turn: what the socket sent before may not be answered yet.
            Err(error) => {
                Item::Settled(Settled { event: "message", ack: asker.ack, outcome: Err(refusal(error)), expected: 0 })
            }
        };
        let is_settled = matches!(item, Item::Settled(_));
        let waiter = Waiter::of(asker);
        self.push(io, sockets, waiter, item, is_settled);
    }

    /// What became of messages that this shard gave to the store, in the same order.
    pub(super) fn receive_appended(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        outcomes: Vec<Result<Taken, StoreError>>,
    ) {
        for outcome in outcomes {
            let Self { rooms, store: HomeStore::Elsewhere(awaited), stamps, webhooks, .. } = &mut *self else { return };
            let Some((sender, room)) = awaited.next_append() else { return };
            let outcome = match outcome {
                Ok(Taken::New { receipt, stored }) => {
                    awaited.pass(receipt.id);
                    tell_stored(webhooks, &room, receipt, &stored);
                    if let Some(home) = rooms.get_mut(&room) {
                        deliver(io, sockets, home, sender.account(), &room, &stored);
                    }
                    Ok(receipt)
                }
                Ok(Taken::Repeated(receipt)) => Ok(receipt),
                Err(error) => Err(error),
            };
            match &sender {
                Sender::Socket(asker) => {
                    settle(awaited, stamps, asker, outcome);
                    self.send_settled(io, sockets, Waiter::of(asker));
                }
                Sender::Api { reply, .. } => {
                    answer_api(reply, outcome.map(|receipt| receipt_reply(stamps, receipt)).map_err(refusal));
                }
            }
        }
    }
}

/// Tells webhooks of a message.
fn tell_stored(webhooks: &Webhooks, room: &Room, receipt: Receipt, stored: &Stored) {
    webhooks.tell(WebhookEvent::MessageStored, || webhooks::Event::Stored {
        room: room.clone(),
        payload: stored.json.clone(),
        attachments: stored.attachments.len(),
        millis: receipt.millis,
    });
}

/// Notes what became of a message.
fn settle(awaited: &mut Awaited, stamps: &mut Stamps, asker: &Asker, outcome: Result<Receipt, StoreError>) {
    let outcome: Result<Reply, ChatError> = match outcome {
        Ok(receipt) if asker.ack.is_some() => Ok(receipt_reply(stamps, receipt)),
        Ok(_) => Ok(Reply::default()),
        Err(error) => Err(refusal(error)),
    };
    awaited.settle_message(Waiter::of(asker), outcome);
}

/// What the message was acknowledged with, if its `clientId` says that it was sent before.
fn find_repeated(
    store: &mut MemoryStore,
    now: Instant,
    account: &Account,
    room: &Room,
    request: &MessageRequest<'_>,
) -> Option<Receipt> {
    let client_id = request.client_id.as_deref()?;
    store.receipt(now, room, &account.id, client_id)
}

/// Sends a message to the room's members, on the shards that have some.
fn deliver(
    io: &mut Io<'_>,
    sockets: &mut dyn LocalSockets,
    home: &mut Home,
    account: &Arc<Account>,
    room: &Room,
    stored: &Stored,
) {
    let (here, mut shared) = (io.shard(), None);
    for shard in home.occupants.shards() {
        if shard == here {
            let handle = &mut home.location.sockets;
            if handle.is_none() {
                *handle = io.room("/", room.name());
            }
            let Stored { id, json, attachments } = stored;
            let delivery = Delivery { account, room, home: here, id: *id, json, attachments };
            sockets.deliver_message(io, delivery, handle.as_ref());
        } else {
            let stored = Arc::clone(shared.get_or_insert_with(|| Arc::new(stored.clone())));
            let (account, room) = (Arc::clone(account), room.clone());
            io.send_to_shard(shard, ToAll::Message { account, room, home: here, stored }.into());
        }
    }
}

/// Tells the sender that the message is stored.
fn acknowledge(
    io: &mut Io<'_>,
    sockets: &mut dyn LocalSockets,
    stamps: &mut Stamps,
    sender: &Sender,
    receipt: Receipt,
) {
    let asker = match sender {
        Sender::Socket(asker) => asker,
        Sender::Api { reply, .. } => return answer_api(reply, Ok(receipt_reply(stamps, receipt))),
    };
    let Some(ack) = asker.ack else { return };
    let outcome = Ok(receipt_reply(stamps, receipt));
    let answer = ToSocket::Answer { socket: asker.socket, event: "message", ack: Some(ack), outcome, expected: 0 };
    send_to_socket(io, sockets, asker.shard, answer);
}

/// Tells the API what became of its message, which happens once.
fn answer_api(reply: &RefCell<Option<PublishReply>>, outcome: Result<Reply, ChatError>) {
    if let Some(reply) = reply.take() {
        reply.send(outcome);
    }
}

fn receipt_reply(stamps: &mut Stamps, receipt: Receipt) -> Reply {
    Reply::from(format!(r#","id":"{}","timestamp":"{}""#, receipt.id, stamps.timestamp(receipt)))
}

/// The event's payload without id and time: [`payload`] with gaps.
fn draft(fields: &str, request: &MessageRequest<'_>) -> Draft {
    let [key, context] = request.context.map_or(["", ""], |context| [r#","context":"#, context]);
    let between = [r#"","message":"#, request.message, r#","timestamp":""#];
    Draft::new(&[r#"{"id":""#], &between, &["\"", key, context, ",", fields, "}"], request.attachments.into())
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
