//! The decoder against scripts of frames and hostile bytes, cut at every position.

mod deflate;

use std::borrow::Cow;
use std::io::{self, Read, Write};

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, error};

use super::header::Opcode;
use super::{Decoder, Item, MAX_FRAGMENTS, ProtocolError, close, header};

const KEY: [u8; 4] = [0xa1, 0x00, 0xff, 0x37];
const MAX: usize = 1_000;

/// A frame as a client sends it: `first` is FIN, RSV and opcode; the length has its shortest form.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header::encode(Opcode::Text, payload.len()).to_vec();
    bytes[0] = first;
    bytes[1] |= 0x80;
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn frames(frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect()
}

fn owned(item: Item<'_>) -> Item<'static> {
    match item {
        Item::Text(text) => Item::Text(Cow::Owned(text.into_owned())),
        Item::Binary(bytes) => Item::Binary(Cow::Owned(bytes.into_owned())),
        Item::Ping(bytes) => Item::Ping(Cow::Owned(bytes.into_owned())),
        Item::Pong => Item::Pong,
        Item::Close(close) => Item::Close(close.map(|(code, reason)| (code, Cow::Owned(reason.into_owned())))),
    }
}

/// Feeds the pieces one by one; checks after each what the decoder promises about its memory.
fn feed<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Item<'static>>, Option<ProtocolError>) {
    let mut items = Vec::new();
    let mut fed = decoder.buffered();
    for piece in pieces {
        fed += piece.len();
        let mut bytes = piece.to_vec();
        let mut input = bytes.as_mut_slice();
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(item)) => items.push(owned(item)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.buffered(), 0);
                    assert_eq!(decoder.decode(&mut input), Ok(None), "nothing comes after an error");
                    assert!(input.is_empty());
                    return (items, Some(error));
                }
            }
        }
        assert!(input.is_empty(), "all input is consumed");
        assert!(decoder.buffered() <= 2 * fed + 256, "{} for {fed} bytes", decoder.buffered());
    }
    (items, None)
}

fn whole(bytes: &[u8]) -> (Vec<Item<'static>>, Option<ProtocolError>) {
    feed(&mut Decoder::new(MAX), [bytes])
}

fn byte_by_byte(bytes: &[u8]) -> (Vec<Item<'static>>, Option<ProtocolError>) {
    feed(&mut Decoder::new(MAX), bytes.chunks(1))
}

fn text(text: &str) -> Item<'static> {
    Item::Text(Cow::Owned(text.to_owned()))
}

fn binary(bytes: &[u8]) -> Item<'static> {
    Item::Binary(Cow::Owned(bytes.to_owned()))
}

fn ping(bytes: &[u8]) -> Item<'static> {
    Item::Ping(Cow::Owned(bytes.to_owned()))
}

fn close_with(code: u16, reason: &str) -> Item<'static> {
    Item::Close(Some((code, Cow::Owned(reason.to_owned()))))
}

#[test]
fn an_idle_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 24);
    assert_eq!(Decoder::new(MAX).buffered(), 0);
}

#[test]
#[expect(clippy::type_complexity, reason = "the rows of a table")]
fn decodes_legal_streams_however_they_are_cut() {
    let longest = [b'x'; MAX];
    let table: &[(&[(u8, &[u8])], Vec<Item<'static>>)] = &[
        (&[], vec![]),
        (&[(0x81, b"4hello")], vec![text("4hello")]),
        (&[(0x81, b""), (0x82, b""), (0x82, b"\0\xff")], vec![text(""), binary(b""), binary(b"\0\xff")]),
        (&[(0x81, &longest), (0x82, &longest)], vec![text(&"x".repeat(MAX)), binary(&longest)]),
        (&[(0x01, b"a"), (0x00, b"b"), (0x80, b"c"), (0x81, b"d")], vec![text("abc"), text("d")]),
        (&[(0x02, b""), (0x00, b""), (0x80, b"")], vec![binary(b"")]),
        (&[(0x01, b""), (0x80, b"")], vec![text("")]),
        (&[(0x01, b"\xe2"), (0x00, b"\x82"), (0x00, b""), (0x80, b"\xac")], vec![text("€")]),
        (&[(0x01, &longest[..600]), (0x80, &longest[600..])], vec![text(&"x".repeat(MAX))]),
        (
            &[(0x01, b"a"), (0x89, b"p"), (0x00, b"b"), (0x8a, b"q"), (0x89, b""), (0x80, b"c")],
            vec![ping(b"p"), Item::Pong, ping(b""), text("abc")],
        ),
        (&[(0x89, &longest[..125]), (0x8a, &longest[..125])], vec![ping(&longest[..125]), Item::Pong]),
        (&[(0x88, b"")], vec![Item::Close(None)]),
        (&[(0x88, b"\x03\xe8bye")], vec![close_with(1000, "bye")]),
        (&[(0x02, b"lost"), (0x88, b"\x0f\xa0"), (0x80, b"")], vec![close_with(4000, "")]),
        (&[(0x88, b""), (0x81, b"after"), (0xff, b"")], vec![Item::Close(None)]),
    ];
    for (script, expected) in table {
        let bytes = frames(script);
        assert_eq!(whole(&bytes), (expected.clone(), None), "{script:x?}");
        assert_eq!(byte_by_byte(&bytes), (expected.clone(), None), "{script:x?}");
        for cut in 0..bytes.len() {
            let (start, end) = bytes.split_at(cut);
            let mut decoder = Decoder::new(MAX);
            assert_eq!(feed(&mut decoder, [start, end]), (expected.clone(), None), "{script:x?} cut at {cut}");
            assert_eq!(decoder.buffered(), 0, "nothing is kept between messages");
        }
    }
}

#[test]
fn borrows_what_lies_whole_in_the_input() {
    let mut bytes = frames(&[(0x81, b"4hello"), (0x82, b"bin"), (0x89, b"p"), (0x88, b"\x03\xe8bye")]);
    let mut input = bytes.as_mut_slice();
    let mut decoder = Decoder::new(MAX);
    assert!(matches!(decoder.decode(&mut input), Ok(Some(Item::Text(Cow::Borrowed("4hello"))))));
    assert!(matches!(decoder.decode(&mut input), Ok(Some(Item::Binary(Cow::Borrowed(b"bin"))))));
    assert!(matches!(decoder.decode(&mut input), Ok(Some(Item::Ping(Cow::Borrowed(b"p"))))));
    assert!(matches!(decoder.decode(&mut input), Ok(Some(Item::Close(Some((1000, Cow::Borrowed("bye"))))))));
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn borrows_a_payload_whose_header_was_cut() {
    let mut bytes = frame(0x82, b"payload");
    let (mut start, mut rest) = bytes.split_at_mut(3);
    let mut decoder = Decoder::new(MAX);
    assert_eq!(decoder.decode(&mut start), Ok(None));
    assert!(matches!(decoder.decode(&mut rest), Ok(Some(Item::Binary(Cow::Borrowed(b"payload"))))));
    assert_eq!(decoder.buffered(), 0);
}

#[test]
#[expect(clippy::type_complexity, reason = "the rows of a table")]
fn refuses_illegal_streams_after_what_was_legal() {
    use ProtocolError as E;
    let long = [b'x'; MAX + 1];
    let table: &[(&[(u8, &[u8])], E, u16)] = &[
        (&[(0xc1, b"a")], E::ReservedBits, 1002),
        (&[(0xa1, b"a")], E::ReservedBits, 1002),
        (&[(0x91, b"a")], E::ReservedBits, 1002),
        (&[(0x83, b"")], E::ReservedOpcode, 1002),
        (&[(0x8b, b"")], E::ReservedOpcode, 1002),
        (&[(0x09, b"a"), (0x80, b"")], E::FragmentedControl, 1002),
        (&[(0x89, &long[..126])], E::ControlTooLong, 1002),
        (&[(0x88, &long[..126])], E::ControlTooLong, 1002),
        (&[(0x80, b"a")], E::UnexpectedContinuation, 1002),
        (&[(0x00, b"a")], E::UnexpectedContinuation, 1002),
        (&[(0x01, b"a"), (0x80, b"b"), (0x80, b"c")], E::UnexpectedContinuation, 1002),
        (&[(0x01, b"a"), (0x81, b"b")], E::ExpectedContinuation, 1002),
        (&[(0x02, b""), (0x01, b"b")], E::ExpectedContinuation, 1002),
        // Also too long: the same error wherever the header is cut.
        (&[(0x80, &long)], E::UnexpectedContinuation, 1002),
        (&[(0x01, b"a"), (0x81, &long)], E::ExpectedContinuation, 1002),
        (&[(0x88, b"\x03")], E::TruncatedCloseCode, 1002),
        (&[(0x88, &0_u16.to_be_bytes())], E::InvalidCloseCode, 1002),
        (&[(0x88, &999_u16.to_be_bytes())], E::InvalidCloseCode, 1002),
        (&[(0x88, &1004_u16.to_be_bytes())], E::InvalidCloseCode, 1002),
        (&[(0x88, &1005_u16.to_be_bytes())], E::InvalidCloseCode, 1002),
        (&[(0x88, &1006_u16.to_be_bytes())], E::InvalidCloseCode, 1002),
        (&[(0x88, &1015_u16.to_be_bytes())], E::InvalidCloseCode, 1002),
        (&[(0x88, &5000_u16.to_be_bytes())], E::InvalidCloseCode, 1002),
        (&[(0x88, b"\x03\xe8\xff")], E::InvalidUtf8, 1007),
        (&[(0x81, b"\xed\xa0\x80")], E::InvalidUtf8, 1007),
        (&[(0x81, b"a\xe2\x82")], E::InvalidUtf8, 1007),
        (&[(0x01, b"\xe2"), (0x80, b"\x82")], E::InvalidUtf8, 1007),
        (&[(0x01, b"\xf4"), (0x00, b"\x90")], E::InvalidUtf8, 1007),
        (&[(0x01, b"\xff")], E::InvalidUtf8, 1007),
        (&[(0x81, &long)], E::MessageTooBig, 1009),
        (&[(0x82, &long)], E::MessageTooBig, 1009),
        (&[(0x02, &long[..MAX]), (0x00, b"1")], E::MessageTooBig, 1009),
        (&[(0x01, &long[..600]), (0x89, b""), (0x80, &long[..401])], E::MessageTooBig, 1009),
    ];
    for (script, error, code) in table {
        let bytes = [frame(0x81, b"before"), frames(script), frame(0x81, b"after")].concat();
        for (items, outcome) in [whole(&bytes), byte_by_byte(&bytes)] {
            assert_eq!(outcome, Some(*error), "{script:x?}");
            assert_eq!(items[0], text("before"));
            assert!(!items.contains(&text("after")));
        }
        assert_eq!(error.close_code(), *code);
    }
    let unmasked = whole(b"\x81\x05Hello");
    assert_eq!(unmasked, (vec![], Some(E::Unmasked)));
}

#[test]
fn fails_fast_on_text_within_a_frame_that_has_not_ended() {
    let bytes = frame(0x81, "κόσμε\u{d7ff}xxxxxxxxxxxx".as_bytes());
    let mut broken = frame(0x81, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited");
    broken.truncate(6 + 12);
    assert_eq!(byte_by_byte(&broken), (vec![], None), "ED may still become a character");
    broken.push(0xa0 ^ KEY[12 % 4]);
    assert_eq!(byte_by_byte(&broken), (vec![], Some(ProtocolError::InvalidUtf8)));
    assert_eq!(byte_by_byte(&bytes).1, None);
}

#[test]
fn refuses_a_length_at_the_header_and_never_allocates_it() {
    use ProtocolError as E;
    let table: &[(&[u8], E)] = &[
        (b"\x82\xff\x40\0\0\0\0\0\0\0", E::MessageTooBig),
        (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", E::MessageTooBig),
        (b"\x82\xff\0\0\0\0\x40\0\0\0", E::MessageTooBig),
        (b"\x81\xfe\x03\xe9", E::MessageTooBig),
        (b"\x80\xfe\x03\xe9", E::UnexpectedContinuation),
        (b"\x82\xff\x80\0\0\0\0\0\0\x01", E::LengthOverflow),
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", E::LengthOverflow),
    ];
    for (bytes, error) in table {
        assert_eq!(whole(bytes), (vec![], Some(*error)), "{bytes:02x?}");
        assert_eq!(byte_by_byte(bytes), (vec![], Some(*error)), "{bytes:02x?}");
    }

    // Two fragments whose sum does not even fit 63 bits.
    let mut decoder = Decoder::new(i64::MAX as usize);
    let huge = [&frame(0x02, b"ab")[..], b"\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff"].concat();
    assert_eq!(feed(&mut decoder, [&huge[..]]), (vec![], Some(E::MessageTooBig)));

    // A declared length within the limit reserves nothing either.
    let mut decoder = Decoder::new(100 << 20);
    let declared = [&b"\x82\xff\0\0\0\0\x06\0\0\0"[..], &KEY, b"abc"].concat();
    assert_eq!(feed(&mut decoder, [&declared[..]]), (vec![], None));
    assert!(decoder.buffered() < 512);
}

#[test]
fn gathers_a_message_of_many_fragments_in_one_buffer() {
    let mut decoder = Decoder::new(1 << 20);
    let bytes = [frame(0x02, b"a"), frame(0x00, b"a").repeat(131_000)].concat();
    assert_eq!(feed(&mut decoder, bytes.chunks(4_000)), (vec![], None));
    assert!(decoder.buffered() <= 2 * 131_001 + 256, "{}", decoder.buffered());
    let (items, error) = feed(&mut decoder, [&frame(0x80, b"")[..]]);
    assert_eq!((items, error), (vec![binary(&vec![b'a'; 131_001])], None));
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn bounds_the_number_of_fragments_even_of_empty_ones() {
    let limit = usize::try_from(MAX_FRAGMENTS).unwrap();
    let mut decoder = Decoder::new(MAX);
    assert_eq!(feed(&mut decoder, [&frame(0x01, b"")[..]]), (vec![], None));
    let rest = frame(0x00, b"").repeat(limit - 1);
    assert_eq!(feed(&mut decoder, [&rest[..]]), (vec![], None));
    let (items, error) = feed(&mut decoder, [&frame(0x80, b"")[..]]);
    assert_eq!((items, error), (vec![], Some(ProtocolError::TooManyFragments)));
    assert_eq!(ProtocolError::TooManyFragments.close_code(), 1009);

    // One fewer is accepted, and the count starts again with each message.
    let mut decoder = Decoder::new(MAX);
    let message = [frame(0x01, b""), frame(0x00, b"").repeat(limit - 2), frame(0x80, b"")].concat();
    assert_eq!(feed(&mut decoder, [&message[..], &message[..]]), (vec![text(""), text("")], None));
}

#[test]
fn a_flood_of_empty_messages_leaves_nothing_behind() {
    let bytes = frame(0x81, b"").repeat(10_000);
    let mut decoder = Decoder::new(MAX);
    assert_eq!(feed(&mut decoder, [&bytes[..]]).0.len(), 10_000);
    assert_eq!(decoder.buffered(), 0);
}

/// A frame of a random stream: usually legal, sometimes not.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81, 0x82]),
        8 => prop::sample::select(vec![0x01, 0x02, 0x00, 0x00, 0x80, 0x80]),
        4 => prop::sample::select(vec![0x89, 0x8a]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        ".{0,20}".prop_map(String::into_bytes),
        Just(1000_u16.to_be_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
        (100..400_usize).prop_map(|len| vec![b'y'; len]),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

/// A legal message: its frames with a ping between them, and the expected item.
fn any_message() -> impl Strategy<Value = (Vec<u8>, Item<'static>)> {
    let item = prop_oneof![
        ".{0,60}".prop_map(|data| text(&data)),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|data| binary(&data)),
    ];
    (item, proptest::collection::vec(any::<prop::sample::Index>(), 0..5)).prop_map(|(item, cuts)| {
        let (opcode, data) = match &item {
            Item::Text(data) => (0x01, data.as_bytes()),
            Item::Binary(data) => (0x02, &data[..]),
            _ => unreachable!("only messages are generated"),
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
        cuts.sort_unstable();
        let mut bytes = Vec::new();
        let mut start = 0;
        for (n, cut) in cuts.iter().enumerate() {
            bytes.extend(frame(if n == 0 { opcode } else { 0x00 }, &data[start..*cut]));
            bytes.extend(frame(0x8a, b"between"));
            start = *cut;
        }
        bytes.extend(frame(0x80 | if cuts.is_empty() { opcode } else { 0x00 }, &data[start..]));
        (bytes, item)
    })
}

fn pieces<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// The input of a tungstenite WebSocket; its answers are dropped.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What another implementation makes of a stream: its items before a close frame or an error, and the code of that
/// error.
fn tungstenite(bytes: &[u8]) -> (Vec<Item<'static>>, Option<u16>) {
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let mut socket = WebSocket::from_raw_socket(Wire(bytes), Role::Server, Some(config));
    let mut items = Vec::new();
    loop {
        let code = match socket.read() {
            Ok(Message::Text(data)) => {
                items.push(text(&data));
                continue;
            }
            Ok(Message::Binary(data)) => {
                items.push(binary(&data));
                continue;
            }
            Ok(Message::Ping(data)) => {
                items.push(ping(&data));
                continue;
            }
            Ok(Message::Pong(_)) => {
                items.push(Item::Pong);
                continue;
            }
            Ok(_) | Err(Error::Protocol(error::ProtocolError::ResetWithoutClosingHandshake)) => None,
            Err(Error::Protocol(_)) => Some(1002),
            Err(Error::Utf8(_)) => Some(1007),
            Err(Error::Capacity(_)) => Some(1009),
            Err(error) => panic!("the wire never fails: {error}"),
        };
        return (items, code);
    }
}

proptest! {
    #[test]
    fn agrees_with_another_implementation(
        // It judges close frames differently and answers where we refuse; `close` has its own table.
        frames in proptest::collection::vec(any_frame(), 0..12)
            .prop_map(|mut frames| { frames.retain(|frame| frame[0] & 0x0f != 0x08); frames.concat() }),
    ) {
        let (items, error) = whole(&frames);
        prop_assert_eq!((items, error.map(ProtocolError::close_code)), tungstenite(&frames));
    }

    #[test]
    fn messages_are_decoded_as_they_were_sent(
        messages in proptest::collection::vec(any_message(), 0..6),
        sizes in proptest::collection::vec(1..40_usize, 1..8),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<_> = messages.into_iter().map(|(_, item)| item).collect();
        for pieces in [vec![&bytes[..]], pieces(&bytes, &sizes)] {
            let mut decoder = Decoder::new(MAX);
            let (mut items, error) = feed(&mut decoder, pieces);
            items.retain(|item| *item != Item::Pong);
            prop_assert_eq!(error, None);
            prop_assert_eq!(&items, &expected);
            prop_assert_eq!(decoder.buffered(), 0);
        }
    }

    #[test]
    fn any_cutting_gives_the_same_items_and_the_same_end(
        stream in proptest::collection::vec(any_frame(), 0..12).prop_map(|frames| frames.concat()),
        sizes in proptest::collection::vec(1..40_usize, 1..8),
    ) {
        let expected = whole(&stream);
        prop_assert_eq!(byte_by_byte(&stream), expected.clone());
        prop_assert_eq!(feed(&mut Decoder::new(MAX), pieces(&stream, &sizes)), expected);
    }

    #[test]
    fn no_bytes_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        sizes in proptest::collection::vec(1..40_usize, 1..8),
    ) {
        prop_assert_eq!(feed(&mut Decoder::new(MAX), pieces(&bytes, &sizes)), whole(&bytes));
    }

    #[test]
    fn every_close_frame_written_is_read(code in any::<u16>(), reason in ".*") {
        let mut out = Vec::new();
        close::encode(Some(code), &reason, &mut out);
        let item = whole(&frame(out[0], &out[2..])).0.remove(0);
        match item {
            Item::Close(Some((read, cut))) => {
                prop_assert_eq!(read, code);
                prop_assert!(reason.starts_with(&*cut) && cut.len() <= 123);
                prop_assert!(cut.len() == reason.len() || cut.len() > 119);
            }
            item => {
                prop_assert_eq!(item, Item::Close(None));
                prop_assert!(!close::is_valid(code));
            }
        }
    }
}

#[test]
fn a_decoder_that_was_ended_keeps_nothing() {
    let mut decoder = Decoder::new(1 << 20);
    let mut begun = [&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4][..], &[0; 5000]].concat();
    assert_eq!(decoder.decode(&mut &mut *begun), Ok(None));
    assert!(decoder.buffered() >= 5000);
    decoder.end();
    assert_eq!((decoder.buffered(), decoder.discarded()), (0, 0));
    assert_eq!(decoder.decode(&mut &mut *begun), Ok(None));
    decoder.discard(&[0; 3]);
    assert_eq!((decoder.buffered(), decoder.discarded()), (0, 5017));
}

#[test]
fn a_limit_that_changes_counts_from_the_next_header_on() {
    let frame = |len: u8| [&[0x82, 0x80 | len, 0, 0, 0, 0][..], &vec![0; len.into()]].concat();
    let mut decoder = Decoder::new(10);
    assert!(decoder.decode(&mut &mut *frame(11)).is_err());
    let mut decoder = Decoder::new(10);
    decoder.set_max_message(11);
    assert!(matches!(decoder.decode(&mut &mut *frame(11)), Ok(Some(Item::Binary(bytes))) if bytes.len() == 11));
}
