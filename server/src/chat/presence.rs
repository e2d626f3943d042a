//! `presence` and `userStatus`: who is online, on request and told to the other users of a room.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use socketio::{AckId, Args, Io, SocketKey};

use super::{Chat, Reply, error::ChatError, request, room_name};

/// The most users that `presence` names.
const USERS: usize = 1000;

impl Chat {
    pub(super) fn on_presence(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
        ack: Option<AckId>,
    ) -> Result<Reply, ChatError> {
        let room = self.readable(socket, request::presence(args)?)?;
        if ack.is_none() {
            // The list costs far more than the request, and without an answer nothing would slow the client down.
            return Ok(Reply::default());
        }
        let name = room_name(&room);
        let users: Vec<String> = self.users_in(io, &name).take(USERS).filter_map(|user| self.online(user)).collect();
        Ok(Reply::from(format!(r#","users":[{}],"total":{}"#, users.join(","), self.users(&room))))
    }

    /// The users with a socket in a room (by its [`room_name`]), each once. Many rooms are larger than what is asked for,
    /// so this walks no further than it is taken.
    fn users_in<'a>(&'a self, io: &'a Io<'_>, name: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        let mut seen = HashSet::new();
        io.members("/", name)
            .filter_map(|socket| self.members.get(socket.index() as usize)?.as_ref())
            .map(|member| &member.user)
            .filter(move |user| seen.insert(*user))
    }

    /// Whether a room is small enough for presence: it costs a packet for each pair of members.
    pub(super) fn announces(&self, io: &Io<'_>, room: &str) -> bool {
        io.members("/", &room_name(room)).len() <= self.config.presence.max_room
    }

    /// Tells a socket that entered a room who is there, and (`announce`) the others of its user.
    pub(super) fn welcome(&mut self, io: &mut Io<'_>, socket: SocketKey, room: &Arc<str>, announce: bool) {
        if !self.announces(io, room) {
            return;
        }
        let Some(newcomer) = self.member(socket).map(|member| Arc::clone(&member.user)) else { return };
        // Whoever comes back without having left is not announced again: the newcomer must know of them too.
        let away = self.occupancy.get(room).into_iter().flat_map(|occupancy| &occupancy.away);
        let name = room_name(room);
        let others = self.users_in(io, &name).chain(away).filter(|user| **user != newcomer);
        let statuses = others.take(self.config.presence.snapshot).filter_map(|user| self.online(user));
        for status in statuses.collect::<Vec<_>>() {
            // A newcomer that is gone already needs no snapshot.
            let _ = io.emit(socket, "userStatus", &status, &[]);
        }
        if announce && let Some(status) = self.online(&newcomer) {
            self.tell(io, &newcomer, std::slice::from_ref(room), "userStatus", &status);
        }
    }

    fn online(&self, user: &str) -> Option<String> {
        let fields = &self.users.get(user)?.fields;
        Some(format!(r#"{{{fields},"isOnline":true}}"#))
    }

    /// Ends a user who has been without a socket for the grace.
    pub(super) fn check_grace(&mut self, io: &mut Io<'_>, id: &Arc<str>) {
        let Some(user) = self.users.get_mut(id) else { return };
        user.watched = false;
        let Some(since) = user.gone else { return };
        let away = io.now().duration_since(since);
        if away < self.config.presence.grace {
            // It came back, and went again.
            user.watched = true;
            self.grace.push(since + self.config.presence.grace, Arc::clone(id));
            return;
        }
        let Some(user) = self.users.remove(id) else { return };
        let seen = SystemTime::now().checked_sub(away).unwrap_or_else(SystemTime::now);
        let status =
            format!(r#"{{{},"isOnline":false,"lastSeen":"{}"}}"#, user.fields, humantime::format_rfc3339_millis(seen));
        let mut rooms: Vec<_> = user.taken_for_online().collect();
        for room in &rooms {
            self.occupy(room, |occupancy| {
                occupancy.away.remove(id);
            });
        }
        rooms.retain(|room| self.announces(io, room));
        self.tell(io, id, &rooms, "userStatus", &status);
    }

    /// Sends an event to the rooms' sockets, each once, but not to the user's own.
    pub(super) fn tell(&self, io: &mut Io<'_>, user: &str, rooms: &[Arc<str>], event: &str, payload: &str) {
        if rooms.is_empty() {
            return;
        }
        let mut broadcast = io.of("/");
        for room in rooms {
            broadcast = broadcast.to(&room_name(room));
        }
        for socket in self.users.get(user).into_iter().flat_map(|user| &user.sockets) {
            broadcast = broadcast.except_socket(*socket);
        }
        // Only a reserved name is an error, and these are none.
        let _ = broadcast.emit(event, payload, &[]);
    }
}
