//! Tables of bytes from the specification and from notepack.io, limits, and the way there and back.

use bytes::Bytes;
use engineio::SharedFrame;
use proptest::prelude::*;

use super::{pack, unpack};
use crate::{
    json::{self, JsonError},
    packet::{AckId, Args, Packet},
    parser::{DecodeError, Limits, attachments::placeholder},
};

/// The event `a` with one argument, which is given as MessagePack.
fn event_of(value: &[u8]) -> Vec<u8> {
    [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a", value].concat()
}

/// The JSON and the attachments of that argument.
fn converted(value: &[u8], limits: &Limits) -> Result<(String, Vec<Bytes>), DecodeError> {
    let unpacked = unpack(&event_of(value), limits)?;
    match unpacked.packet(limits)? {
        Packet::Event { nsp: "/", ack: None, event } if event.name == "a" => {
            Ok((event.args.raw().to_owned(), event.args.attachments().to_vec()))
        }
        other => panic!("{other:?}"),
    }
}

fn json_of(value: &[u8]) -> String {
    let (json, attachments) =
        converted(value, &Limits::default()).unwrap_or_else(|error| panic!("{value:x?}: {error}"));
    assert_eq!(attachments, [""; 0]);
    json
}

/// The bytes of a frame's only message.
fn bytes_of(frame: &SharedFrame) -> Vec<u8> {
    let websocket = frame.websocket();
    let head = match websocket[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    assert_eq!(websocket[0], 0x82);
    websocket[head..].to_vec()
}

#[test]
fn every_format_of_a_value_becomes_json() {
    #[rustfmt::skip]
    let table: &[(&[u8], &str)] = &[
        (b"\xc0", "null"), (b"\xc2", "false"), (b"\xc3", "true"),
        (b"\x00", "0"), (b"\x7f", "127"), (b"\xff", "-1"), (b"\xe0", "-32"),
        (b"\xcc\xff", "255"), (b"\xcd\x01\x00", "256"), (b"\xce\xff\xff\xff\xff", "4294967295"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\xd0\x80", "-128"), (b"\xd1\x80\x00", "-32768"), (b"\xd2\x80\x00\x00\x00", "-2147483648"),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"),
        (b"\xca\x3f\xc0\x00\x00", "1.5"), (b"\xca\x7f\x80\x00\x00", "null"),
        (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"), (b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "0"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"), (b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", "null"),
        // 3, 2^53, 1e300, the largest and the smallest double.
        (b"\xcb\x40\x08\x00\x00\x00\x00\x00\x00", "3"), (b"\xcb\x43\x40\x00\x00\x00\x00\x00\x00", "9007199254740992"),
        (b"\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c", "1e300"), (b"\xcb\x7f\xef\xff\xff\xff\xff\xff\xff", "1.7976931348623157e308"),
        (b"\xcb\x80\x00\x00\x00\x00\x00\x00\x01", "-5e-324"),
        (b"\xa0", r#""""#), (b"\xa2\xc3\xa9", r#""é""#), (b"\xd9\x02\"\n", r#""\"\n""#), (b"\xda\x00\x01x", r#""x""#),
        (b"\xdb\x00\x00\x00\x01x", r#""x""#), (b"\xa1\x01", r#""\u0001""#),
        (b"\x90", "[]"), (b"\x92\x01\x90", "[1,[]]"), (b"\xdc\x00\x01\xc0", "[null]"), (b"\xdd\x00\x00\x00\x01\xc0", "[null]"),
        (b"\x80", "{}"), (b"\x82\xa1a\x01\xa1b\x81\xa1c\xc0", r#"{"a":1,"b":{"c":null}}"#),
        (b"\xde\x00\x01\xa1a\x01", r#"{"a":1}"#), (b"\xdf\x00\x00\x00\x01\xa1a\x01", r#"{"a":1}"#),
        // Any key is a string in JavaScript.
        (b"\x86\x01\x01\xff\x02\xc0\x03\xc3\x04\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00\x05\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00\x06",
            r#"{"1":1,"-1":2,"null":3,"true":4,"0.5":5,"inf":6}"#),
        (b"\x82\xa1\"\x01\xa1\"\x02", r#"{"\"":1,"\"":2}"#),
        // Undefined, alone, in an array and in a map.
        (b"\xd4\x00\x00", "null"), (b"\x91\xd4\x00\x00", "[null]"), (b"\x82\xa1a\xd4\x00\x00\xa1b\x01", r#"{"b":1}"#),
        (b"\x81\xa1a\xd4\x00\x00", "{}"),
        // Dates of notepack.io, and timestamps of 4, 8 and 12 bytes.
        (b"\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x7b", r#""2023-11-14T22:13:20.123Z""#), (b"\xd7\x00\x7f\xff\xff\xff\xff\xff\xff\xff", "null"),
        (b"\xd6\xff\x65\x53\xf1\x00", r#""2023-11-14T22:13:20.000Z""#),
        (b"\xd7\xff\x1d\x53\x5d\x80\x65\x53\xf1\x00", r#""2023-11-14T22:13:20.123Z""#),
        (b"\xc7\x0c\xff\x07\x54\xd4\xc0\xff\xff\xff\xff\xff\xff\xff\xff", r#""1969-12-31T23:59:59.123Z""#),
        (b"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", "null"),
    ];
    for (value, expected) in table {
        assert_eq!(json_of(value), *expected, "{value:x?}");
    }
}

#[test]
fn binary_data_becomes_attachments() {
    let list = |places: &[&str]| format!("[{}]", places.join(","));
    let [first, second] = [0, 1].map(|number| placeholder(number).to_string());
    type Row<'a> = (&'a [u8], String, &'a [&'a [u8]]);
    let table: &[Row<'_>] = &[
        (b"\xc4\x02\x01\x02", first.clone(), &[b"\x01\x02"]),
        (b"\xc5\x00\x01x", first.clone(), &[b"x"]),
        (b"\xc6\x00\x00\x00\x00", first.clone(), &[b""]),
        // An `ArrayBuffer` of any length.
        (b"\xc7\x01\x00x", first.clone(), &[b"x"]),
        (b"\xc8\x00\x00\x00", first.clone(), &[b""]),
        (b"\xc9\x00\x00\x00\x01\x00x", first.clone(), &[b"x"]),
        (b"\x92\xc4\x01a\x81\xa1k\xc4\x01b", format!(r#"[{first},{{"k":{second}}}]"#), &[b"a", b"b"]),
        // Extensions of other types, as notepack.io gives them.
        (b"\xd4\x05x", list(&["5", &first]), &[b"x"]),
        (b"\xd5\x00xy", list(&["0", &first]), &[b"xy"]),
        (b"\xd8\xfeabcdefghijklmnop", list(&["-2", &first]), &[b"abcdefghijklmnop"]),
        (b"\xc7\x00\xff", list(&["-1", &first]), &[b""]),
    ];
    for (value, json, attachments) in table {
        let attachments = attachments.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect::<Vec<_>>();
        assert_eq!(converted(value, &Limits::default()), Ok((json.clone(), attachments)), "{value:x?}");
    }
}

#[test]
fn data_like_a_placeholder_is_data_and_no_good_company_for_binary_data() {
    let fake = b"\x82\xac_placeholder\xc3\xa3num\x00";
    assert_eq!(json_of(fake), placeholder(0).to_string());
    for value in [
        [b"\x92\xc4\x01a", &fake[..]].concat(),
        [b"\x92", &fake[..], b"\xc4\x01a"].concat(),
        b"\x82\xac_placeholder\xc3\xa3num\xc4\x01a".to_vec(),
    ] {
        assert_eq!(converted(&value, &Limits::default()), Err(DecodeError::Placeholder));
    }
    // The frame has no attachments either.
    let frame = pack::event("/", None, "a", &placeholder(0).to_string(), &[]);
    assert_eq!(bytes_of(&frame), event_of(fake));
}

#[test]
fn packets() {
    #[rustfmt::skip]
    let table: &[(&[u8], Result<Packet<'_>, DecodeError>)] = &[
        (b"\x82\xa4type\x00\xa3nsp\xa1/", Ok(Packet::Connect { nsp: "/", auth: None })),
        (b"\x83\xa4type\x00\xa3nsp\xa2/x\xa4data\xd4\x00\x00", Ok(Packet::Connect { nsp: "/x", auth: None })),
        (b"\x83\xa4data\x81\xa1a\x01\xa3nsp\xa2/x\xa4type\x00", Ok(Packet::Connect { nsp: "/x", auth: Some(r#"{"a":1}"#) })),
        // Other members, and members that are undefined.
        (b"\x85\xa4type\x01\xa3nsp\xa1/\xa7options\x81\xa8compress\xc3\xa2id\xd4\x00\x00\xa4data\xd4\x00\x00", Ok(Packet::Disconnect { nsp: "/" })),
        // The last of equal ones.
        (b"\x83\xa4type\x00\xa3nsp\xa1/\xa4type\x01", Ok(Packet::Disconnect { nsp: "/" })),
        (b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x90", Err(DecodeError::ConnectPayload)),
        (b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xc0", Err(DecodeError::ConnectPayload)),
        (b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa1a\xc4\x00", Err(DecodeError::ConnectPayload)),
        (b"\x83\xa4type\x01\xa3nsp\xa1/\xa4data\xc0", Err(DecodeError::DisconnectPayload)),
        (b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x90", Err(DecodeError::EventName)),
        (b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\x01", Err(DecodeError::EventName)),
        (b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa7connect", Err(DecodeError::ReservedEvent)),
        (b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x80", Err(DecodeError::Payload(JsonError::Syntax))),
        (b"\x82\xa4type\x02\xa3nsp\xa1/", Err(DecodeError::Payload(JsonError::Syntax))),
        (b"\x83\xa4type\x03\xa3nsp\xa1/\xa4data\x90", Err(DecodeError::MissingAckId)),
        (b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x80", Err(DecodeError::ServerPacket)),
        (b"\x82\xa4type\x05\xa3nsp\xa1/", Err(DecodeError::UnknownType)),
        (b"\x82\xa4type\xcd\x01\x02\xa3nsp\xa1/", Err(DecodeError::UnknownType)),
        (b"\x81\xa3nsp\xa1/", Err(DecodeError::UnknownType)),
        (b"\x82\xa4type\xa10\xa3nsp\xa1/", Err(DecodeError::MessagePack)),
        (b"\x81\xa4type\x00", Err(DecodeError::MessagePack)),
        (b"\x82\xa4type\x00\xa3nsp\xa0", Err(DecodeError::MessagePack)),
        (b"\x82\xa4type\x00\xa3nsp\xa1x", Err(DecodeError::MessagePack)),
        (b"\x82\xa4type\x00\xa3nsp\xa4/a,{", Err(DecodeError::MessagePack)),
        (b"\x82\xa4type\x00\xa3nsp\x00", Err(DecodeError::MessagePack)),
        (b"\x83\xa4type\x02\xa3nsp\xa1/\xa2id\xff", Err(DecodeError::MessagePack)),
        (b"\x82\xa4type\x00\xa3nsp\xa1/\x00", Err(DecodeError::MessagePack)),
        (b"\x90", Err(DecodeError::MessagePack)),
        (b"", Err(DecodeError::MessagePack)),
        (b"\xdf\xff\xff\xff\xff", Err(DecodeError::MessagePack)),
    ];
    for (bytes, expected) in table {
        let limits = Limits::default();
        let unpacked = unpack(bytes, &limits);
        let packet = unpacked.as_ref().map_err(|error| *error).and_then(|unpacked| unpacked.packet(&limits));
        assert_eq!(packet, *expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn values_that_are_cut_off_or_no_values_are_refused() {
    for value in [
        &b""[..],
        b"\xc1",
        b"\xcc",
        b"\xcd\x01",
        b"\xcf\x00\x00\x00",
        b"\xca\x00",
        b"\xcb\x00",
        b"\xa2x",
        b"\xd9",
        b"\xd9\x01",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x00",
        b"\xdd\xff\xff\xff\xff\x00",
        b"\xdf\xff\xff\xff\xff\x00",
        b"\xd8\x00",
        b"\x91",
        b"\x81\xa1a",
        b"\xa1\xff",
        b"\xa2\xed\xa0",
        b"\xa3\xed\xa0\x80",
        // Keys that JavaScript would give the name `[object Object]`.
        b"\x81\x90\x01",
        b"\x81\x80\x01",
        b"\x81\xc4\x00\x01",
        // More than one value.
        b"\x01\x02",
    ] {
        assert_eq!(converted(value, &Limits::default()), Err(DecodeError::MessagePack), "{value:x?}");
    }
}

#[test]
fn limits_are_those_of_json() {
    let limits = Limits {
        json: json::Limits { depth: 3, number_length: 4 },
        attachments: 1,
        attachment_bytes: 2,
        nsp_length: 3,
    };
    // The array of name and arguments has depth 1.
    for (value, expected) in [
        (&b"\x91\x91\x01"[..], Ok("[[1]]")),
        (b"\x91\x91\x90", Err(DecodeError::Payload(JsonError::TooDeep))),
        (b"\x91\x91\x81\x01\x01", Err(DecodeError::Payload(JsonError::TooDeep))),
        (b"\xcd\x27\x0f", Ok("9999")),
        (b"\xcd\x27\x10", Err(DecodeError::Payload(JsonError::NumberTooLong))),
        (b"\x92\xc4\x01a\xc4\x01b", Err(DecodeError::TooManyAttachments)),
        (b"\xc4\x03abc", Err(DecodeError::AttachmentsTooLarge)),
    ] {
        let result = converted(value, &limits).map(|(json, _)| json);
        assert_eq!(result.as_deref().map_err(|error| *error), expected, "{value:x?}");
    }
    let unpacked = unpack(b"\x82\xa4type\x00\xa3nsp\xa4/abc", &limits).unwrap();
    assert_eq!(unpacked.packet(&limits), Err(DecodeError::NamespaceTooLong));
    // Deep values cost no stack, whether they are converted or left out.
    let deep = vec![0x91; 1_000_000];
    let too_deep = Err(DecodeError::Payload(JsonError::TooDeep));
    assert_eq!(converted(&[&deep[..], b"\x00"].concat(), &Limits::default()).map(|_| ()), too_deep);
    let options = [b"\x83\xa4type\x01\xa3nsp\xa1/\xa1x", &deep[..], b"\x00"].concat();
    assert!(unpack(&options, &limits).is_ok());
}

#[test]
fn what_a_server_sends() {
    let none = &[][..];
    let bytes = [Bytes::from_static(b"xy"), Bytes::new()];
    let args = format!(r#"[{}],{{"k":{}}}"#, placeholder(1), placeholder(0));
    #[rustfmt::skip]
    let table: &[(SharedFrame, &[u8])] = &[
        (pack::connect("/", Some("id"), None), b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa3sid\xa2id"),
        (pack::connect("/", None, None), b"\x82\xa4type\x00\xa3nsp\xa1/"),
        (pack::connect_error("/x", "no", None), b"\x83\xa4type\x04\xa3nsp\xa2/x\xa4data\x81\xa7message\xa2no"),
        (pack::connect_error("/", "no", Some("[1,{}]")), b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x82\xa7message\xa2no\xa4data\x92\x01\x80"),
        (pack::connect_error_v4("/", "no", None), b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\xa2no"),
        (pack::connect_error_v4("/", "no", Some("7")), b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x07"),
        (pack::disconnect("/x"), b"\x82\xa4type\x01\xa3nsp\xa2/x"),
        (pack::event("/", None, "a", "", none), b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a"),
        (pack::event("/", Some(AckId(u64::MAX)), "a", " 1 , [ ] ", none),
            b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa4data\x93\xa1a\x01\x90"),
        (pack::event("/", None, "a", &args, &bytes), b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x93\xa1a\x91\xc4\x00\x81\xa1k\xc4\x02xy"),
        (pack::ack("/x", AckId(0), "", none), b"\x84\xa4type\x03\xa3nsp\xa2/x\xa2id\x00\xa4data\x90"),
    ];
    for (frame, expected) in table {
        assert_eq!(bytes_of(frame).escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}

#[test]
fn json_values_are_packed_in_their_shortest_form() {
    let long = "x".repeat(256);
    #[rustfmt::skip]
    let table: &[(&str, &[u8])] = &[
        ("null", b"\xc0"), ("true", b"\xc3"), ("false", b"\xc2"),
        ("127", b"\x7f"), ("128", b"\xcc\x80"), ("256", b"\xcd\x01\x00"), ("65536", b"\xce\x00\x01\x00\x00"),
        ("4294967296", b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"), ("9007199254740992", b"\xcf\x00\x20\x00\x00\x00\x00\x00\x00"),
        ("9007199254740993", b"\xcb\x43\x40\x00\x00\x00\x00\x00\x00"), ("18446744073709551616", b"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"),
        ("-1", b"\xff"), ("-32", b"\xe0"), ("-33", b"\xd0\xdf"), ("-128", b"\xd0\x80"), ("-129", b"\xd1\xff\x7f"),
        ("-32769", b"\xd2\xff\xff\x7f\xff"), ("-2147483649", b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
        ("1.5", b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"), ("1e300", b"\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c"),
        ("1e999", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"), ("-0", b"\x00"), ("2E2", b"\xcb\x40\x69\x00\x00\x00\x00\x00\x00"),
        (r#""""#, b"\xa0"), (r#""\u00e9\n""#, b"\xa3\xc3\xa9\n"), (r#""\ud83d\ude00""#, b"\xa4\xf0\x9f\x98\x80"),
        // Lone surrogates have no UTF-8.
        (r#""\ud800x\udc00\ud800\ud83d\ude00""#, b"\xae\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98\x80"),
        (r#"{"a" : [1,{}] , "\"":"x:,"}"#, b"\x82\xa1a\x92\x01\x80\xa1\"\xa3x:,"),
        (r#"[[],[[]],{"a":[]}]"#, b"\x93\x90\x91\x90\x81\xa1a\x90"),
    ];
    for (json, expected) in table {
        let frame = pack::event("/", None, "a", json, &[]);
        assert_eq!(
            bytes_of(&frame).escape_ascii().to_string(),
            event_of(expected).escape_ascii().to_string(),
            "{json}"
        );
    }
    for (json, head) in [
        (format!("\"{}\"", &long[..32]), &b"\xd9\x20x"[..]),
        (format!("\"{long}\""), b"\xda\x01\x00x"),
        (format!("\"{}\"", long.repeat(256)), b"\xdb\x00\x01\x00\x00x"),
        (format!("[{}0]", "0,".repeat(15)), b"\xdc\x00\x10\x00"),
        (format!("[{}0]", "0,".repeat(65_535)), b"\xdd\x00\x01\x00\x00\x00"),
        (format!("{{{}\"a\":0}}", "\"a\":0,".repeat(15)), b"\xde\x00\x10\xa1a"),
        (format!("{{{}\"a\":0}}", "\"a\":0,".repeat(65_535)), b"\xdf\x00\x01\x00\x00\xa1a"),
    ] {
        let bytes = bytes_of(&pack::event("/", None, "a", &json, &[]));
        assert!(bytes.starts_with(&event_of(head)), "{head:x?}");
        assert_eq!(converted(&bytes[event_of(b"").len()..], &Limits::default()).unwrap().0, json);
    }
}

#[test]
fn a_placeholder_that_points_nowhere_is_data() {
    let args = format!(r#"{},{{"_placeholder":true,"num":9}}"#, placeholder(0));
    let frame = pack::event("/", None, "a", &args, &[Bytes::from_static(b"x")]);
    let expected = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x93\xa1a\xc4\x01x\x82\xac_placeholder\xc3\xa3num\x09";
    assert_eq!(bytes_of(&frame).escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// JSON values whose text is the one that comes back.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        (-(1_i64 << 53)..=1 << 53).prop_map(|value| value.to_string()),
        "[a-z\"\\\\\n\u{1}é😀]{0,40}".prop_map(|text| {
            let mut out = Vec::new();
            json::quote(&text, &mut out);
            String::from_utf8(out).unwrap()
        }),
    ];
    leaf.prop_recursive(4, 40, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(("[a-z]{0,3}", inner), 0..20).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn events_come_back(
        nsp in "/[a-z]{0,9}", name in "[b-z\"é]{1,40}", ack in prop::option::of(any::<u64>()),
        values in prop::collection::vec(value(), 0..20), blobs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..=10),
    ) {
        prop_assume!(!crate::packet::is_reserved(&name));
        let blobs: Vec<Bytes> = blobs.into_iter().map(Bytes::from).collect();
        let mut values = values;
        values.extend((0..blobs.len()).map(|number| format!("[{}]", placeholder(number))));
        let args = values.join(",");
        let bytes = bytes_of(&pack::event(&nsp, ack.map(AckId), &name, &args, &blobs));
        let limits = Limits::default();
        let unpacked = unpack(&bytes, &limits).unwrap();
        let Packet::Event { nsp: back, ack: id, event } = unpacked.packet(&limits).unwrap() else { panic!("an event") };
        prop_assert_eq!((back, id, &*event.name), (&*nsp, ack.map(AckId), &*name));
        prop_assert_eq!((event.args.raw(), event.args.attachments()), (&*args, &*blobs));
        let bytes = bytes_of(&pack::ack(&nsp, AckId(ack.unwrap_or(7)), &args, &blobs));
        let unpacked = unpack(&bytes, &limits).unwrap();
        let Packet::Ack { args: back, .. } = unpacked.packet(&limits).unwrap() else { panic!("an ack") };
        let raw = |args: &Args<'_>| args.raw().to_owned();
        prop_assert_eq!((raw(&back), back.attachments()), (args, &*blobs));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), value in any::<bool>()) {
        let bytes = if value { event_of(&bytes) } else { bytes };
        if let Ok(unpacked) = unpack(&bytes, &Limits::default()) {
            let _ = unpacked.packet(&Limits::default());
        }
    }
}
