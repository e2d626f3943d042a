//! What a client keeps so that it gets its socket back, as official clients do, and which numbered messages it has got.

/// A client's session: the private id of its socket, and the offset of the last message.
#[derive(Debug, Default)]
pub(super) struct Session {
    pid: Option<String>,
    offset: Option<String>,
    /// Whether the last CONNECT brought the same socket back.
    pub(super) is_recovered: bool,
}

impl Session {
    /// The packet that connects with `token`, and claims the session if there is one.
    pub(super) fn connect_packet(&self, token: &str) -> String {
        let member = |name: &str, value: &Option<String>| {
            value.as_ref().map_or_else(String::new, |value| format!("\"{name}\":\"{value}\","))
        };
        let offset = self.pid.as_ref().map_or_else(String::new, |_| member("offset", &self.offset));
        format!("40{{{}{offset}\"token\":\"{token}\"}}", member("pid", &self.pid))
    }

    /// The server has answered the CONNECT.
    pub(super) fn connected(&mut self, answer: &[u8]) {
        let pid = text_after(answer, "\"pid\":\"").map(str::to_owned);
        self.is_recovered = pid.is_some() && pid == self.pid;
        self.pid = pid;
    }

    /// A `message` came; its last argument is the offset, if that is a text.
    pub(super) fn received(&mut self, packet: &[u8]) {
        let args = packet.strip_suffix(b"\"]").filter(|_| self.pid.is_some());
        let offset = args.and_then(|args| args.rsplit(|byte| *byte == b'"').next());
        if let Some(offset) = offset.and_then(|offset| str::from_utf8(offset).ok()) {
            let kept = self.offset.get_or_insert_default();
            kept.clear();
            kept.push_str(offset);
        }
    }
}

/// What stands in a packet between `start` and the next quotation mark. The texts that are looked for have no escapes.
fn text_after<'a>(packet: &'a [u8], start: &str) -> Option<&'a str> {
    let at = packet.windows(start.len()).position(|window| window == start.as_bytes())? + start.len();
    let end = packet.get(at..)?.iter().position(|byte| *byte == b'"')? + at;
    str::from_utf8(packet.get(at..end)?).ok()
}

/// The rooms in which messages are numbered, from 0, each by itself. Their text is [`numbered`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The lobby, where all clients are
    Lobby,
    /// A room of some of them
    Room(usize),
}

impl Place {
    /// The room's id.
    #[must_use]
    pub fn id(self) -> String {
        match self {
            Self::Lobby => "lobby".to_owned(),
            Self::Room(number) => format!("room-{number}"),
        }
    }
}

/// The text of a numbered message.
#[must_use]
pub fn numbered(place: Place, number: u32) -> String {
    format!("{} {number}", place.id())
}

/// Which numbered messages a client has got, of the lobby and of its room.
#[derive(Debug)]
pub(super) struct Received {
    rooms: [String; 2],
    /// What comes next; unknown when the client had to begin anew.
    next: [Option<u32>; 2],
    /// How many came that were not the next one, or were not of its rooms.
    faults: u32,
}

impl Received {
    /// Nothing yet, of the lobby and of this room.
    pub(super) fn new(room: usize) -> Self {
        let rooms = [Place::Lobby, Place::Room(room)].map(Place::id);
        Self { rooms, next: [Some(0); 2], faults: 0 }
    }

    /// The client begins anew: what it missed does not come.
    pub(super) fn begin_anew(&mut self) {
        self.next = [None; 2];
    }

    /// A `message` came.
    pub(super) fn add(&mut self, packet: &[u8]) {
        let found = text_after(packet, "\"message\":\"").and_then(|text| {
            let (room, number) = text.split_once(' ')?;
            let place = self.rooms.iter().position(|of| of == room)?;
            Some((self.next.get_mut(place)?, number.parse::<u32>().ok()?))
        });
        match found {
            Some((next, number)) if next.is_none_or(|next| next == number) => *next = Some(number + 1),
            _ => self.faults += 1,
        }
    }

    /// Whether it is all that was sent to the lobby and to the room, each once and in order.
    pub(super) fn is_all(&self, lobby: u32, room: u32) -> bool {
        self.faults == 0 && self.next == [Some(lobby), Some(room)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_claimed_with_the_last_offset_and_recovered_if_it_is_the_same() {
        let mut session = Session::default();
        assert_eq!(session.connect_packet("t"), r#"40{"token":"t"}"#);
        session.received(br#"42["message",{"message":"a"},"none"]"#);
        session.connected(br#"40{"sid":"s","pid":"1.a"}"#);
        assert_eq!(
            (session.connect_packet("t").as_str(), session.is_recovered),
            (r#"40{"pid":"1.a","token":"t"}"#, false)
        );
        session.received(br#"42["message",{"message":"a"},"10..1"]"#);
        session.received(br#"42["message",{"message":"a"}]"#);
        assert_eq!(session.connect_packet("t"), r#"40{"pid":"1.a","offset":"10..1","token":"t"}"#);
        session.connected(br#"40{"sid":"s","pid":"1.a"}"#);
        assert!(session.is_recovered);
        session.connected(br#"40{"sid":"s","pid":"2.b"}"#);
        assert!(!session.is_recovered);
    }

    #[test]
    fn a_gap_a_repetition_and_another_room_are_faults() {
        let message = |text: &str| format!(r#"42["message",{{"id":"i","message":"{text}"}},"o"]"#);
        let got = |texts: &[&str]| {
            let mut received = Received::new(7);
            texts.iter().for_each(|text| received.add(message(text).as_bytes()));
            received
        };
        assert!(got(&["lobby 0", "room-7 0", "lobby 1"]).is_all(2, 1));
        assert_eq!(numbered(Place::Room(7), 0), "room-7 0");
        for wrong in [&["lobby 0", "lobby 2"][..], &["lobby 0", "lobby 0"], &["room-6 0"], &["lobby x"], &["lobby"]] {
            assert_eq!(got(wrong).faults, 1, "{wrong:?}");
        }
        let mut anew = got(&["lobby 0"]);
        anew.begin_anew();
        anew.add(message("lobby 9").as_bytes());
        assert!(!anew.is_all(10, 0) && anew.faults == 0);
        anew.add(message("room-7 3").as_bytes());
        assert!(anew.is_all(10, 4));
    }
}
