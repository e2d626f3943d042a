//! [`Member`]: one socket as the chat sees it, and [`Members`]: all of this shard.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use socketio::{SocketId, SocketKey};

use super::question_queue::Questions;
use crate::{
    auth::{Claims, Rooms},
    chat::{recovery::Pid, users::Account},
    config::RoomAccess,
    room::Room,
    store::{Position, SessionId},
};

/// Which rooms a socket's token opens.
#[derive(Debug, Clone)]
pub(super) struct Access {
    /// Any room may be entered.
    any: bool,
    /// The rooms that the token names.
    listed: Box<[String]>,
}

impl Access {
    /// What the claim `rooms` says, or the configuration where there is none.
    pub(super) fn of(claim: Option<&Rooms>, default: RoomAccess) -> Self {
        match claim {
            Some(rooms) => Self { any: rooms.any, listed: rooms.ids.clone().into() },
            None => Self { any: default == RoomAccess::Open, listed: Box::default() },
        }
    }

    /// Whether the room with this id may be entered.
    pub(super) fn allows(&self, room: &str) -> bool {
        self.any || self.listed.iter().any(|listed| listed == room)
    }

    /// Whether it opens no room that `other` does not open.
    fn is_within(&self, other: &Self) -> bool {
        other.any || (!self.any && self.listed_beyond(other).next().is_none())
    }

    /// The rooms that this token names and the other one does not.
    pub(super) fn listed_beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a String> {
        // A token may list tens of thousands.
        let others: HashSet<&String> = other.listed.iter().collect();
        self.listed.iter().filter(move |room| !others.contains(*room))
    }
}

/// How often a socket is told that it sent too many `typing`: a key that is held down repeats them.
const TYPING_REFUSAL: Duration = Duration::from_secs(1);

/// What is kept of a socket that has typed.
#[derive(Debug, Default)]
struct TypingState {
    lasting: Vec<Typing>,
    /// When the socket was last told that it sent too many `typing`.
    refusal_told: Option<Instant>,
}

/// Where a socket's user is typing: in a room, or (without one) in every room of the socket.
#[derive(Debug)]
pub(super) struct Typing {
    pub(super) room: Option<Room>,
    pub(super) until: Instant,
}

/// A room that a socket is in, or is about to be in: its home was asked, and has not answered yet.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) room: Room,
    /// Distinguishes this entry from an earlier one of the same socket, whose answer may still come.
    entry: u32,
    /// The socket gets what comes after this. `None` as long as the home has not answered.
    pub(super) since: Option<Position>,
}

/// The session that a socket belongs to.
#[derive(Debug)]
pub(super) struct MemberSession {
    pub(super) pid: Pid,
    /// The id of the socket, which it keeps when it comes back.
    pub(super) id: SocketId,
    /// Whether the store was told that the session began.
    pub(super) saved: bool,
}

/// What a socket may be told of those who are in the rooms of its token, in bytes: at CONNECT it is to take this at once, beside
/// everything else. Who is left out is answered to `presence`.
pub(super) const SNAPSHOT_BYTES: usize = 64 * 1024;

/// What a `userStatus` takes beside its payload.
const STATUS_COST: usize = 64;

/// See [`Member::snapshot`].
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The last entry that it is about.
    until: u32,
    /// How many entries the homes have not answered.
    awaited: u32,
    told: HashSet<Arc<Account>>,
    bytes: usize,
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: SocketKey,
    pub(super) account: Arc<Account>,
    pub(super) access: Access,
    pub(super) rooms: SmallVec<[Joined; 2]>,
    /// How often it entered a room.
    entries: u32,
    /// Made when first needed: most users only listen.
    typing: Option<Box<TypingState>>,
    pub(super) last_event: Instant,
    /// Its questions to homes that are not answered; most sockets have none.
    pub(super) questions: Option<Box<Questions>>,
    /// Whom it was told of in the rooms that its token brought it into, until it is in all of them.
    pub(super) snapshot: Option<Box<Snapshot>>,
    pub(super) session: Option<MemberSession>,
    /// When the newest of its tokens that say so was issued, as the time since the Unix epoch.
    issued: Option<Duration>,
    /// The latest end of its tokens, as the time since the Unix epoch; [`Duration::MAX`] if one has none.
    latest_end: Duration,
    /// When the token expires, as the time since the Unix epoch, leeway included.
    pub(super) expires: Option<Duration>,
}

impl Member {
    /// A socket without rooms, whose token [`Member::renew`] is still to take.
    pub(super) fn new(key: SocketKey, account: Arc<Account>, now: Instant) -> Self {
        Self {
            key,
            account,
            access: Access { any: false, listed: Box::default() },
            rooms: SmallVec::new(),
            entries: 0,
            typing: None,
            last_event: now,
            questions: None,
            snapshot: None,
            session: None,
            issued: None,
            latest_end: Duration::ZERO,
            expires: None,
        }
    }

    /// Takes a token's claims, which count from now on. `leeway` is how far clocks may differ. Returns the rooms that this token names and
    /// the last one did not.
    pub(super) fn renew(&mut self, claims: &Claims, default: RoomAccess, leeway: Duration) -> Vec<String> {
        self.account.rename(&claims.name);
        let before = std::mem::replace(&mut self.access, Access::of(claims.rooms.as_ref(), default));
        self.expires = claims.exp.map(|exp| exp.saturating_add(leeway));
        self.issued = self.issued.max(claims.iat);
        self.latest_end = self.latest_end.max(claims.exp.unwrap_or(Duration::MAX));
        self.access.listed_beyond(&before).cloned().collect()
    }

    /// Whether a token may bring back rights that a newer one took away: it was issued earlier than one that the socket has shown.
    /// Where one of them does not say when, it may if it ends earlier and opens a room that the one in use does not open. An
    /// application that signs shorter and shorter tokens for the same rooms is not hindered so.
    pub(super) fn may_be_outdated(&self, claims: &Claims, default: RoomAccess) -> bool {
        if let (Some(issued), Some(other)) = (self.issued, claims.iat) {
            return other < issued;
        }
        claims.exp.unwrap_or(Duration::MAX) < self.latest_end
            && !Access::of(claims.rooms.as_ref(), default).is_within(&self.access)
    }

    /// The room with this id, if the socket is in it.
    pub(super) fn joined(&self, room: &str) -> Option<&Room> {
        self.rooms.iter().map(|joined| &joined.room).find(|joined| joined.id() == room)
    }

    /// Notes that the socket enters a room; the number of the entry.
    pub(super) fn enter(&mut self, room: Room) -> u32 {
        self.entries = self.entries.wrapping_add(1);
        self.rooms.push(Joined { room, entry: self.entries, since: None });
        self.entries
    }

    /// The home has answered an entry; `false` when the socket has left since.
    pub(super) fn set_entered(&mut self, room: &Room, entry: u32, since: Position) -> bool {
        let mut rooms = self.rooms.iter_mut();
        let joined = rooms.find(|joined| joined.entry == entry && joined.room == *room);
        joined.is_some_and(|joined| {
            joined.since = Some(since);
            true
        })
    }

    /// The session's id, if the socket belongs to one.
    pub(super) fn session_id(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.pid.session)
    }

    /// From here on the socket enters rooms that its token names.
    pub(super) fn begin_snapshot(&mut self) {
        self.snapshot.get_or_insert_default();
    }

    /// The socket has entered so many rooms that its token names.
    pub(super) fn end_snapshot(&mut self, rooms: u32) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.until = self.entries;
            snapshot.awaited += rooms;
        }
        self.snapshot.take_if(|snapshot| snapshot.awaited == 0);
    }

    /// Whether this entry is one of those that the token brought.
    pub(super) fn is_listed(&self, entry: u32) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| entry <= snapshot.until)
    }

    /// A home has answered an entry. Gives `tell` the users of whom the socket is to be told there, of at most so many bytes.
    pub(super) fn tell_present(
        &mut self,
        entry: u32,
        present: &[Arc<Account>],
        max_bytes: usize,
        mut tell: impl FnMut(String),
    ) {
        let mut own = Snapshot::default();
        let listed = self.snapshot.as_deref_mut().filter(|snapshot| entry <= snapshot.until);
        let snapshot = listed.unwrap_or(&mut own);
        let is_last = snapshot.awaited <= 1;
        let max_bytes = SNAPSHOT_BYTES.min(snapshot.bytes.saturating_add(max_bytes));
        for account in present {
            let status = account.online();
            let bytes = snapshot.bytes + status.len() + STATUS_COST;
            // Most sockets enter one room, and so need no set: the home names everybody once.
            let known = if is_last {
                !snapshot.told.is_empty() && snapshot.told.contains(account)
            } else {
                bytes <= max_bytes && !snapshot.told.insert(Arc::clone(account))
            };
            if bytes > max_bytes || known {
                continue;
            }
            snapshot.bytes = bytes;
            tell(status);
        }
    }

    /// A home has answered an entry, whether the socket is still there or not.
    pub(super) fn count_answered(&mut self, entry: u32) {
        if let Some(snapshot) = self.snapshot.as_deref_mut().filter(|snapshot| entry <= snapshot.until) {
            snapshot.awaited = snapshot.awaited.saturating_sub(1);
        }
        self.snapshot.take_if(|snapshot| snapshot.awaited == 0);
    }

    /// Whether the user types, in this room or (without one) in all.
    pub(super) fn is_typing(&self, room: Option<&Room>, now: Instant) -> bool {
        self.typing().iter().any(|typing| typing.room.as_ref() == room && typing.until > now)
    }

    /// Where the user types.
    pub(super) fn typing(&self) -> &[Typing] {
        self.typing.as_ref().map_or(&[], |typing| &typing.lasting)
    }

    /// Notes that the user types (until then) or does not type any more, in a room or in all.
    pub(super) fn set_typing(&mut self, room: Option<&Room>, until: Option<Instant>) {
        if until.is_none() && self.typing.is_none() {
            return;
        }
        let lasting = &mut self.typing.get_or_insert_default().lasting;
        lasting.retain(|typing| typing.room.as_ref() != room);
        lasting.extend(until.map(|until| Typing { room: room.cloned(), until }));
    }

    /// Ends the typing that `ends` selects, and returns it.
    pub(super) fn end_typing(&mut self, ends: impl Fn(&Typing) -> bool) -> Vec<Typing> {
        let Some(typing) = &mut self.typing else { return Vec::new() };
        let (ended, lasting) = std::mem::take(&mut typing.lasting).into_iter().partition(ends);
        typing.lasting = lasting;
        ended
    }

    /// Whether the socket is to be told that it sent too many `typing`: it was not told within the last second.
    pub(super) fn tell_typing_refusal(&mut self, now: Instant) -> bool {
        let told = &mut self.typing.get_or_insert_default().refusal_told;
        if told.is_some_and(|told| now.duration_since(told) < TYPING_REFUSAL) {
            return false;
        }
        *told = Some(now);
        true
    }
}

/// The sockets of this shard.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// By the socket's index.
    sockets: Vec<Option<Member>>,
    /// By user.
    users: HashMap<Arc<str>, SmallVec<[SocketKey; 1]>>,
}

impl Members {
    /// The socket, if it is connected.
    pub(super) fn get(&self, socket: SocketKey) -> Option<&Member> {
        self.sockets.get(socket.index() as usize)?.as_ref().filter(|member| member.key == socket)
    }

    /// Likewise, to change it.
    pub(super) fn get_mut(&mut self, socket: SocketKey) -> Option<&mut Member> {
        self.sockets.get_mut(socket.index() as usize)?.as_mut().filter(|member| member.key == socket)
    }

    /// The socket that has this index now.
    pub(super) fn at(&self, index: u32) -> Option<SocketKey> {
        self.sockets.get(index as usize)?.as_ref().map(|member| member.key)
    }

    /// This shard's sockets of a user.
    pub(super) fn of_user(&self, id: &str) -> &[SocketKey] {
        self.users.get(id).map_or(&[], |sockets| sockets)
    }

    /// Adds a socket.
    pub(super) fn insert(&mut self, member: Member) {
        self.users.entry(Arc::clone(&member.account.id)).or_default().push(member.key);
        let index = member.key.index() as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.sockets.get_mut(index) {
            *slot = Some(member);
        }
    }

    /// Removes a socket.
    pub(super) fn remove(&mut self, socket: SocketKey) -> Option<Member> {
        let member = self.sockets.get_mut(socket.index() as usize)?.take_if(|member| member.key == socket)?;
        if let Some(sockets) = self.users.get_mut(&member.account.id) {
            sockets.retain(|of| *of != socket);
            if sockets.is_empty() {
                self.users.remove(&member.account.id);
            }
        }
        Some(member)
    }

    /// The keys of all of them.
    pub(super) fn keys(&self) -> impl Iterator<Item = SocketKey> {
        self.sockets.iter().flatten().map(|member| member.key)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.sockets.iter().flatten()
    }

    /// How many users they belong to.
    pub(super) fn users(&self) -> usize {
        self.users.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(any: bool, ids: &[&str]) -> Option<Rooms> {
        Some(Rooms { any, ids: ids.iter().map(|id| (*id).to_owned()).collect() })
    }

    #[test]
    fn the_claim_decides_and_the_configuration_where_there_is_none() {
        for (claim, default, opens) in [
            (None, RoomAccess::Open, [true, true]),
            (None, RoomAccess::None, [false, false]),
            (access(false, &["a"]), RoomAccess::Open, [true, false]),
            (access(false, &[]), RoomAccess::Open, [false, false]),
            (access(true, &["a"]), RoomAccess::None, [true, true]),
        ] {
            let access = Access::of(claim.as_ref(), default);
            assert_eq!(["a", "b"].map(|room| access.allows(room)), opens, "{claim:?}, {default:?}");
        }
    }
}
