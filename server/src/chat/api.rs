//! [`ChatApi`]: what the HTTP API can do to a chat, from whatever thread. It says what is done, and nothing of HTTP.
//!
//! Rooms are asked at their homes, users on all shards. A store in memory is the homes'; one that answers later is asked directly, and
//! the homes then tell the members.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use engineio::net::{Handle, Reply as Replying, ShardGone};
use tokio::sync::{Mutex, oneshot};
use uuid::Uuid;

use super::{
    api_request::{ApiRequest, DeletedSome, Doomed, RoomSummary},
    error::{ChatError, Code},
    home::Page,
    reply::longest_answer,
    request::{self, OwnedMessage, PageRequest},
    shard_message::HomeShards,
    socket::BANNED,
    users::{Account, Accounts, Bans, MAX_BANS},
};
use crate::{
    auth,
    clock::wall_clock,
    config::Config,
    room::{LOBBY, Room},
    store::{Answering, Ban, Change, Chosen, Cursor, Lookup, PageLimit, PageQuery, RoomCount, Side, Store, StoreError},
};

/// How many messages of one room are deleted in one transaction.
const DELETED_AT_ONCE: usize = 256;

/// How long a deletion of many messages rests after each step: members hear of each message, and a client that reads at a usual speed
/// is to keep up.
const REST: Duration = Duration::from_millis(20);

const DISCONNECTED: ChatError = ChatError::new(Code::Disconnected, "disconnected by the operators of this server");

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct ChatApi {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) bans: Arc<Bans>,
    pub(super) homes: HomeShards,
    pub(super) store: Option<Arc<dyn Store>>,
    /// One ban is changed at a time, so that the store and the memory end up with the same.
    pub(super) ban_changes: Arc<Mutex<()>>,
}

/// A part of a list, and whether there is more.
#[derive(Debug)]
pub(crate) struct PageOf<T> {
    pub(crate) items: Vec<T>,
    pub(crate) more: bool,
}

/// Messages of a room.
#[derive(Debug)]
pub(crate) struct MessagePage(Page);

impl MessagePage {
    /// A JSON array, oldest first; what the placeholders in it stand for; whether there are more.
    pub(crate) fn parts(&self) -> (&str, &[bytes::Bytes], bool) {
        (&self.0.messages, &self.0.attachments, self.0.more)
    }
}

/// A room that has members or messages.
#[derive(Debug, Clone)]
pub(crate) struct RoomInfo {
    pub(crate) room: Room,
    pub(crate) users: usize,
    pub(crate) messages: u64,
}

/// What became of a ban.
#[derive(Debug)]
pub(crate) struct Banned {
    pub(crate) ban: Ban,
    /// How many sockets the user had.
    pub(crate) disconnected: usize,
}

impl ChatApi {
    /// Sends a message in the name of a user: what `message` is acknowledged with, as JSON members, each with a comma before it.
    ///
    /// # Errors
    /// The payload is wrong, or the message cannot be stored at present.
    pub(crate) async fn publish(&self, shards: &Handle, payload: &str) -> Result<String, ChatError> {
        let names = ["userId", "username"];
        let [user, name] = request::fields(payload, names, "userId and username may be given once")?;
        let user = user.ok_or(ChatError::new(Code::InvalidPayload, "userId is missing"))?;
        let user = request::text_of(user).ok_or(ChatError::new(Code::InvalidPayload, "userId must be a string"))?;
        check_user(&user)?;
        let wrong_name = ChatError::new(
            Code::InvalidPayload,
            "username must be a string of 1 to 128 characters that can be seen, without control characters",
        );
        let name = name.map(|name| request::text_of(name).ok_or(wrong_name)).transpose()?;
        if name.as_deref().is_some_and(|name| !auth::is_name(name)) {
            return Err(wrong_name);
        }
        let config = self.config.load();
        let message = request::message_of(payload, &[], &config.limits)?;
        let room = match message.room.as_deref() {
            Some(room) => Room::new(room),
            None if config.rooms.lobby => Room::new(LOBBY),
            None => {
                return Err(ChatError::new(Code::InvalidPayload, "there is no lobby: context.roomId is missing"));
            }
        };
        let account = self.account(&user, name.as_deref());
        let message = OwnedMessage::of(&message);
        let home = self.home(shards, &room);
        let outcome = ask(shards, home, |reply| ApiRequest::Publish { room, account, message, reply }).await?;
        outcome.map(|reply| reply.members)
    }

    /// The user, with this name, or without one with that of its connection.
    fn account(&self, user: &str, name: Option<&str>) -> Arc<Account> {
        match (name, self.accounts.find(user)) {
            (None, Some(connected)) => connected,
            (name, _) => {
                let account = Account::new(user);
                account.rename(name.unwrap_or(user));
                Arc::new(account)
            }
        }
    }

    fn home(&self, shards: &Handle, room: &Room) -> u16 {
        self.homes.of(room, shards.shards())
    }

    /// A page of a room's messages.
    ///
    /// # Errors
    /// The store cannot be read at present.
    pub(crate) async fn messages(
        &self,
        shards: &Handle,
        room: Room,
        page: PageRequest,
    ) -> Result<MessagePage, ChatError> {
        let chosen = match &self.store {
            None => {
                let home = self.home(shards, &room);
                ask(shards, home, |reply| ApiRequest::Page { room, page, reply }).await?
            }
            Some(store) => {
                let side = if page.after.is_some() { Side::Oldest } else { Side::Newest };
                let bytes = longest_answer(&self.config.load().limits);
                let limit = PageLimit { messages: page.limit, bytes, one_at_least: true };
                let PageRequest { after, before, .. } = page;
                let query = PageQuery { shard: 0, ticket: 0, room, after, before, until: Uuid::max(), side, limit };
                look_up(&**store, |answer| Lookup::Page { query, answer }).await?
            }
        };
        let Chosen { messages, more } = chosen;
        Ok(MessagePage(Page::of(&messages, more)))
    }

    /// Who is in a room, as JSON members, each with a comma before it.
    ///
    /// # Errors
    /// The server is shutting down.
    pub(crate) async fn presence(&self, shards: &Handle, room: Room) -> Result<String, ChatError> {
        let home = self.home(shards, &room);
        ask(shards, home, |reply| ApiRequest::Presence { room, reply }).await
    }

    /// The first rooms by id that have members or messages, behind one.
    ///
    /// # Errors
    /// The store cannot be read at present.
    pub(crate) async fn rooms(
        &self,
        shards: &Handle,
        after: Option<Room>,
        limit: usize,
    ) -> Result<PageOf<RoomInfo>, ChatError> {
        // One more, to see whether there is more.
        let wanted = limit + 1;
        let mut found: Vec<RoomSummary> = Vec::new();
        if let Some(store) = &self.store {
            let after = after.clone();
            let stored = look_up(&**store, |answer| Lookup::Rooms { after, limit: wanted, answer }).await?;
            found.extend(stored.into_iter().map(|count| RoomSummary { count, users: 0 }));
        }
        for shard in 0..shards.shards() {
            let after = after.clone();
            found.extend(ask(shards, shard, |reply| ApiRequest::Rooms { after, limit: wanted, reply }).await?);
        }
        found.sort_by(|a, b| a.count.room.cmp(&b.count.room));
        let mut items: Vec<RoomInfo> = Vec::new();
        for RoomSummary { count: RoomCount { room, messages }, users } in found {
            match items.last_mut().filter(|last| last.room == room) {
                Some(last) => {
                    last.users += users;
                    last.messages += messages;
                }
                None => items.push(RoomInfo { room, users, messages }),
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(PageOf { items, more })
    }

    /// Deletes a message, in this room if it is known, and tells the members. The room that it was in; `None` where there was none.
    ///
    /// # Errors
    /// The store cannot be used at present.
    pub(crate) async fn delete_message(
        &self,
        shards: &Handle,
        id: Uuid,
        room: Option<Room>,
    ) -> Result<Option<Room>, ChatError> {
        let Some(store) = &self.store else {
            let deleted = match room {
                Some(room) => {
                    let home = self.home(shards, &room);
                    self.delete_on(shards, home, &Doomed::Message(id, Some(room))).await?
                }
                None => self.delete_everywhere(shards, &Doomed::Message(id, None)).await?,
            };
            return Ok(deleted.room);
        };
        let room = match room {
            Some(room) => Some(room),
            None => look_up(&**store, |answer| Lookup::RoomOf { id, answer }).await?,
        };
        let Some(room) = room else { return Ok(None) };
        let deleted = self.delete_stored(&**store, shards, room.clone(), vec![id]).await?;
        Ok((deleted > 0).then_some(room))
    }

    /// Deletes the messages of a user, and tells the members of their rooms; how many there were.
    ///
    /// # Errors
    /// The store cannot be used at present. Some may be deleted.
    pub(crate) async fn delete_messages_of(&self, shards: &Handle, user: &str) -> Result<usize, ChatError> {
        let Some(store) = &self.store else {
            let user = Account::new(user).id_hash;
            return Ok(self.delete_everywhere(shards, &Doomed::User(user)).await?.count);
        };
        let (user, mut from, mut deleted): (Arc<str>, _, _) = (user.into(), Some(Cursor::default()), 0);
        while let Some(cursor) = from {
            let user = Arc::clone(&user);
            let looked = look_up(&**store, |answer| Lookup::OfUser { user, from: cursor, answer }).await?;
            for of_room in looked.found.chunk_by(|(a, _), (b, _)| a == b) {
                for some in of_room.chunks(DELETED_AT_ONCE) {
                    let Some((room, _)) = some.first() else { continue };
                    let ids = some.iter().map(|(_, id)| *id).collect();
                    deleted += self.delete_stored(&**store, shards, room.clone(), ids).await?;
                    tokio::time::sleep(REST).await;
                }
            }
            from = looked.next;
        }
        Ok(deleted)
    }

    /// Deletes messages from a store that answers later, and tells the members.
    async fn delete_stored(
        &self,
        store: &dyn Store,
        shards: &Handle,
        room: Room,
        ids: Vec<Uuid>,
    ) -> Result<usize, ChatError> {
        let of = room.clone();
        let ids = answered(|answer| store.change(Change::Delete { room: of, ids, answer })).await?;
        let count = ids.len();
        if count > 0 {
            let home = self.home(shards, &room);
            ask(shards, home, |reply| ApiRequest::Deleted { room, ids, reply }).await?;
        }
        Ok(count)
    }

    /// Deletes messages from the memory of all shards.
    async fn delete_everywhere(&self, shards: &Handle, which: &Doomed) -> Result<DeletedSome, ChatError> {
        let mut deleted = DeletedSome::default();
        for shard in 0..shards.shards() {
            let some = self.delete_on(shards, shard, which).await?;
            deleted.count += some.count;
            deleted.room = some.room.or(deleted.room);
            if deleted.count > 0 && matches!(which, Doomed::Message(..)) {
                break;
            }
        }
        Ok(deleted)
    }

    /// Deletes messages from the memory of a shard.
    async fn delete_on(&self, shards: &Handle, shard: u16, which: &Doomed) -> Result<DeletedSome, ChatError> {
        let (mut from, mut deleted) = (0, DeletedSome::default());
        loop {
            let which = which.clone();
            let some = ask(shards, shard, |reply| ApiRequest::Delete { which, from, reply }).await?;
            deleted.count += some.count;
            deleted.room = some.room.or(deleted.room);
            let Some(next) = some.next else { return Ok(deleted) };
            from = next;
            if some.count > 0 {
                tokio::time::sleep(REST).await;
            }
        }
    }

    /// Ends all sockets of a user; how many there were.
    ///
    /// # Errors
    /// The server is shutting down.
    pub(crate) async fn disconnect(&self, shards: &Handle, user: &str) -> Result<usize, ChatError> {
        self.expel(shards, user, DISCONNECTED).await
    }

    async fn expel(&self, shards: &Handle, user: &str, reason: ChatError) -> Result<usize, ChatError> {
        let (user, mut ended): (Arc<str>, usize) = (user.into(), 0);
        for shard in 0..shards.shards() {
            let user = Arc::clone(&user);
            ended += ask(shards, shard, |reply| ApiRequest::Disconnect { user, reason, reply }).await?;
        }
        Ok(ended)
    }

    /// Bans a user: its sockets end, and no new one is accepted.
    ///
    /// # Errors
    /// The store cannot be written at present, or there are too many bans.
    pub(crate) async fn ban(&self, shards: &Handle, user: &str, reason: Option<&str>) -> Result<Banned, ChatError> {
        let _one_at_a_time = self.ban_changes.lock().await;
        if self.bans.is_full() && !self.bans.holds(user) {
            return Err(ChatError::new(Code::TooManyBans, TOO_MANY_BANS));
        }
        let millis = u64::try_from(wall_clock().as_millis()).unwrap_or(u64::MAX);
        let ban = Ban { user: user.into(), reason: reason.map(Into::into), millis };
        if let Some(store) = &self.store {
            let ban = ban.clone();
            answered(|answer| store.change(Change::Ban { ban, answer })).await?;
        }
        // In this order: who connects meanwhile is either refused or found.
        self.bans.insert(ban.clone());
        let disconnected = self.expel(shards, user, BANNED).await?;
        Ok(Banned { ban, disconnected })
    }

    /// Lifts a ban; whether there was one.
    ///
    /// # Errors
    /// The store cannot be written at present.
    pub(crate) async fn lift_ban(&self, user: &str) -> Result<bool, ChatError> {
        let _one_at_a_time = self.ban_changes.lock().await;
        if let Some(store) = &self.store {
            let user = user.into();
            answered(|answer| store.change(Change::LiftBan { user, answer })).await?;
        }
        Ok(self.bans.remove(user))
    }

    /// The first bans by user id, behind one.
    pub(crate) fn bans(&self, after: Option<&str>, limit: usize) -> PageOf<Ban> {
        let mut items = self.bans.after(after, limit + 1);
        let more = items.len() > limit;
        items.truncate(limit);
        PageOf { items, more }
    }
}

const TOO_MANY_BANS: &str = "there are 100000 bans, and no more fit; lift some that are not needed any more";
const _: () = assert!(MAX_BANS == 100_000);

/// Refuses what no user can be called.
pub(crate) fn check_user(user: &str) -> Result<(), ChatError> {
    if auth::is_id(user) {
        return Ok(());
    }
    Err(ChatError::new(Code::UserInvalid, "a user id must have 1 to 128 bytes, no control characters"))
}

/// The room with this id.
///
/// # Errors
/// No room can be called so.
pub(crate) fn room(id: &str) -> Result<Room, ChatError> {
    request::check_room_id(id)?;
    Ok(Room::new(id))
}

/// Asks a shard.
async fn ask<T>(shards: &Handle, shard: u16, request: impl FnOnce(Replying<T>) -> ApiRequest) -> Result<T, ChatError> {
    let answer = shards.ask(shard, |reply| request(reply).into()).await;
    answer.map_err(|ShardGone(_)| ChatError::later(Code::ServerBusy, "the server is shutting down; try again later"))
}

/// Asks a store.
async fn look_up<T>(store: &dyn Store, lookup: impl FnOnce(Answering<T>) -> Lookup) -> Result<T, ChatError> {
    answered(|answer| store.look_up(lookup(answer))).await
}

/// Waits for the answer of a store.
async fn answered<T>(ask: impl FnOnce(Answering<T>) -> Result<(), StoreError>) -> Result<T, ChatError> {
    let (answer, answered) = oneshot::channel();
    ask(answer).map_err(super::home::refusal)?;
    // Without an answer the store has ended.
    answered.await.unwrap_or(Err(StoreError::Unavailable)).map_err(super::home::refusal)
}
