//! Several packets in one HTTP body, as Engine.IO protocol v4 writes them: in text form, separated by 0x1e. Engine.IO
//! protocol v4, "Packet encoding", "Payload".

use std::iter::FusedIterator;

use super::error::{DecodeError, MAX_IDLE_PACKETS};
use crate::packet::{self, Inbound};

/// The byte between two packets: U+001E, record separator.
pub const SEPARATOR: u8 = 0x1e;

/// Decodes the body of a POST: checks it as a whole, then returns its packets one by one.
///
/// # Errors
/// When the body is not UTF-8, or has more than [`super::MAX_IDLE_PACKETS`] packets that have no effect. An empty body
/// is one empty packet, so its error comes with the first packet.
pub fn decode(body: &[u8]) -> Result<Packets<'_>, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|_| DecodeError::Utf8)?;
    if idle_packets(text).nth(MAX_IDLE_PACKETS).is_some() {
        return Err(DecodeError::TooManyIdlePackets);
    }
    Ok(Packets::resume(text))
}

fn idle_packets(text: &str) -> impl Iterator<Item = &str> {
    text.split(char::from(SEPARATOR)).filter(|packet| packet.starts_with(['0', '3', '5', '6']))
}

/// The packets of one payload, in order. Ends after the first faulty packet (the packets before it have been returned),
/// and after a close packet, since nothing after it counts.
///
/// A caller that stops early continues later with [`remainder`](Self::remainder) and [`resume`](Self::resume).
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    /// What follows the last separator read. `Some("")` is an empty packet still to come, `None` the end.
    rest: Option<&'a str>,
}

impl<'a> Packets<'a> {
    /// Continues with what an earlier iteration left over. [`decode`] has checked that text; nothing is checked twice.
    #[must_use]
    pub const fn resume(remainder: &'a str) -> Self {
        Self { rest: Some(remainder) }
    }

    /// What has not been decoded yet, or `None` at the end. It is always the end of the body, so its length tells the
    /// offset.
    #[must_use]
    pub const fn remainder(&self) -> Option<&'a str> {
        self.rest
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Inbound<'a>, packet::DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let (text, tail) = match rest.split_once(char::from(SEPARATOR)) {
            Some((text, tail)) => (text, Some(tail)),
            None => (rest, None),
        };
        let packet = packet::decode(text);
        if !matches!(packet, Err(_) | Ok(Inbound::Close)) {
            self.rest = tail;
        }
        Some(packet)
    }
}

impl FusedIterator for Packets<'_> {}

/// Builds the body that answers a poll, from packets already in text form.
#[derive(Debug)]
pub struct Encoder {
    body: Vec<u8>,
    max: usize,
    empty: bool,
}

impl Encoder {
    /// Builds a body of at most `max` bytes. Only a single packet may be longer.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { body: Vec::new(), max, empty: true }
    }

    /// Appends one packet. `false` means that the packet would push the body over its limit: nothing was written, and
    /// the packet begins the next body. The first packet is always accepted, or a long one could never leave.
    #[must_use]
    pub fn push(&mut self, packet: &[u8]) -> bool {
        if self.empty {
            self.empty = false;
            self.body.extend_from_slice(packet);
            return true;
        }
        let len = self.body.len().checked_add(1).and_then(|len| len.checked_add(packet.len()));
        if len.is_none_or(|len| len > self.max) {
            return false;
        }
        self.body.push(SEPARATOR);
        self.body.extend_from_slice(packet);
        true
    }

    /// Whether no packet has been appended yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.empty
    }

    /// The finished body.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Message, Outbound};
    use proptest::prelude::*;
    use std::borrow::Cow;

    fn text(data: &'static str) -> Result<Inbound<'static>, packet::DecodeError> {
        Ok(Inbound::Message(Message::Text(Cow::Borrowed(data))))
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "the rows of a table")]
    fn reads_a_body_up_to_its_first_fault() {
        const EMPTY: Result<Inbound<'static>, packet::DecodeError> = Err(packet::DecodeError::Empty);
        const UNKNOWN: Result<Inbound<'static>, packet::DecodeError> = Err(packet::DecodeError::UnknownType);
        const BASE64: Result<Inbound<'static>, packet::DecodeError> = Err(packet::DecodeError::Base64);
        let table: &[(&[u8], Vec<Result<Inbound<'static>, packet::DecodeError>>)] = &[
            (b"4a", vec![text("a")]),
            (b"4a\x1e4b\x1e3", vec![text("a"), text("b"), Ok(Inbound::Pong(""))]),
            (b"4a\x1ebAQ==\x1e2", vec![text("a"), Ok(packet::binary(&[1])), Ok(Inbound::Ping(""))]),
            (b"451-[\"x\"]\x1eb\x1e4", vec![text("51-[\"x\"]"), Ok(packet::binary(&[])), text("")]),
            (b"", vec![EMPTY]),
            (b"\x1e", vec![EMPTY]),
            (b"\x1e\x1e\x1e", vec![EMPTY]),
            (b"4a\x1e", vec![text("a"), EMPTY]),
            (b"4a\x1e\x1e4b", vec![text("a"), EMPTY]),
            (b"9", vec![UNKNOWN]),
            (b"7abc\x1e4a", vec![UNKNOWN]),
            (b"4a\x1e9\x1e4b", vec![text("a"), UNKNOWN]),
            (b"b!!!!", vec![BASE64]),
            (b"1\x1e42[\"a\"]", vec![Ok(Inbound::Close)]),
            (b"2:40", vec![Ok(Inbound::Ping(":40"))]),
        ];
        for (body, expected) in table {
            let mut packets = decode(body).unwrap();
            assert_eq!(packets.by_ref().collect::<Vec<_>>(), *expected, "{body:?}");
            assert_eq!(packets.remainder(), None);
        }
    }

    #[test]
    fn refuses_a_body_that_is_not_utf8() {
        for body in [&b"4\xff\xfe"[..], b"4a\x1e4\xed\xa0\x80", b"4\xe2\x82", b"\x80"] {
            assert_eq!(decode(body).err(), Some(DecodeError::Utf8), "{body:?}");
        }
    }

    #[test]
    fn refuses_a_flood_of_packets_without_effect() {
        for idle in ["0", "3", "5", "6", "3probe"] {
            let body = |n: usize| vec![idle; n].join("\x1e");
            assert_eq!(decode(body(MAX_IDLE_PACKETS).as_bytes()).unwrap().count(), MAX_IDLE_PACKETS);
            let flood = body(MAX_IDLE_PACKETS + 1);
            assert_eq!(decode(flood.as_bytes()).err(), Some(DecodeError::TooManyIdlePackets), "{idle}");
        }
        let messages = vec!["43"; 20_000].join("\x1e");
        assert_eq!(decode(messages.as_bytes()).unwrap().count(), 20_000, "messages are handled, however many");
    }

    #[test]
    fn continues_where_it_stopped() {
        let body = (0..200).map(|n| format!("4{n}")).collect::<Vec<_>>().join("\x1e");
        let mut given = Vec::new();
        let mut packets = decode(body.as_bytes()).unwrap();
        let mut turns = 0;
        loop {
            given.extend(packets.by_ref().take(64));
            turns += 1;
            let Some(remainder) = packets.remainder() else { break };
            assert!(body.ends_with(remainder));
            packets = Packets::resume(remainder);
        }
        assert_eq!(turns, 4);
        assert_eq!(given, decode(body.as_bytes()).unwrap().collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_packet_at_the_end_of_a_turn_is_not_lost() {
        let mut packets = decode(b"4a\x1e").unwrap();
        assert_eq!(packets.next(), Some(text("a")));
        assert_eq!(packets.remainder(), Some(""));
        assert_eq!(Packets::resume("").next(), Some(Err(packet::DecodeError::Empty)));
    }

    #[test]
    fn the_encoder_keeps_to_its_limit() {
        let mut encoder = Encoder::new(7);
        assert!(encoder.is_empty());
        assert!(encoder.push(b"4ab"));
        assert!(!encoder.is_empty());
        assert!(!encoder.push(b"4abc"));
        assert!(encoder.push(b"4cd"));
        assert!(!encoder.push(b""));
        assert_eq!(encoder.finish(), b"4ab\x1e4cd");

        let mut encoder = Encoder::new(2);
        assert!(encoder.push(b"4longer"), "the first is always taken");
        assert!(!encoder.push(b"6"));
        assert_eq!(encoder.finish(), b"4longer");
    }

    proptest! {
        #[test]
        fn encoded_messages_are_decoded(messages in proptest::collection::vec("[^\x1e]*", 1..20)) {
            let mut encoder = Encoder::new(usize::MAX);
            for message in &messages {
                let mut packet = Vec::new();
                Outbound::Message(Message::Text(Cow::Borrowed(message))).encode(&mut packet);
                prop_assert!(encoder.push(&packet));
            }
            let body = encoder.finish();
            let decoded: Vec<_> = decode(&body).unwrap().collect();
            let expected: Vec<_> = messages.iter()
                .map(|message| Ok(Inbound::Message(Message::Text(Cow::Borrowed(message.as_str())))))
                .collect();
            prop_assert_eq!(decoded, expected);
        }

        #[test]
        fn no_body_panics_and_every_iteration_ends(
            body in proptest::collection::vec(prop_oneof![Just(SEPARATOR), b'0'..=b'7', any::<u8>()], 0..200),
        ) {
            if let Ok(packets) = decode(&body) {
                let packets: Vec<_> = packets.collect();
                prop_assert!(packets.len() <= body.len() + 1);
                prop_assert!(packets.iter().rev().skip(1).all(Result::is_ok));
            }
        }
    }
}
