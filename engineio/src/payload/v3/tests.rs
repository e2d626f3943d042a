use super::*;
use crate::packet::{Message, Outbound};
use crate::{SharedFrame, payload::poll_v3::encode};
use bytes::Bytes;
use proptest::prelude::*;

type Item<'a> = Result<Inbound<'a>, DecodeError>;

fn text(data: &str) -> Item<'_> {
    Ok(Inbound::Message(Message::Text(data.into())))
}

fn bytes(data: &[u8]) -> Item<'_> {
    Ok(packet::binary(data))
}

fn walk_text(body: &str) -> Vec<Item<'_>> {
    decode_text(body.as_bytes()).unwrap().collect()
}

fn walk_binary(body: &[u8]) -> Vec<Item<'_>> {
    decode_binary(body).unwrap().collect()
}

#[test]
fn reads_a_text_body_up_to_its_first_fault() {
    let length = || Err(DecodeError::Length);
    let table: &[(&str, Vec<Item<'_>>)] = &[
        ("2:4a", vec![text("a")]),
        ("2:4a1:2", vec![text("a"), Ok(Inbound::Ping(""))]),
        ("6:2probe", vec![Ok(Inbound::Ping("probe"))]),
        ("3:4:13:4:2", vec![text(":1"), text(":2")]),
        ("1:4", vec![text("")]),
        // Lengths are UTF-16 code units: € is one, 𝄞 two.
        ("2:4€", vec![text("€")]),
        ("3:4𝄞", vec![text("𝄞")]),
        ("6:4a𝄞€b2:4c", vec![text("a𝄞€b"), text("c")]),
        ("2:4𝄞", vec![length()]),
        ("5:4𝄞", vec![length()]),
        ("10:b4AQIDBA==2:4a", vec![bytes(&[1, 2, 3, 4]), text("a")]),
        ("4:b4!!", vec![Err(DecodeError::Base64)]),
        ("02:4a", vec![text("a")]),
        // Empty records.
        ("0:", vec![]),
        ("0:2:4a0:", vec![text("a")]),
        // Faults; the packets before them count.
        ("", vec![length()]),
        (":", vec![length()]),
        (":4a", vec![length()]),
        ("4a", vec![length()]),
        ("2:4a2", vec![text("a"), length()]),
        ("2:4a2:4", vec![text("a"), length()]),
        ("2:4a5:4bc", vec![text("a"), length()]),
        ("2:4a\x1e2:4b", vec![text("a"), length()]),
        ("1:9", vec![Err(DecodeError::UnknownType)]),
        ("2:4a1:x2:4b", vec![text("a"), Err(DecodeError::UnknownType)]),
        ("1:12:4a", vec![Ok(Inbound::Close)]),
        // JavaScript reads these as numbers; we do not.
        ("1e0:4", vec![length()]),
        ("0x2:4a", vec![length()]),
        ("+2:4a", vec![length()]),
        (" 2:4a", vec![length()]),
        ("2.0:4a", vec![length()]),
        ("-1:4a", vec![length()]),
        ("٢:4a", vec![length()]),
        // Lengths beyond the body.
        ("99999991:4222", vec![length()]),
        ("9999999999:4", vec![length()]),
        ("99999999999999999999999999:4", vec![length()]),
        ("00000000002:4a", vec![length()]),
    ];
    for (body, expected) in table {
        assert_eq!(walk_text(body), *expected, "{body:?}");
    }
}

#[test]
fn reads_a_binary_body_up_to_its_first_fault() {
    let length = || Err(DecodeError::Length);
    let table: &[(&[u8], Vec<Item<'_>>)] = &[
        (b"\x00\x02\xff4a", vec![text("a")]),
        (b"\x01\x04\xff\x04\x01\x02\x03", vec![bytes(&[1, 2, 3])]),
        (b"\x00\x02\xff4a\x01\x02\xff\x04\xff\x00\x01\xff2", vec![text("a"), bytes(b"\xff"), Ok(Inbound::Ping(""))]),
        // The length of a string counts bytes here.
        (
            "\0\x04".as_bytes().iter().chain(b"\xff").chain("4€".as_bytes()).copied().collect::<Vec<_>>().leak(),
            vec![text("€")],
        ),
        (b"\x00\x01\x02\xff4aaaaaaaaaaa", vec![text("aaaaaaaaaaa")]),
        (b"\x01\x01\xff\x04", vec![bytes(b"")]),
        (b"\x00\x0a\xffb4AQIDBA==", vec![length()]),
        (b"\x00\x01\x00\xffb4AQIDBA==", vec![bytes(&[1, 2, 3, 4])]),
        // Faults.
        (b"", vec![Err(DecodeError::Empty)]),
        (b"\x00", vec![length()]),
        (b"\x00\xff", vec![length()]),
        (b"\x00\x02", vec![length()]),
        (b"\x00\x02\xff4", vec![length()]),
        (b"\x02\x02\xff4a", vec![length()]),
        (b"\x00\x02\xff4a\x00", vec![text("a"), length()]),
        (b"\x0012\xff4a", vec![length()]),
        (b"\x01\x00\xff", vec![Err(DecodeError::Empty)]),
        (b"\x00\x00\xff", vec![Err(DecodeError::Empty)]),
        (b"\x00\x00\xff\x00\x02\xff4a", vec![Err(DecodeError::Empty)]),
        (b"\x01\x02\xff4a", vec![Err(DecodeError::UnknownType)]),
        (b"\x00\x03\xff4\xff\xfe", vec![Err(DecodeError::Utf8)]),
        (b"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4", vec![length()]),
        (b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xff4a", vec![length()]),
        (&[9; 400], vec![length()]),
    ];
    for (body, expected) in table {
        assert_eq!(walk_binary(body), *expected, "{body:?}");
    }
}

#[test]
fn refuses_a_body_that_is_not_utf8_or_a_flood() {
    assert_eq!(decode_text(b"3:4\xff\xfe").err(), Some(error::DecodeError::Utf8));
    let flood = Some(error::DecodeError::TooManyIdlePackets);
    for idle in ["1:2", "1:3", "1:6", "0:", "1:0", "1:5"] {
        let body = |n| idle.repeat(n);
        assert!(decode_text(body(MAX_IDLE_PACKETS).as_bytes()).is_ok());
        assert_eq!(decode_text(body(MAX_IDLE_PACKETS + 1).as_bytes()).err(), flood, "{idle}");
    }
    assert_eq!(decode_binary(&b"\x00\x01\xff2".repeat(65)).err(), flood);
    assert_eq!(walk_text(&"2:4a".repeat(20_000)).len(), 20_000);
}

#[test]
fn a_body_is_binary_when_a_packet_is_and_the_peer_takes_it() {
    let frames = [
        SharedFrame::message(&["€𝄞".as_bytes()], &[]),
        SharedFrame::message(&[b"51-[]"], &[Bytes::from_static(&[1, 2, 3, 4])]),
        SharedFrame::packet(&Outbound::Ping),
    ];
    let body = encode(frames.iter(), true, usize::MAX);
    assert!(body.binary);
    assert_eq!(
        body.bytes,
        [
            &b"\x00\x08\xff4"[..],
            "€𝄞".as_bytes(),
            b"\x00\x06\xff451-[]",
            b"\x01\x05\xff\x04\x01\x02\x03\x04",
            b"\x00\x01\xff2",
        ]
        .concat()
    );
    let body = encode(frames.iter(), false, usize::MAX);
    assert!(!body.binary);
    assert_eq!(String::from_utf8(body.bytes).unwrap(), "4:4€𝄞6:451-[]10:b4AQIDBA==1:2");
    let body = encode(frames.iter().take(1), true, usize::MAX);
    assert_eq!((body.binary, body.taken), (false, 1), "without binary it has the text form");
}

#[test]
fn a_body_keeps_to_its_limit_but_takes_one_frame() {
    let frames = [b"aa", b"bb", b"cc"].map(|data| SharedFrame::message(&[data], &[]));
    let taken = |max| encode(frames.iter(), true, max).taken;
    assert_eq!([taken(0), taken(5), taken(9), taken(10), taken(15)], [1, 1, 1, 2, 3]);
}

proptest! {
    #[test]
    fn encoded_messages_are_decoded(
        packets in proptest::collection::vec(
            prop_oneof![
                ".{0,20}".prop_map(|text| Message::Text(text.into())),
                proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Message::Binary(bytes.into())),
            ],
            1..20,
        ),
        takes_binary: bool,
    ) {
        let frames: Vec<_> =
            packets.iter().map(|packet| SharedFrame::packet(&Outbound::Message(packet.clone()))).collect();
        let body = encode(frames.iter(), takes_binary, usize::MAX);
        prop_assert_eq!(body.taken, frames.len());
        let decoded = if body.binary { decode_binary(&body.bytes) } else { decode_text(&body.bytes) };
        let decoded: Vec<_> = decoded.unwrap().collect();
        prop_assert_eq!(decoded, packets.into_iter().map(|packet| Ok(Inbound::Message(packet))).collect::<Vec<_>>());
    }

    #[test]
    fn no_body_panics_and_every_iteration_ends(
        body in proptest::collection::vec(prop_oneof![Just(b':'), b'0'..=b'9', 0..=10_u8, Just(0xff), any::<u8>()], 0..200),
    ) {
        for packets in [decode_text(&body), decode_binary(&body)].into_iter().flatten() {
            let packets: Vec<_> = packets.collect();
            prop_assert!(packets.len() <= body.len() + 1);
            prop_assert!(packets.iter().rev().skip(1).all(Result::is_ok));
        }
    }
}
