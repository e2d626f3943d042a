//! Payloads as clients send them, through the real packet parser.

use socketio::{packet::Packet, parser};

use super::*;

/// Parses an event packet and hands its arguments to `check`.
fn with_args<R>(packet: &str, check: impl FnOnce(&Args<'_>) -> R) -> R {
    let mut decoder = parser::Decoder::default();
    match decoder.decode_text(packet, &parser::Limits::default()).unwrap() {
        Some(Packet::Event { event, .. }) => check(&event.args),
        other => panic!("{other:?}"),
    }
}

fn message_code(payload: &str) -> Result<(), Code> {
    with_args(&format!(r#"2["message",{payload}]"#), |args| {
        message(args, &Limits::default()).map(drop).map_err(|error| error.code)
    })
}

#[test]
fn a_limit_that_is_exceeded_is_told_with_its_figures_and_its_key() {
    let nested = |depth: usize| format!("{}{{}}{}", r#"{"a":"#.repeat(depth - 1), "}".repeat(depth - 1));
    let context = |context: &str| format!(r#"{{"message":"m","context":{context}}}"#);
    let part = Bytes::from_static(&[0; 100_000]);
    for (payload, attachments, told) in [
        (
            format!(r#"{{"message":"{}"}}"#, "é".repeat(4097)),
            0,
            "message has 4,097 characters; at most 4,096 (limits.message_length)",
        ),
        (
            context(&format!(r#"{{"a":"{}"}}"#, "x".repeat(5000))),
            0,
            "context has 5,008 bytes; at most 4,096 (limits.context_bytes)",
        ),
        (context(&nested(9)), 0, "context is nested 9 deep; at most 8 (limits.context_depth)"),
        (context("{}"), 5, "context has 5 attachments; at most 4 (limits.attachments)"),
        (context("{}"), 3, "the attachments of context have 300,000 bytes; at most 262,144 (limits.attachment_bytes)"),
    ] {
        let attachments = vec![part.clone(); attachments];
        let error = message_of(&payload, &attachments, &Limits::default()).unwrap_err();
        assert_eq!(error.message.to_string(), told);
    }
}

#[test]
fn messages() {
    use Code::{ContextTooLarge, InvalidPayload, MessageEmpty, MessageTooLong, RoomInvalid};
    let text = |text: &str| format!(r#"{{"message":{text}}}"#);
    let context = |context: &str| format!(r#"{{"message":"m","context":{context}}}"#);
    let nested = |depth: usize| context(&format!("{}{}", r#"{"a":"#.repeat(depth - 1) + "{}", "}".repeat(depth - 1)));
    let sized = |bytes: usize| context(&format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8)));
    let room = |room: &str| context(&format!(r#"{{"roomId":{room}}}"#));
    let long = format!("\"{}\"", "😀".repeat(4096));
    let cases: &[(String, Result<(), Code>)] = &[
        (text(r#""hi""#), Ok(())),
        (text(r#""a\nb\tc""#), Ok(())),
        (text(&long), Ok(())),
        (text(&long.replacen('😀', "😀x", 1)), Err(MessageTooLong)),
        (text(&format!("\"{}\"", "x".repeat(4096))), Ok(())),
        (text(&format!("\"{}\"", "x".repeat(4097))), Err(MessageTooLong)),
        (text(r#""   ""#), Err(MessageEmpty)),
        (text(r#""""#), Err(MessageEmpty)),
        (text(r#"" \n\t\u3000""#), Err(MessageEmpty)),
        (text(r#""a\u0000""#), Err(InvalidPayload)),
        (text(r#""a\u007f""#), Err(InvalidPayload)),
        (text(r#""a\r\nb""#), Ok(())),
        (text(r#""\u000d\u000a\n\r\nb""#), Ok(())),
        (text(r#""\r""#), Err(InvalidPayload)),
        (text(r#""a\rb""#), Err(InvalidPayload)),
        (text(r#""a\r\r\nb""#), Err(InvalidPayload)),
        (text(r#""a\n\r""#), Err(InvalidPayload)),
        (text(r#""\r\n""#), Err(MessageEmpty)),
        (text(r#""\u2800\u3164\u200b""#), Err(MessageEmpty)),
        (text("\"\u{fe0f}\u{e0041} \""), Err(MessageEmpty)),
        (text("\"\u{200b}x\""), Ok(())),
        (text("\"❤\u{fe0f}\""), Ok(())),
        (text(r#""\ud800""#), Err(InvalidPayload)),
        (text("5"), Err(InvalidPayload)),
        (text("null"), Err(InvalidPayload)),
        ("{}".into(), Err(InvalidPayload)),
        ("[]".into(), Err(InvalidPayload)),
        (r#""text""#.into(), Err(InvalidPayload)),
        (r#"{"message":"a","message":"b"}"#.into(), Err(InvalidPayload)),
        (r#"{"message":"a","mess\u0061ge":"b"}"#.into(), Err(InvalidPayload)),
        (r#"{"message":"a","other":1,"other":2}"#.into(), Ok(())),
        (r#"{"message":"a","context":{},"context":{}}"#.into(), Err(InvalidPayload)),
        (context("null"), Ok(())),
        (context("[]"), Err(InvalidPayload)),
        (context("7"), Err(InvalidPayload)),
        (nested(8), Ok(())),
        (nested(9), Err(ContextTooLarge)),
        (context(r#"{"a":[[],{},[],{},[],{},[],{},[]],"b":"[[[[[[[[["}"#), Ok(())),
        (sized(4096), Ok(())),
        (sized(4097), Err(ContextTooLarge)),
        (context(r#"{"s":"\ud800"}"#), Ok(())),
        (room(r#""123""#), Ok(())),
        (room(&format!("\"{}\"", "r".repeat(128))), Ok(())),
        (room(&format!("\"{}\"", "r".repeat(129))), Err(RoomInvalid)),
        (room(r#""""#), Err(RoomInvalid)),
        (room(r#""a\n""#), Err(RoomInvalid)),
        (room("7"), Err(RoomInvalid)),
        (context(r#"{"roomId":"a","roomId":"b"}"#), Err(InvalidPayload)),
        (context(r#"{"replyTo":"m1"}"#), Ok(())),
        (context(r#"{"replyTo":1}"#), Err(InvalidPayload)),
        (context(&format!(r#"{{"clientId":"{}"}}"#, "c".repeat(64))), Ok(())),
        (context(&format!(r#"{{"clientId":"{}"}}"#, "c".repeat(65))), Err(InvalidPayload)),
    ];
    for (payload, expected) in cases {
        assert_eq!(message_code(payload), *expected, "{}", payload.chars().take(120).collect::<String>());
    }
}

#[test]
fn what_is_relayed_stays_as_it_was_sent() {
    let packet = r#"2["message",{ "message" : "\u00e9\r\n", "context" : { "b" : 1.0, "a":[ ], "roomId":"\u0031" } }]"#;
    with_args(packet, |args| {
        let request = message(args, &Limits::default()).unwrap();
        assert_eq!(request.message, r#""\u00e9\r\n""#);
        assert_eq!(request.context, Some(r#"{ "b" : 1.0, "a":[ ], "roomId":"\u0031" }"#));
        assert_eq!(request.room.as_deref(), Some("1"));
    });
}

#[test]
fn a_limit_of_zero_is_no_limit() {
    let limits = Limits { message_length: 0, context_bytes: 0, context_depth: 0, ..Limits::default() };
    let packet = format!(
        r#"2["message",{{"message":"{}","context":{{"a":{}1{},"b":"{}"}}}}]"#,
        "x".repeat(5000),
        "[".repeat(20),
        "]".repeat(20),
        "x".repeat(5000)
    );
    assert!(with_args(&packet, |args| message(args, &limits).is_ok()));
}

#[test]
fn typing_join_and_leave() {
    let typing_of = |args: &str| {
        with_args(&format!(r#"2["typing"{args}]"#), |args| {
            typing(args).map(|request| (request.is_typing, request.room.map(Cow::into_owned))).map_err(|e| e.code)
        })
    };
    assert_eq!(typing_of(",true"), Ok((true, None)));
    assert_eq!(typing_of(r#",false,{"roomId":"a"}"#), Ok((false, Some("a".to_owned()))));
    for args in ["", ",1", r#","true""#, ",null", ",true,5", ",true,[5]", r#",true,{"roomId":"a","roomId":"a"}"#] {
        assert_eq!(typing_of(args), Err(Code::InvalidPayload), "{args}");
    }
    assert_eq!(typing_of(r#",true,{"roomId":5}"#), Err(Code::RoomInvalid));

    let join_of = |payload: &str| {
        with_args(&format!(r#"2["join"{payload}]"#), |args| {
            join(args).map(|request| (request.room.into_owned(), request.history)).map_err(|error| error.code)
        })
    };
    assert_eq!(join_of(r#",{"roomId":"a"}"#), Ok(("a".to_owned(), None)));
    assert_eq!(join_of(r#",{"roomId":"a","history":1000}"#), Ok(("a".to_owned(), Some(HISTORY_PAGE))));
    for payload in
        [r#",{"roomId":"a","history":-1}"#, r#",{"roomId":"a","history":"5"}"#, r#",{"roomId":"a","history":1.5}"#]
    {
        assert_eq!(join_of(payload), Err(Code::InvalidPayload), "{payload}");
    }
    assert_eq!(join_of(",{}"), Err(Code::RoomInvalid));
    assert_eq!(join_of(""), Err(Code::InvalidPayload));
    assert_eq!(with_args(r#"2["leave",{"roomId":"a"}]"#, |args| leave(args).unwrap().into_owned()), "a");
}

#[test]
fn the_token_of_a_query_stands_there_once() {
    assert_eq!(query_token("EIO=3&transport=polling&token=a.b%2Bc&t=1").as_deref(), Some("a.b+c"));
    for query in ["", "EIO=3", "token", "token=", "token=a&token=b", "token=a&token="] {
        assert_eq!(query_token(query), None, "{query}");
    }
}

#[test]
fn the_token_is_a_string() {
    assert_eq!(token(Some(r#"{"token":"a.b"}"#)).as_deref(), Some("a.b"));
    for auth in
        [None, Some("{}"), Some(r#"{"token":""}"#), Some(r#"{"token":5}"#), Some(r#"{"token":"a","token":"b"}"#)]
    {
        assert_eq!(token(auth), None, "{auth:?}");
    }
}

#[test]
fn attachments_belong_into_the_context() {
    let one = r#"{"_placeholder":true,"num":0}"#;
    for (payload, expected) in [
        (format!(r#"{{"message":"m","context":{{"a":[{one}]}}}}"#), Ok(())),
        (format!(r#"{{"message":"m","context":{{}},"a":{one}}}"#), Err(Code::InvalidPayload)),
        (format!(r#"{{"message":"m","a":{one}}}"#), Err(Code::InvalidPayload)),
        (format!(r#"{{"message":{one},"context":{{}}}}"#), Err(Code::InvalidPayload)),
    ] {
        let mut decoder = parser::Decoder::default();
        let limits = parser::Limits::default();
        assert_eq!(decoder.decode_text(&format!(r#"51-["message",{payload}]"#), &limits), Ok(None));
        let whole = decoder.decode_binary(b"x", &limits).unwrap().unwrap();
        let Packet::Event { event, .. } = whole.packet() else { panic!("{payload}") };
        let code = message(&event.args, &Limits::default()).map(drop).map_err(|error| error.code);
        assert_eq!(code, expected, "{payload}");
    }
}

#[test]
fn what_serialisers_write_for_nothing_is_nothing() {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    // An event's arguments after its name, and those that say the same without what stands for nothing.
    for (event, sent, meant) in [
        ("message", r#"{"message":"m","context":null}"#, r#"{"message":"m"}"#),
        ("message", r#"{"message":"m","context":{"roomId":null}}"#, r#"{"message":"m","context":{}}"#),
        ("message", r#"{"message":"m","context":{"replyTo":null}}"#, r#"{"message":"m","context":{}}"#),
        ("message", r#"{"message":"m","context":{"replyTo":""}}"#, r#"{"message":"m","context":{}}"#),
        ("message", r#"{"message":"m","context":{"clientId":null}}"#, r#"{"message":"m","context":{}}"#),
        ("message", r#"{"message":"m","context":{"clientId":""}}"#, r#"{"message":"m","context":{}}"#),
        ("typing", "true,null", "true"),
        ("typing", "false,[]", "false"),
        ("typing", r#"true,{"roomId":null}"#, "true"),
        ("join", r#"{"roomId":"a","history":null}"#, r#"{"roomId":"a"}"#),
        ("join", r#"{"roomId":"a","history":50.0}"#, r#"{"roomId":"a","history":50}"#),
        ("join", r#"{"roomId":"a","history":5E1}"#, r#"{"roomId":"a","history":50}"#),
        ("join", r#"{"roomId":"a","history":1e400}"#, r#"{"roomId":"a","history":200}"#),
        ("history", "", "{}"),
        ("history", "null", "{}"),
        ("history", "[ ]", "{}"),
        ("history", r#"{"roomId":null,"before":null,"after":null,"limit":null}"#, "{}"),
        ("history", r#"{"before":"","after":""}"#, "{}"),
        ("history", r#"{"limit":9223372036854775807}"#, "{}"),
        ("history", r#"{"limit":50.0}"#, r#"{"limit":50}"#),
        ("history", r#"{"limit":5e1}"#, r#"{"limit":50}"#),
        ("history", r#"{"limit":-0.0}"#, r#"{"limit":0}"#),
        (
            "history",
            &format!(r#"{{"roomId":"a","before":"{id}","after":null}}"#),
            &format!(r#"{{"roomId":"a","before":"{id}"}}"#),
        ),
        ("presence", "", "{}"),
        ("presence", "null", "{}"),
        ("presence", "[]", "{}"),
        ("presence", r#"{"roomId":null}"#, "{}"),
    ] {
        let read = |args: &str| {
            let comma = if args.is_empty() { "" } else { "," };
            with_args(&format!(r#"2["{event}"{comma}{args}]"#), |args| match event {
                "message" => message(args, &Limits::default())
                    .map(|read| format!("{:?}", MessageRequest { context: None, ..read })),
                "typing" => typing(args).map(|read| format!("{read:?}")),
                "join" => join(args).map(|read| format!("{read:?}")),
                "history" => history(args).map(|read| format!("{read:?}")),
                _ => presence(args).map(|read| format!("{read:?}")),
            })
        };
        let (sent_as, meant_as) = (read(sent), read(meant));
        assert!(sent_as.is_ok(), "{event} {sent}: {sent_as:?}");
        assert_eq!(sent_as, meant_as, "{event} {sent}");
    }
    with_args(r#"2["message",{"message":"m","context":null}]"#, |args| {
        assert_eq!(message(args, &Limits::default()).unwrap().context, None, "it is not delivered");
    });
}

#[test]
fn what_must_be_there_may_not_be_null() {
    for (payload, expected) in [
        (r#"{"message":null}"#, Err(Code::InvalidPayload)),
        (r#"{"message":"m","context":{"roomId":null,"roomId":"a"}}"#, Err(Code::InvalidPayload)),
        (r#"{"message":"m","context":null,"context":{}}"#, Err(Code::InvalidPayload)),
    ] {
        assert_eq!(message_code(payload), expected, "{payload}");
    }
    let join_code =
        |payload: &str| with_args(&format!(r#"2["join",{payload}]"#), |args| join(args).map_err(|e| e.code).err());
    assert_eq!(join_code(r#"{"roomId":null}"#), Some(Code::RoomInvalid));
    assert_eq!(join_code("null"), Some(Code::InvalidPayload));
    let history_code =
        |args: &str| with_args(&format!(r#"2["history",{args}]"#), |args| history(args).map_err(|e| e.code).err());
    for args in ["5", "[5]", "[[]]", "true", r#""room""#, r#"{"limit":1.5}"#, r#"{"limit":-1}"#, r#"{"before":"x"}"#] {
        assert_eq!(history_code(args), Some(Code::InvalidPayload), "{args}");
    }
    assert_eq!(token(Some(r#"{"token":null}"#)), None);
}

#[test]
fn what_php_makes_of_an_empty_context_is_no_strike() {
    for (context, strike) in [("[]", false), ("[ ]", false), ("[1]", true), ("5", true)] {
        with_args(&format!(r#"2["message",{{"message":"m","context":{context}}}]"#), |args| {
            let error = message(args, &Limits::default()).unwrap_err();
            assert_eq!((error.code, error.strike), (Code::InvalidPayload, strike), "{context}");
        });
    }
}
