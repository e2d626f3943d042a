//! Tables from the wire rows of the protocol and its known attacks, and the way there and back.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use engineio::SharedFrame;
use proptest::prelude::*;

use super::*;
use crate::json::JsonError;
use crate::packet::{AckId, Args, Event, Excess, OversizeEvent, Packet};

const SYNTAX: DecodeError = DecodeError::Payload(JsonError::Syntax);

/// Decodes one text message with a fresh decoder. Binary headers give `None`.
fn decode(text: &str) -> Result<Option<Packet<'_>>, DecodeError> {
    Decoder::default().decode_text(text, &Limits::default())
}

fn decode_event(text: &str) -> (&str, Option<u64>, Event<'_>) {
    match decode(text) {
        Ok(Some(Packet::Event { nsp, ack, event })) => (nsp, ack.map(|id| id.0), event),
        other => panic!("{text}: {other:?}"),
    }
}

/// Name, error and size of an event that exceeds a limit.
fn decode_oversize(text: &str) -> (String, Excess, usize) {
    match decode(text) {
        Ok(Some(Packet::Oversize { nsp: "/", ack: None, event })) => {
            (event.name.into_owned(), event.excess, event.bytes)
        }
        other => panic!("{text}: {other:?}"),
    }
}

/// The packet's text and its attachments, from the form for polling.
fn taken_apart(frame: &SharedFrame) -> (String, Vec<Vec<u8>>) {
    let body = std::str::from_utf8(frame.polling()).unwrap();
    let mut records = body.split('\x1e');
    let text = records.next().unwrap().strip_prefix('4').unwrap().to_owned();
    (text, records.map(|record| STANDARD.decode(record.strip_prefix('b').unwrap()).unwrap()).collect())
}

fn text_of(frame: &SharedFrame) -> String {
    let (text, attachments) = taken_apart(frame);
    assert!(attachments.is_empty());
    text
}

#[test]
fn connect() {
    let connect = |nsp, auth| Ok(Some(Packet::Connect { nsp, auth }));
    #[rustfmt::skip]
    let table = [
        ("0", connect("/", None)),
        ("0{}", connect("/", Some("{}"))),
        ("0 {\"token\": \"x\"}\n", connect("/", Some("{\"token\": \"x\"}"))),
        ("0/,{\"a\":1}", connect("/", Some("{\"a\":1}"))),
        // With and without a comma are equal; a query string is part of the name; names are not paths or escapes.
        ("0/custom", connect("/custom", None)),
        ("0/custom,", connect("/custom", None)),
        ("0/custom,{}", connect("/custom", Some("{}"))),
        ("0/custom?x=1,", connect("/custom?x=1", None)),
        ("0/../admin", connect("/../admin", None)),
        ("0/%61dmin", connect("/%61dmin", None)),
        ("0//", connect("//", None)),
        ("0/a\0", connect("/a\0", None)),
        ("0/__proto__,", connect("/__proto__", None)),
        ("0/é漢,", connect("/é漢", None)),
        // Without a comma all is the name.
        ("0/custom{}", connect("/custom{}", None)),
        ("0[]", Err(DecodeError::ConnectPayload)),
        ("0\"x\"", Err(DecodeError::ConnectPayload)),
        ("0null", Err(DecodeError::ConnectPayload)),
        ("0 ", Err(SYNTAX)),
        ("0{", Err(SYNTAX)),
        ("0{}{}", Err(SYNTAX)),
        ("0/custom,x", Err(SYNTAX)),
    ];
    for (text, expected) in table {
        assert_eq!(decode(text), expected, "{text}");
    }
}

#[test]
fn disconnect() {
    let disconnect = |nsp| Ok(Some(Packet::Disconnect { nsp }));
    #[rustfmt::skip]
    let table = [
        ("1", disconnect("/")), ("1/custom", disconnect("/custom")), ("1/custom,", disconnect("/custom")),
        ("1{}", Err(DecodeError::DisconnectPayload)),
        ("1 ", Err(DecodeError::DisconnectPayload)),
        ("1/custom,[]", Err(DecodeError::DisconnectPayload)),
    ];
    for (text, expected) in table {
        assert_eq!(decode(text), expected, "{text}");
    }
}

#[test]
fn names_of_namespaces_are_limited() {
    let name = format!("/{}", "a".repeat(255));
    assert_eq!(decode(&format!("0{name}")), Ok(Some(Packet::Connect { nsp: &name, auth: None })));
    for text in [format!("0{name}a"), format!("0{name}a,{{}}"), format!("2/{},[\"a\"]", "a".repeat(100_000))] {
        assert_eq!(decode(&text), Err(DecodeError::NamespaceTooLong));
    }
}

#[test]
fn events() {
    // Text, namespace, ack id, name, each argument, and all as they are relayed.
    #[rustfmt::skip]
    let table = [
        (r#"2["a"]"#, "/", None, "a", vec![], ""),
        (r#"2["a",1]"#, "/", None, "a", vec!["1"], "1"),
        (r#"2["a",1,{"b":[2,3]},"x,]"]"#, "/", None, "a", vec!["1", r#"{"b":[2,3]}"#, r#""x,]""#], r#"1,{"b":[2,3]},"x,]""#),
        (r#"2/custom,["a",null]"#, "/custom", None, "a", vec!["null"], "null"),
        (r#"2/,["a",null]"#, "/", None, "a", vec!["null"], "null"),
        (r#"2/custom,12["a",null]"#, "/custom", Some(12), "a", vec!["null"], "null"),
        (r#"213["a"]"#, "/", Some(13), "a", vec![], ""),
        (r#"20["a"]"#, "/", Some(0), "a", vec![], ""),
        (r#"2007["a"]"#, "/", Some(7), "a", vec![], ""),
        (r#"29007199254740993["a"]"#, "/", Some(9_007_199_254_740_993), "a", vec![], ""),
        (r#"218446744073709551615["a"]"#, "/", Some(u64::MAX), "a", vec![], ""),
        // Whitespace of JSON is no fault, and is relayed.
        ("2 [ \"a\" , 1 ,\t2 ] ", "/", None, "a", vec!["1", "2"], "1 ,\t2"),
        // Escapes in the name are undone, those in arguments pass verbatim, lone surrogates too.
        (r#"2["\u0061\n\ud83d\ude00","\u0061\ud800"]"#, "/", None, "a\n😀", vec![r#""\u0061\ud800""#], r#""\u0061\ud800""#),
        (r#"2[""]"#, "/", None, "", vec![], ""),
        // Text packets have no placeholders: it is data.
        (r#"2["a",{"_placeholder":true,"num":7}]"#, "/", None, "a", vec![r#"{"_placeholder":true,"num":7}"#], r#"{"_placeholder":true,"num":7}"#),
    ];
    for (text, nsp, ack, name, args, raw) in table {
        let (found_nsp, found_ack, event) = decode_event(text);
        assert_eq!((found_nsp, found_ack, &*event.name), (nsp, ack, name), "{text}");
        assert!(event.args.iter().eq(args.iter().copied()), "{text}");
        assert_eq!(event.args.raw(), raw, "{text}");
        assert_eq!((event.args.len(), event.args.is_empty()), (args.len(), args.is_empty()), "{text}");
        assert_eq!((event.args.get(0), event.args.get(args.len())), (args.first().copied(), None), "{text}");
        assert!(event.args.attachments().is_empty());
    }
}

#[test]
fn acks() {
    let Ok(Some(Packet::Ack { nsp, id, args })) = decode("3/custom,12[1, {\"a\":2}]") else { panic!() };
    assert_eq!((nsp, id, args.raw(), args.len()), ("/custom", AckId(12), "1, {\"a\":2}", 2));
    let Ok(Some(Packet::Ack { nsp, id, args })) = decode("30[]") else { panic!() };
    assert_eq!((nsp, id, args.raw(), args.len()), ("/", AckId(0), "", 0));
}

#[test]
fn what_no_client_may_send() {
    #[rustfmt::skip]
    let table = [
        // No type.
        ("", DecodeError::UnknownType), ("9", DecodeError::UnknownType), ("7", DecodeError::UnknownType),
        ("x", DecodeError::UnknownType), (" 2[\"a\"]", DecodeError::UnknownType), ("é", DecodeError::UnknownType), ("\u{feff}2[\"a\"]", DecodeError::UnknownType),
        ("4", DecodeError::ServerPacket), ("4{\"message\":\"x\"}", DecodeError::ServerPacket),
        // Payloads of events.
        ("2", SYNTAX), ("2{}", SYNTAX), ("2\"a\"", SYNTAX), ("2[\"a\"", SYNTAX), ("2[\"a\"]x", SYNTAX), ("2[\"a\"][]", SYNTAX),
        ("2[\"a\",]", SYNTAX), ("2-1[\"a\"]", SYNTAX), ("2abc[\"a\"]", SYNTAX), ("2+1[\"a\"]", SYNTAX), ("21.5[\"a\"]", SYNTAX),
        ("2\u{feff}[\"a\"]", SYNTAX), ("2/custom[\"a\"]", SYNTAX), ("2/custom", SYNTAX), ("2[\"a\",\"\u{1}\"]", SYNTAX),
        ("2[\"a\",NaN]", SYNTAX), ("2[\"a\",01]", SYNTAX),
        ("2[]", DecodeError::EventName), ("2[1]", DecodeError::EventName), ("2[1,\"x\"]", DecodeError::EventName),
        ("2[null]", DecodeError::EventName), ("2[true,\"x\"]", DecodeError::EventName), ("2[[\"a\"]]", DecodeError::EventName),
        ("2[{\"toString\":\"foo\"}]", DecodeError::EventName), ("2[\"\\ud800\"]", DecodeError::EventName),
        // Ack ids and acks.
        ("218446744073709551616[\"a\"]", DecodeError::AckIdTooLarge),
        ("318446744073709551616[]", DecodeError::AckIdTooLarge),
        ("3[]", DecodeError::MissingAckId), ("3", DecodeError::MissingAckId), ("3/a,[]", DecodeError::MissingAckId),
        ("31", SYNTAX), ("31{}", SYNTAX), ("31null", SYNTAX), ("3-1[]", DecodeError::MissingAckId),
        // Numbers of attachments.
        ("5", DecodeError::AttachmentCount), ("51", DecodeError::AttachmentCount), ("5-", DecodeError::AttachmentCount),
        ("51.5-[\"a\"]", DecodeError::AttachmentCount), ("51e1-[\"a\"]", DecodeError::AttachmentCount),
        ("50x1-[\"a\"]", DecodeError::AttachmentCount), ("5+1-[\"a\"]", DecodeError::AttachmentCount),
        ("5 1-[\"a\"]", DecodeError::AttachmentCount), ("51 -[\"a\"]", DecodeError::AttachmentCount),
        ("5-1-[\"a\"]", DecodeError::AttachmentCount), ("5[\"a\"]", DecodeError::AttachmentCount),
        ("50-[\"a\"]", DecodeError::AttachmentCount), ("500-[\"a\"]", DecodeError::AttachmentCount),
        ("60-1[]", DecodeError::AttachmentCount), ("6[]", DecodeError::AttachmentCount),
        ("511-[]", SYNTAX), ("511-[1]", DecodeError::EventName), ("511-", SYNTAX),
        ("599999999999999999999999-[\"a\"]", DecodeError::TooManyAttachments), ("611-1[]", DecodeError::TooManyAttachments),
        // Text packets have none.
        ("21-[\"a\"]", SYNTAX),
        // Binary packets are as strict as the others.
        ("51-", SYNTAX), ("51-[]", DecodeError::EventName), ("51-[1]", DecodeError::EventName), ("61-[]", DecodeError::MissingAckId),
        ("51-[{\"_placeholder\":true,\"num\":0}]", DecodeError::EventName),
        ("51-[\"disconnect\",1]", DecodeError::ReservedEvent),
        ("51-[\"a\",{\"_placeholder\":true,\"num\":\"splice\"}]", DecodeError::Placeholder),
        ("51-[\"a\",{\"_placeholder\":true,\"num\":1}]", DecodeError::Placeholder),
        ("51-[\"a\",{\"_placeholder\":true,\"num\":0.5}]", DecodeError::Placeholder),
        ("61-1[[{\"_placeholder\":true,\"num\":-1}]]", DecodeError::Placeholder),
    ];
    for (text, expected) in table {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode_text(text, &Limits::default()), Err(expected), "{text}");
        assert!(!decoder.awaiting(), "{text}");
    }
}

#[test]
fn reserved_names_are_refused_and_only_they() {
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        assert_eq!(decode(&format!("2[\"{name}\"]")), Err(DecodeError::ReservedEvent), "{name}");
    }
    assert_eq!(decode(r#"2["\u0063onnect"]"#), Err(DecodeError::ReservedEvent));
    for name in ["error", "message", "connection", "Connect", "connect ", "__proto__"] {
        assert_eq!(decode_event(&format!("2[\"{name}\"]")).2.name, name);
    }
}

#[test]
fn limits_of_json_hold() {
    let nested = |levels: usize| format!("2[\"a\",{}{}]", "[".repeat(levels), "]".repeat(levels));
    assert!(decode(&nested(127)).is_ok());
    for levels in [128, 5_000, 100_000] {
        assert_eq!(decode_oversize(&nested(levels)), ("a".into(), Excess::Depth, 2 * levels + 7));
    }
    let number = |length: usize| format!("2[\"a\",{}]", "1".repeat(length));
    assert!(decode(&number(40)).is_ok());
    for length in [41, 5_000, 1_000_000] {
        assert_eq!(decode_oversize(&number(length)), ("a".into(), Excess::NumberLength, length + 7));
    }
    let mut limits = Limits::default();
    limits.json.depth = 3;
    let text = nested(3);
    let deep = Decoder::default().decode_text(&text, &limits);
    assert!(matches!(deep, Ok(Some(Packet::Oversize { .. }))), "{deep:?}");
    // In packets of other types nothing can be refused by itself.
    let deep = "[".repeat(200);
    for text in [format!("0{{\"a\":{deep}"), format!("31[{deep}")] {
        assert_eq!(decode(&text), Err(JsonError::TooDeep.into()), "{text}");
    }
}

#[test]
fn attachments_of_an_event_that_exceeds_a_limit_are_skipped() {
    let limits = Limits { attachment_bytes: 10, attachments: 3, ..Limits::default() };
    let mut decoder = Decoder::default();
    let deep = format!("52-/chat,7[\"a\\u0062\",{}", "[".repeat(200));
    for (text, nsp, ack, attachments, excess) in
        [("54-[\"ab\"]", "/", None, 4, Excess::Attachments), (&deep, "/chat", Some(AckId(7)), 2, Excess::Depth)]
    {
        let event = OversizeEvent { name: "ab".into(), excess, bytes: text.len() };
        let expected = Packet::Oversize { nsp, ack, event };
        assert_eq!(decoder.decode_text(text, &limits), Ok(Some(expected)));
        for _ in 0..attachments {
            assert_eq!((decoder.awaiting(), decoder.awaited_nsp()), (true, None));
            assert!(decoder.decode_binary(&[0; 100], &limits).unwrap().is_none());
        }
        assert!(!decoder.awaiting());
        assert_eq!(decode_event("2[\"next\"]").2.name, "next");
    }
    // The second of three is too large: the third is skipped.
    assert_eq!(decoder.decode_text("53-9[\"a\"]", &limits), Ok(None));
    assert!(decoder.decode_binary(&[0; 10], &limits).unwrap().is_none());
    let whole = decoder.decode_binary(&[0; 5], &limits).unwrap().unwrap();
    assert!(matches!(whole.packet(), Packet::Oversize { ack: Some(AckId(9)), event, .. } if event.bytes == 9 + 15));
    assert!(decoder.decode_binary(&[0; 5], &limits).unwrap().is_none() && !decoder.awaiting());
    assert_eq!(decoder.decode_binary(&[0; 5], &limits).unwrap_err(), DecodeError::UnexpectedAttachment);
}

#[test]
fn giant_headers_take_linear_time() {
    let started = Instant::now();
    for (text, expected) in [
        ("2".repeat(1_000_000), Err(DecodeError::AckIdTooLarge)),
        (format!("5{}-", "9".repeat(1_000_000)), Err(DecodeError::TooManyAttachments)),
        (format!("5{}-", "0".repeat(1_000_000)), Err(DecodeError::AttachmentCount)),
        ("0/".to_owned() + &"a".repeat(1_000_000), Err(DecodeError::NamespaceTooLong)),
    ] {
        assert_eq!(decode(&text), expected);
    }
    let zeros = format!("2{}7[\"a\"]", "0".repeat(1_000_000));
    assert_eq!(decode_event(&zeros).1, Some(7));
    // About 5 MB in an unoptimised build; what is quadratic would take minutes.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_packet_with_attachments() {
    let (mut decoder, limits) = (Decoder::default(), Limits::default());
    let text = r#"52-/custom,7["\u0061",{"_placeholder":true,"num":1},{"x":{"_placeholder":true,"num":0}}]"#;
    assert_eq!(decoder.decode_text(text, &limits), Ok(None));
    assert!(decoder.awaiting());
    assert!(decoder.decode_binary(b"zero", &limits).unwrap().is_none());
    assert!(decoder.awaiting());
    // An empty attachment is legal.
    let binary = decoder.decode_binary(b"", &limits).unwrap().unwrap();
    assert!(!decoder.awaiting());
    for _ in 0..2 {
        let Packet::Event { nsp, ack, event } = binary.packet() else { panic!() };
        assert_eq!((nsp, ack, &*event.name), ("/custom", Some(AckId(7)), "a"));
        assert_eq!(event.args.len(), 2);
        assert_eq!(event.args.get(1), Some(r#"{"x":{"_placeholder":true,"num":0}}"#));
        assert_eq!(event.args.attachments(), [Bytes::from_static(b"zero"), Bytes::new()]);
    }
    // And then text again.
    assert!(decoder.decode_text("2[\"b\"]", &limits).unwrap().is_some());
}

#[test]
fn an_ack_with_attachments() {
    let (mut decoder, limits) = (Decoder::default(), Limits::default());
    assert_eq!(decoder.decode_text("61-9[{\"_placeholder\":true,\"num\":0}]", &limits), Ok(None));
    let binary = decoder.decode_binary(&[0xff], &limits).unwrap().unwrap();
    let Packet::Ack { nsp: "/", id: AckId(9), args } = binary.packet() else { panic!() };
    assert_eq!((args.len(), args.attachments()), (1, [Bytes::from_static(&[0xff])].as_slice()));
}

#[test]
fn attachments_come_when_due_and_only_then() {
    let (mut decoder, limits) = (Decoder::default(), Limits::default());
    let stray = |decoder: &mut Decoder| decoder.decode_binary(b"x", &limits).unwrap_err();
    assert_eq!(stray(&mut decoder), DecodeError::UnexpectedAttachment);
    assert_eq!(decoder.decode_text("52-[\"a\"]", &limits), Ok(None));
    assert!(decoder.decode_binary(b"x", &limits).unwrap().is_none());
    assert_eq!(decoder.decode_text("2[\"a\"]", &limits), Err(DecodeError::MissingAttachment));
    // The unfinished packet is gone.
    assert!(!decoder.awaiting());
    assert_eq!(stray(&mut decoder), DecodeError::UnexpectedAttachment);
    assert_eq!(decoder.decode_text("51-[\"a\"]", &limits), Ok(None));
    assert!(decoder.decode_binary(b"x", &limits).unwrap().is_some());
    assert_eq!(stray(&mut decoder), DecodeError::UnexpectedAttachment);
}

#[test]
fn attachments_are_limited_together() {
    let limits = Limits { attachment_bytes: 10, attachments: 3, ..Limits::default() };
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode_text("64-1[]", &limits), Err(DecodeError::TooManyAttachments));
    assert_eq!(decoder.decode_text("53-[\"a\"]", &limits), Ok(None));
    for part in [b"12345".as_slice(), b"67890"] {
        assert!(decoder.decode_binary(part, &limits).unwrap().is_none());
    }
    let whole = decoder.decode_binary(b"1", &limits).unwrap().unwrap();
    let event = OversizeEvent { name: "a".into(), excess: Excess::AttachmentBytes, bytes: 8 + 11 };
    assert_eq!(whole.packet(), Packet::Oversize { nsp: "/", ack: None, event });
    assert!(!decoder.awaiting());
    assert_eq!(decoder.decode_text("62-1[]", &limits), Ok(None));
    assert_eq!(decoder.decode_binary(&[0; 11], &limits).unwrap_err(), DecodeError::AttachmentsTooLarge);
    assert!(!decoder.awaiting());
    // As many as allowed.
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode_text("510-[\"a\"]", &Limits::default()), Ok(None));
    let last = (0..10).map(|_| decoder.decode_binary(b"x", &Limits::default()).unwrap()).last().flatten();
    assert!(last.is_some());
}

#[test]
fn an_idle_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 16);
    assert!(size_of::<DecodeError>() <= 8);
}

#[test]
fn packets_of_a_server() {
    let bytes = [Bytes::from_static(&[1, 2])];
    #[rustfmt::skip]
    let table = [
        (encode::connect("/", "abc"), r#"0{"sid":"abc"}"#),
        (encode::connect("/custom", "abc"), r#"0/custom,{"sid":"abc"}"#),
        (encode::connect_error("/", "no \"x\"", None), r#"4{"message":"no \"x\""}"#),
        (encode::connect_error("/nope", "Invalid namespace", None), r#"4/nope,{"message":"Invalid namespace"}"#),
        (encode::connect_error("/", "a", Some("{\"b\":1}")), r#"4{"message":"a","data":{"b":1}}"#),
        (encode::disconnect("/"), "1"),
        (encode::disconnect("/custom"), "1/custom,"),
        (encode::event("/", None, "a", "", &[]), r#"2["a"]"#),
        (encode::event("/", None, "a", "1,{}", &[]), r#"2["a",1,{}]"#),
        (encode::event("/", Some(AckId(0)), "a", "", &[]), r#"20["a"]"#),
        (encode::event("/custom", Some(AckId(12)), "a\n\"", "null", &[]), r#"2/custom,12["a\n\"",null]"#),
        (encode::event("/custom", Some(AckId(u64::MAX)), "a", "", &[]), r#"2/custom,18446744073709551615["a"]"#),
        (encode::ack("/", AckId(7), "", &[]), "37[]"),
        (encode::ack("/custom", AckId(10), "\"ok\",2", &[]), r#"3/custom,10["ok",2]"#),
    ];
    for (frame, expected) in table {
        assert_eq!(text_of(&frame), expected);
    }
    let args = attachments::placeholder(0).to_string();
    let frame = encode::event("/", Some(AckId(3)), "a", &args, &bytes);
    let expected = (r#"51-3["a",{"_placeholder":true,"num":0}]"#.to_owned(), vec![vec![1, 2]]);
    assert_eq!(taken_apart(&frame), expected);
    let frame = encode::ack("/x", AckId(3), "1", &vec![Bytes::new(); 10]);
    assert_eq!(taken_apart(&frame), ("610-/x,3[1]".to_owned(), vec![Vec::new(); 10]));
}

#[test]
fn arguments_are_relayed_verbatim() {
    let text = r#"2["a", {"b":1,"b":2,"__proto__":null} ,1e999,-0,"\ud800\u0041"]"#;
    let (_, _, event) = decode_event(text);
    let echoed = encode::event("/", None, &event.name, event.args.raw(), &[]);
    assert_eq!(text_of(&echoed), text.replace("\", {", "\",{"));
}

fn nsp() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[^,\u{1e}]{0,20}"]
}

fn json_values() -> impl Strategy<Value = Vec<String>> {
    let value = prop_oneof![
        "-?(0|[1-9][0-9]{0,9})",
        Just("null".to_owned()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        proptest::collection::vec(any::<(String, Option<bool>)>(), 0..4).prop_map(|members| {
            let map: serde_json::Map<_, _> = members.into_iter().map(|(key, value)| (key, value.into())).collect();
            serde_json::to_string(&[map]).unwrap()
        }),
        (0..4_usize).prop_map(|num| attachments::placeholder(num).to_string()),
    ];
    proptest::collection::vec(value, 0..6)
}

fn blobs() -> impl Strategy<Value = Vec<Bytes>> {
    // None, or enough for every placeholder above.
    prop_oneof![
        Just(vec![]),
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from), 4..=10)
    ]
}

/// Feeds a server's frame back as if a client had sent it, and hands the packet to `then`.
fn there_and_back(
    frame: &SharedFrame,
    then: impl FnOnce(Packet<'_>) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let (text, attachments) = taken_apart(frame);
    let (mut decoder, limits) = (Decoder::default(), Limits::default());
    let decoded =
        decoder.decode_text(&text, &limits).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
    if let Some(packet) = decoded {
        prop_assert!(attachments.is_empty());
        return then(packet);
    }
    let mut complete = None;
    for bytes in &attachments {
        prop_assert!(complete.is_none());
        complete = decoder.decode_binary(bytes, &limits).unwrap();
    }
    then(complete.unwrap().packet())
}

fn check_args(args: &Args<'_>, values: &[String], blobs: &[Bytes]) -> Result<(), TestCaseError> {
    prop_assert!(args.iter().eq(values.iter().map(String::as_str)));
    prop_assert_eq!(args.raw(), values.join(","));
    prop_assert_eq!(args.attachments(), blobs);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn events_come_back(
        nsp in nsp(), ack in any::<Option<u64>>(), name in any::<String>(), values in json_values(), blobs in blobs(),
    ) {
        prop_assume!(!crate::packet::is_reserved(&name));
        let frame = encode::event(&nsp, ack.map(AckId), &name, &values.join(","), &blobs);
        there_and_back(&frame, |packet| {
            let Packet::Event { nsp: found_nsp, ack: found_ack, event } = packet else { panic!() };
            prop_assert_eq!((found_nsp, found_ack.map(|id| id.0), &*event.name), (&*nsp, ack, &*name));
            check_args(&event.args, &values, &blobs)
        })?;
    }

    #[test]
    fn acks_come_back(nsp in nsp(), id in any::<u64>(), values in json_values(), blobs in blobs()) {
        there_and_back(&encode::ack(&nsp, AckId(id), &values.join(","), &blobs), |packet| {
            let Packet::Ack { nsp: found_nsp, id: found_id, args } = packet else { panic!() };
            prop_assert_eq!((found_nsp, found_id), (&*nsp, AckId(id)));
            check_args(&args, &values, &blobs)
        })?;
    }

    #[test]
    fn connect_and_disconnect_come_back(nsp in nsp(), sid in any::<String>()) {
        there_and_back(&encode::connect(&nsp, &sid), |packet| {
            let Packet::Connect { nsp: found_nsp, auth: Some(auth) } = packet else { panic!() };
            prop_assert_eq!(found_nsp, &*nsp);
            let object: serde_json::Value = serde_json::from_str(auth).unwrap();
            prop_assert_eq!(object, serde_json::json!({ "sid": sid }));
            Ok(())
        })?;
        there_and_back(&encode::disconnect(&nsp), |packet| {
            prop_assert_eq!(packet, Packet::Disconnect { nsp: &nsp });
            Ok(())
        })?;
    }

    #[test]
    fn refusals_are_json(message in any::<String>(), data in json_values()) {
        let data = format!("[{}]", data.join(","));
        let text = text_of(&encode::connect_error("/", &message, Some(&data)));
        let object: serde_json::Value = serde_json::from_str(text.strip_prefix('4').unwrap()).unwrap();
        let data: serde_json::Value = serde_json::from_str(&data).unwrap();
        prop_assert_eq!(object, serde_json::json!({ "message": message, "data": data }));
    }

    #[test]
    fn no_input_panics(
        messages in proptest::collection::vec(
            prop_oneof![
                any::<String>().prop_map(Ok),
                "[0-9]{0,2}-?(/[a-z,]{0,3})?[0-9]{0,3}[\\[\\]{}\",:a0 ]{0,12}".prop_map(Ok),
                r#"[2356]([1-3]-)?(/x,)?1?\["a",\{"_placeholder":true,"num":[0-3]\}\]"#.prop_map(Ok),
                proptest::collection::vec(any::<u8>(), 0..5).prop_map(Err),
            ],
            0..8,
        ),
    ) {
        let limits = Limits { attachment_bytes: 8, ..Limits::default() };
        let mut decoder = Decoder::default();
        for message in &messages {
            let awaited = decoder.awaiting();
            match message {
                Ok(text) => match decoder.decode_text(text, &limits) {
                    Ok(packet) => {
                        prop_assert!(!awaited);
                        prop_assert_eq!(decoder.awaiting(), packet.is_none());
                    }
                    Err(error) => {
                        prop_assert_eq!(awaited, error == DecodeError::MissingAttachment);
                        prop_assert!(!decoder.awaiting());
                    }
                },
                Err(bytes) => match decoder.decode_binary(bytes, &limits) {
                    Ok(packet) => {
                        prop_assert!(awaited);
                        prop_assert_eq!(decoder.awaiting(), packet.is_none());
                    }
                    Err(_) => prop_assert!(!decoder.awaiting()),
                },
            }
        }
    }
}
