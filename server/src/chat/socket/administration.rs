//! What the HTTP API does to users: it disconnects them, and bans them.

use socketio::{Io, SocketKey};

use super::{session::expel, sockets::Sockets};
use crate::chat::error::{ChatError, Code};

/// What a banned user is told.
pub(in crate::chat) const BANNED: ChatError = ChatError::new(Code::Banned, "this user is banned");

impl Sockets {
    /// Ends the sockets that a user has on this shard, each with this reason; how many there were.
    pub(in crate::chat) fn expel_user(&mut self, io: &mut Io<'_>, user: &str, reason: ChatError) -> usize {
        let sockets = self.members.of_user(user).to_vec();
        for socket in &sockets {
            expel(io, *socket, reason);
        }
        sockets.len()
    }

    /// Ends a socket that has just connected if its user was banned since the token was checked.
    pub(super) fn expel_if_banned(&self, io: &mut Io<'_>, socket: SocketKey) {
        if self.members.get(socket).is_some_and(|member| self.bans.holds(&member.account.id)) {
            expel(io, socket, BANNED);
        }
    }
}
