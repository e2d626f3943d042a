//! Rooms, and how packets get to their members and to single sessions.

use std::mem;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::conn::{Conn, Frames};
use crate::http;
use crate::server::{Mode, Server};
use crate::ws;

/// The room every socket is in.
pub(crate) const LOBBY: &str = "lobby";

/// A room, and what was said in it since it was last written out: encoded once, for all members.
#[derive(Debug, Default)]
pub(crate) struct Room {
    id: Box<str>,
    members: Vec<u32>,
    /// How many of them poll.
    pollers: usize,
    /// As WebSocket frames.
    frames: Vec<u8>,
    /// As a long-polling payload; left empty while nobody polls.
    payload: Vec<u8>,
}

impl Room {
    /// Adds a packet with its attachments.
    fn gather(&mut self, packet: &[u8], attachments: &[&[u8]]) {
        ws::push_frame(&mut self.frames, ws::TEXT, packet);
        for attachment in attachments {
            ws::push_frame(&mut self.frames, ws::BINARY, attachment);
        }
        if self.pollers > 0 {
            http::push_packet(&mut self.payload, packet);
            for attachment in attachments {
                let mut encoded = String::from("b");
                BASE64_STANDARD.encode_string(attachment, &mut encoded);
                http::push_packet(&mut self.payload, encoded.as_bytes());
            }
        }
    }
}

impl Server {
    /// The room `id`, made if there is none.
    pub(crate) fn room(&mut self, id: &str) -> usize {
        if let Some(&room) = self.room_ids.get(id) {
            return room;
        }
        let room = self.rooms.insert(Room { id: id.into(), ..Room::default() });
        self.room_ids.insert(id.into(), room);
        room
    }

    /// Makes `session` a member if it is none. Returns how many there are.
    pub(crate) fn join(&mut self, session: usize, room: usize) -> usize {
        // A newcomer gets nothing that was said before.
        self.flush_room(room);
        let (Some(joining), Some(joined)) = (self.sessions.get_mut(session), self.rooms.get_mut(room)) else {
            return 0;
        };
        if !joining.rooms.contains(&(room as u32)) {
            joining.rooms.push(room as u32);
            joined.members.push(session as u32);
            joined.pollers += usize::from(joining.polling.is_some());
        }
        joined.members.len()
    }

    /// Ends a membership, and the room with its last.
    pub(crate) fn leave(&mut self, session: usize, room: usize, polls: bool) {
        let Some(left) = self.rooms.get_mut(room) else { return };
        if let Some(place) = left.members.iter().position(|&member| member as usize == session) {
            left.members.swap_remove(place);
            left.pollers -= usize::from(polls);
        }
        if left.members.is_empty() && &*left.id != LOBBY {
            self.room_ids.remove(&left.id);
            self.rooms.remove(room);
        }
    }

    /// Sends `packet` to all members of `room`: now, or with all else the turn brings for it.
    pub(crate) fn broadcast(&mut self, room: usize, packet: &[u8], attachments: &[&[u8]]) {
        let Some(to) = self.rooms.get_mut(room) else { return };
        if to.frames.is_empty() {
            self.dirty_rooms.push(room);
        }
        to.gather(packet, attachments);
        if self.config.mode == Mode::Write {
            self.flush_room(room);
            self.dirty_rooms.pop();
        }
    }

    /// Writes what was gathered for `room`.
    fn flush_room(&mut self, room: usize) {
        let Some(to) = self.rooms.get_mut(room).filter(|room| !room.frames.is_empty()) else { return };
        let (members, mut bytes, mut payload) =
            (mem::take(&mut to.members), mem::take(&mut to.frames), mem::take(&mut to.payload));
        let mut response = mem::take(&mut self.response);
        response.clear();
        if !payload.is_empty() {
            http::push_response(&mut response, &payload);
        }
        let (mut frames, mut response_frames) = (Frames::new(&bytes), Frames::new(&response));
        for &member in &members {
            let member = member as usize;
            let Some(session) = self.sessions.get_mut(member) else { continue };
            let sent = match &mut session.polling {
                Some(polling) => polling.deliver(&payload, &mut response_frames, &mut self.conns),
                None => self.conns.get_mut(session.conn).map_or(Ok(()), |conn| {
                    let sent = conn.send(&mut frames);
                    recycle(conn, &mut self.spare);
                    sent
                }),
            };
            if sent.is_err() {
                self.kill(member);
            }
        }
        bytes.clear();
        payload.clear();
        self.response = response;
        if let Some(to) = self.rooms.get_mut(room) {
            (to.members, to.frames, to.payload) = (members, bytes, payload);
        }
    }

    /// Sends `packet` to one session: now, or with all else the turn brings for it.
    pub(crate) fn send(&mut self, session: usize, packet: &[u8]) {
        let Some(to) = self.sessions.get_mut(session) else { return };
        match &mut to.polling {
            Some(polling) => {
                if polling.push(packet).is_err() {
                    return self.kill(session);
                }
                self.dirty.push(session);
            }
            None => return self.control(session, ws::TEXT, packet),
        }
        if self.config.mode == Mode::Write {
            self.dirty.pop();
            self.flush(session);
        }
    }

    /// Sends one frame to a session that is a WebSocket.
    pub(crate) fn control(&mut self, session: usize, first: u8, payload: &[u8]) {
        let Some(conn) = self.sessions.get(session).and_then(|session| self.conns.get_mut(session.conn)) else {
            return;
        };
        if conn.pending.is_empty() {
            if let Some(buffer) = self.spare.pop() {
                conn.pending = buffer;
            }
            self.dirty.push(session);
        }
        ws::push_frame(&mut conn.pending, first, payload);
        if self.config.mode == Mode::Write {
            self.dirty.pop();
            self.flush(session);
        }
    }

    /// Writes what `session` alone is sent.
    pub(crate) fn flush(&mut self, session: usize) {
        let Some(to) = self.sessions.get_mut(session) else { return };
        let sent = match &mut to.polling {
            Some(polling) => polling.respond(&mut self.response, &mut self.conns),
            None => match self.conns.get_mut(to.conn) {
                Some(conn) if !conn.pending.is_empty() => {
                    let sent = conn.send(&mut Frames::new(&[]));
                    recycle(conn, &mut self.spare);
                    sent
                }
                _ => Ok(()),
            },
        };
        if sent.is_err() {
            self.kill(session);
        }
    }

    /// Ends the turn: writes everything gathered in it.
    pub(crate) fn flush_all(&mut self) {
        while let Some(room) = self.dirty_rooms.pop() {
            self.flush_room(room);
        }
        while let Some(session) = self.dirty.pop() {
            self.flush(session);
        }
    }
}

/// Takes back the buffer of what was pending: an idle connection holds none.
fn recycle(conn: &mut Conn, spare: &mut Vec<Vec<u8>>) {
    if conn.pending.capacity() > 0 {
        let mut buffer = mem::take(&mut conn.pending);
        buffer.clear();
        spare.push(buffer);
    }
}
