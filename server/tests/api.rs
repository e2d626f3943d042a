//! The HTTP API of the real binary, beside clients of it.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use support::{Client, PATIENCE, Server, run, token};

const KEYS: &str = r#"http.api_key=["ops:0123456789abcdef0123456789abcdef","app:fedcba9876543210fedcba9876543210"]"#;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Both kinds of stores, with one shard and with several.
const SERVERS: [&[&str]; 4] = [
    &[KEYS, "store.kind=memory", "workers=1"],
    &[KEYS, "store.kind=memory", "workers=3"],
    &[KEYS, "store.kind=sqlite", "workers=1"],
    &[KEYS, "store.kind=sqlite", "workers=3"],
];

/// A call with these headers. Returns status and body.
fn call_with(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A call with a key. While it waits, nothing else of the test runs.
fn call(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let headers = format!("Authorization: Bearer {SECRET}\r\nContent-Type: application/json\r\n");
    call_with(server, method, path, &headers, body)
}

/// A call that is to succeed.
fn ok(server: &Server, method: &str, path: &str, body: &str) -> String {
    let (status, answer) = call(server, method, path, body);
    assert_eq!(status, 200, "{method} {path}: {answer}");
    answer
}

/// The values of `name` in JSON text, in order.
fn values<'a>(json: &'a str, name: &str) -> Vec<&'a str> {
    let key = format!("\"{name}\":\"");
    let rest = json.split(&key).skip(1);
    rest.map(|rest| rest.split('"').next().unwrap()).collect()
}

async fn join(server: &Server, user: &str, room: &str) -> Client {
    let mut client = server.connect(user).await;
    client.send(&format!(r#"420["join",{{"roomId":"{room}"}}]"#)).await;
    client.until(r#"430[{"ok":true"#).await;
    client
}

#[test]
fn a_message_of_the_api_is_like_one_of_a_client_and_is_sent_once() {
    for keys in SERVERS {
        run(async {
            let server = Server::start(keys);
            let mut alice = join(&server, "alice", "r").await;
            let body =
                r#"{"userId":"bob","message":"é \"quoted\"","context":{"roomId":"r","clientId":"x", "n":[1.50]}}"#;
            let first = ok(&server, "POST", "/api/messages", body);
            assert_eq!(ok(&server, "POST", "/api/messages", body), first, "the same message");
            let [id] = values(&first, "id")[..] else { panic!("{first}") };
            let [timestamp] = values(&first, "timestamp")[..] else { panic!("{first}") };
            let message = format!(
                r#"{{"id":"{id}","message":"é \"quoted\"","timestamp":"{timestamp}","context":{{"roomId":"r","clientId":"x", "n":[1.50]}},"userId":"bob","username":"bob"}}"#
            );
            // Behind it comes the offset.
            let received = alice.until(r#"42["message""#).await;
            assert!(received.starts_with(&format!(r#"42["message",{message}"#)), "{received}");
            ok(
                &server,
                "POST",
                "/api/messages",
                r#"{"userId":"bob","username":"Bob","message":"2","context":{"roomId":"r"}}"#,
            );
            let second = alice.until(r#"42["message""#).await;
            assert!(second.contains(r#""message":"2""#) && second.contains(r#""username":"Bob""#), "{second}");
            let page = ok(&server, "GET", "/api/rooms/r/messages", "");
            assert!(page.contains(&message) && values(&page, "id").len() == 2, "{page}");
        });
    }
}

#[test]
fn pages_of_rooms_and_messages_have_no_gap_and_no_overlap() {
    for keys in SERVERS {
        run(async {
            let server = Server::start(keys);
            let _member = join(&server, "alice", "room 07").await;
            for n in 0..25 {
                let room = n % 12;
                let body = format!(r#"{{"userId":"bob","message":"{n}","context":{{"roomId":"room {room:02}"}}}}"#);
                ok(&server, "POST", "/api/messages", &body);
            }
            let (mut rooms, mut after) = (Vec::new(), String::new());
            loop {
                let page = ok(&server, "GET", &format!("/api/rooms?limit=5{after}"), "");
                let ids = values(&page, "roomId");
                rooms.extend(ids.iter().map(|id| (*id).to_owned()));
                if page.ends_with(r#""more":false}"#) {
                    break;
                }
                after = format!("&after={}", ids.last().unwrap().replace(' ', "%20"));
            }
            let expected = ["lobby".to_owned()].into_iter().chain((0..12).map(|n| format!("room {n:02}")));
            assert_eq!(rooms, expected.collect::<Vec<_>>());
            let page = ok(&server, "GET", "/api/rooms?after=room%2006&limit=1", "");
            assert_eq!(page, r#"{"rooms":[{"roomId":"room 07","users":1,"messages":2}],"more":true}"#);
            let page = ok(&server, "GET", "/api/rooms/room%2000/messages?limit=2", "");
            assert_eq!((values(&page, "message"), page.ends_with(r#""more":true}"#)), (vec!["12", "24"], true));
            let first = values(&page, "id")[0];
            let older = ok(&server, "GET", &format!("/api/rooms/room%2000/messages?before={first}"), "");
            assert_eq!((values(&older, "message"), older.ends_with(r#""more":false}"#)), (vec!["0"], true));
            let newer = ok(&server, "GET", &format!("/api/rooms/room%2000/messages?after={first}"), "");
            assert_eq!(values(&newer, "message"), ["24"]);
            let presence = ok(&server, "GET", "/api/rooms/room%2007/presence", "");
            assert_eq!(presence, r#"{"users":[{"userId":"alice","username":"alice","isOnline":true}],"total":1}"#);
        });
    }
}

#[test]
fn what_is_deleted_is_in_no_history_and_members_are_told() {
    for keys in SERVERS {
        run(async {
            let server = Server::start(keys);
            let mut alice = join(&server, "alice", "r").await;
            let mut ids = Vec::new();
            for (user, room) in [("bob", "r"), ("eve", "r"), ("bob", "other"), ("eve", "r"), ("eve", "other")] {
                let body = format!(r#"{{"userId":"{user}","message":"x","context":{{"roomId":"{room}"}}}}"#);
                ids.push(values(&ok(&server, "POST", "/api/messages", &body), "id")[0].to_owned());
            }
            let told = |id: &str| format!(r#"42["messageDeleted",{{"id":"{id}","roomId":"r"}}]"#);
            ok(&server, "DELETE", &format!("/api/messages/{}", ids[0]), "");
            assert_eq!(alice.until(r#"42["messageDeleted""#).await, told(&ids[0]));
            assert_eq!(call(&server, "DELETE", &format!("/api/messages/{}", ids[0]), "").0, 404);
            assert_eq!(call(&server, "DELETE", &format!("/api/messages/{}?roomId=other", ids[1]), "").0, 404);
            assert_eq!(ok(&server, "DELETE", &format!("/api/messages/{}?roomId=other", ids[2]), ""), r#"{"ok":true}"#);
            assert_eq!(ok(&server, "DELETE", "/api/users/eve/messages", ""), r#"{"ok":true,"deleted":3}"#);
            // Nothing was told of the other room, where alice is not.
            for id in [&ids[1], &ids[3]] {
                assert_eq!(alice.until(r#"42["messageDeleted""#).await, told(id));
            }
            for room in ["r", "other"] {
                let page = ok(&server, "GET", &format!("/api/rooms/{room}/messages"), "");
                assert_eq!(page, r#"{"messages":[],"more":false}"#);
            }
            alice.send(r#"421["history",{"roomId":"r"}]"#).await;
            assert_eq!(alice.until("431").await, r#"431[{"ok":true,"messages":[],"more":false}]"#);
            assert_eq!(ok(&server, "DELETE", "/api/users/eve/messages", ""), r#"{"ok":true,"deleted":0}"#);
        });
    }
}

#[test]
fn a_user_is_disconnected_and_may_come_back() {
    for keys in SERVERS {
        run(async {
            let server = Server::start(keys);
            let (mut first, mut second) = (server.connect("bob").await, server.connect("bob").await);
            let mut alice = server.connect("alice").await;
            let answer = ok(&server, "POST", "/api/users/bob/disconnect", "");
            assert_eq!(answer, r#"{"ok":true,"disconnected":2}"#);
            for client in [&mut first, &mut second] {
                let error = client.until(r#"42["error""#).await;
                assert!(error.contains(r#""code":"disconnected""#), "{error}");
                client.until("41").await;
            }
            let _back = server.connect("bob").await;
            alice.send(r#"420["message",{"message":"x"}]"#).await;
            alice.until(r#"430[{"ok":true"#).await;
        });
    }
}

/// The answer to a CONNECT.
async fn connect(server: &Server, user: &str) -> String {
    let mut client = server.open().await;
    client.send(&format!(r#"40{{"token":"{}"}}"#, token(user))).await;
    client.until("4").await
}

#[test]
fn a_ban_is_effective_at_once_and_kept_in_the_store() {
    for keys in SERVERS {
        run(async {
            let data = tempfile::tempdir().unwrap();
            let data_dir = format!("data_dir={}", data.path().display());
            let keys: Vec<&str> = keys.iter().copied().chain([data_dir.as_str()]).collect();
            let mut server = Server::start(&keys);
            let mut eve = server.connect("eve").await;
            let ban = ok(&server, "PUT", "/api/users/eve/ban", r#"{"reason":"spam"}"#);
            assert!(ban.contains(r#""reason":"spam""#) && ban.contains(r#""disconnected":1"#), "{ban}");
            let error = eve.until(r#"42["error""#).await;
            assert!(error.contains(r#""code":"banned""#) && !error.contains("spam"), "{error}");
            eve.until("41").await;
            let refused = r#"44{"message":"unauthorized","data":{"code":"banned"}}"#;
            assert_eq!(connect(&server, "eve").await, refused);
            assert!(connect(&server, "bob").await.starts_with("40"));
            if keys.contains(&"store.kind=sqlite") {
                drop(server);
                server = Server::start(&keys);
                assert_eq!(connect(&server, "eve").await, refused);
            }
            let bans = ok(&server, "GET", "/api/bans", "");
            assert!(bans.starts_with(r#"{"bans":[{"userId":"eve","reason":"spam","bannedAt":""#), "{bans}");
            assert_eq!(ok(&server, "DELETE", "/api/users/eve/ban", ""), r#"{"ok":true,"wasBanned":true}"#);
            assert_eq!(ok(&server, "DELETE", "/api/users/eve/ban", ""), r#"{"ok":true,"wasBanned":false}"#);
            assert!(connect(&server, "eve").await.starts_with("40"));
            assert_eq!(ok(&server, "GET", "/api/bans", ""), r#"{"bans":[],"more":false}"#);
        });
    }
}

#[test]
fn only_whoever_has_a_key_is_served_and_errors_say_what_to_do() {
    let server = Server::start(&[KEYS]);
    let error = |answer: &(u16, String)| (answer.0, values(&answer.1, "code").first().map(|code| (*code).to_owned()));
    let expect = |answer: (u16, String), status: u16, code: &str| {
        assert_eq!(error(&answer), (status, Some(code.to_owned())), "{}", answer.1);
        assert!(!values(&answer.1, "message")[0].is_empty());
    };
    for headers in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic b3BzOng=\r\n"] {
        expect(call_with(&server, "GET", "/api/rooms", headers, ""), 401, "unauthorized");
    }
    let other = "Authorization: bearer fedcba9876543210fedcba9876543210\r\n";
    assert_eq!(call_with(&server, "GET", "/api/rooms", other, "").0, 200);
    // Whoever has no key cannot make the server read a body either.
    expect(call_with(&server, "POST", "/api/messages", "", &"x".repeat(2_000_000)), 401, "unauthorized");
    expect(call(&server, "POST", "/api/messages", &"x".repeat(1_000_001)), 413, "body_too_large");
    expect(call(&server, "POST", "/api/rooms", ""), 405, "method_not_allowed");
    expect(call(&server, "GET", "/api/", ""), 404, "not_found");
    let plain = format!("Authorization: Bearer {SECRET}\r\nContent-Type: text/plain\r\n");
    expect(call_with(&server, "POST", "/api/messages", &plain, "{}"), 415, "unsupported_media_type");
    for (body, code) in [
        ("", "invalid_payload"),
        ("[]", "invalid_payload"),
        ("{", "invalid_payload"),
        (r#"{"message":"x"}"#, "invalid_payload"),
        (r#"{"userId":7,"message":"x"}"#, "invalid_payload"),
        (r#"{"userId":"","message":"x"}"#, "user_invalid"),
        (r#"{"userId":"a","userId":"b","message":"x"}"#, "invalid_payload"),
        (r#"{"userId":"a","username":" ","message":"x"}"#, "invalid_payload"),
        (r#"{"userId":"a","message":" "}"#, "message_empty"),
        (r#"{"userId":"a","message":"x","context":{"roomId":""}}"#, "room_invalid"),
        (r#"{"userId":"a","message":"x","context":[[]]}"#, "invalid_payload"),
    ] {
        expect(call(&server, "POST", "/api/messages", body), 400, code);
    }
    let description = call_with(&server, "GET", "/api/openapi.json", "", "");
    assert!(description.0 == 200 && description.1.contains(r#""openapi": "3.1.0""#));
    let without = Server::start(&[]);
    expect(call(&without, "GET", "/api/rooms", ""), 404, "api_off");
}

/// The fields of the lines of a server's log with this message, after its end.
fn logged(mut server: Server, message: &str) -> Vec<serde_json::Value> {
    let sent = Command::new("kill").args(["-s", "TERM", &server.process.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut log = String::new();
    server.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.map(|mut line| line["fields"].take()).filter(|fields| fields["message"] == message).collect()
}

#[test]
fn many_actions_hide_none_from_the_log() {
    for store in ["store.kind=memory", "store.kind=sqlite"] {
        let server = Server::start_logging(&[KEYS, store, "log.level=info", "log.format=json"]);
        let body = r#"{"userId":"bob","message":"x","context":{"roomId":"r"}}"#;
        let ids: Vec<String> =
            (0..40).map(|_| values(&ok(&server, "POST", "/api/messages", body), "id")[0].to_owned()).collect();
        for id in &ids[1..] {
            ok(&server, "DELETE", &format!("/api/messages/{id}"), "");
        }
        ok(&server, "PUT", "/api/users/eve/ban", r#"{"reason":"spam\nERROR forged"}"#);
        ok(&server, "DELETE", "/api/users/bob/messages", "");
        assert_eq!(call(&server, "DELETE", &format!("/api/messages/{}", ids[0]), "").0, 404);
        let lines = logged(server, "API");
        assert_eq!(lines.len(), 42, "{lines:?}");
        for (line, id) in lines.iter().zip(&ids[1..]) {
            let expected =
                format!(r#"{{"message":"API","key":"ops","action":"delete message","id":"{id}","room":"r"}}"#);
            assert_eq!(line, &serde_json::from_str::<serde_json::Value>(&expected).unwrap());
        }
        let expected = [
            serde_json::json!({ "message": "API", "key": "ops", "action": "ban", "user": "eve", "count": 0,
                "reason": "spam\nERROR forged" }),
            serde_json::json!({ "message": "API", "key": "ops", "action": "delete messages of user", "user": "bob",
                "count": 1 }),
            serde_json::json!({ "message": "API", "key": "ops", "action": "delete message", "id": ids[0],
                "error": "message_not_found" }),
        ];
        assert_eq!(lines[39..], expected);
    }
}

#[test]
fn a_guess_at_a_key_is_logged_and_counted() {
    let server = Server::start_logging(&[KEYS, "log.level=debug", "log.format=json"]);
    // Tests connect from loopback, where a proxy is trusted by default.
    for (forwarded, secret) in [("", "guess-1"), ("X-Forwarded-For: 192.0.2.7\r\n", "guess-2")] {
        let headers = format!("{forwarded}Authorization: Bearer {secret}\r\n");
        assert_eq!(call_with(&server, "GET", "/api/rooms", &headers, "").0, 401);
    }
    ok(&server, "GET", "/api/rooms", "");
    let metrics = call_with(&server, "GET", "/metrics", "", "").1;
    for line in [
        r#"chat_api_requests_total{status="401"} 2"#,
        r#"chat_api_requests_total{status="200"} 1"#,
        r#"chat_api_requests_total{status="503"} 0"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    let refused = logged(server, "API: a request without a valid key is refused");
    let clients: Vec<&str> = refused.iter().map(|fields| fields["client"].as_str().unwrap()).collect();
    assert_eq!(clients, ["127.0.0.1", "192.0.2.7"]);
    assert!(!format!("{refused:?}").contains("guess"), "{refused:?}");
}
