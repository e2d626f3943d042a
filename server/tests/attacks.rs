//! What attackers send, against the real binary: bytes, and what has to come of them. After each of them the server still answers, and a
//! bystander still talks.
//!
//! Behind each HTTP request of an attack stands another one, so that a body whose end is misread shows as an answer too many or too few.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use support::{Client, PATIENCE, Server, run};

/// Behind it the server closes the connection.
const LAST: &str = "GET /canary HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The path of the engine, for long-polling.
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A server, and a user who does nothing wrong.
struct Attacked {
    server: Server,
    bystander: Client,
    acknowledged: usize,
}

impl Attacked {
    async fn start() -> Self {
        let server = Server::start_logging(&[
            "limits.message_rate=0",
            "limits.strikes=0",
            "limits.connect_user_rate=0",
            "log.level=warn",
        ]);
        let bystander = server.connect("bystander").await;
        Self { server, bystander, acknowledged: 0 }
    }

    /// Sends bytes, and reads until the server closes.
    fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the connection is not closed: {error}");
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A session over long-polling.
    fn open_polling(&self) -> String {
        let answer =
            self.exchange(format!("GET {POLLING} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        let sid = answer.split_once(r#""sid":""#).and_then(|(_, rest)| rest.split_once('"'));
        sid.unwrap_or_else(|| panic!("{answer}")).0.to_owned()
    }

    /// The server answers, and the bystander's socket works.
    async fn check(&mut self, name: &str) {
        let health = self.exchange(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(statuses(&health), [200], "after {name}: {health}");
        let ack = self.acknowledged;
        self.acknowledged += 1;
        self.bystander.send(&format!(r#"42{ack}["message",{{"message":"x"}}]"#)).await;
        self.bystander.until(&format!(r#"43{ack}[{{"ok":true"#)).await;
    }

    /// Nothing panicked, and the server ends as it should.
    fn end(mut self) {
        let sent = Command::new("kill").args(["-s", "TERM", &self.server.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let mut log = String::new();
        self.server.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(self.server.process.wait().unwrap().code(), Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// The statuses of the answers on one connection, in order.
fn statuses(answers: &str) -> Vec<u16> {
    let starts = answers.match_indices("HTTP/1.").map(|(at, _)| &answers[at..]);
    starts.filter_map(|answer| answer.get(9..12)?.parse().ok()).collect()
}

/// A POST without a session, whose framing is these headers and this body.
fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST {POLLING} HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}").into_bytes()
}

/// A GET with these headers.
fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\n{headers}\r\n").into_bytes()
}

/// Requests whose framing is wrong. After each but those that RFC 9110 and RFC 9112 allow the connection ends.
fn framing() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    const REFUSED: &[u16] = &[400];
    // An unknown session is 400 as well; the request behind it is read where it begins.
    const READ: &[u16] = &[400, 404];
    let length = |value: &str| post(&format!("Content-Length: {value}\r\n"), "xx");
    let coding = |value: &str| post(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n");
    let chunks = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    vec![
        ("length and coding", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), REFUSED),
        // RFC 9110, 8.6 allows it.
        ("one length twice", post("Content-Length: 2\r\nContent-Length: 2\r\n", "xx"), READ),
        ("two lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n", "x"), REFUSED),
        ("a list of lengths", length("2, 2"), REFUSED),
        ("leading zeros", length("00002"), READ),
        ("a length with a plus", length("+2"), REFUSED),
        ("a negative length", length("-1"), REFUSED),
        ("minus zero", length("-0"), REFUSED),
        ("a hexadecimal length", length("0x2"), REFUSED),
        ("a length of two words", length("2 2"), REFUSED),
        ("a length over 64 bits", length("18446744073709551616"), REFUSED),
        ("an empty length", length(""), REFUSED),
        ("a length with an underscore", length("1_0"), REFUSED),
        ("an unknown coding", coding("xchunked"), REFUSED),
        ("a second coding", coding("chunked, identity"), REFUSED),
        ("identity", coding("identity"), REFUSED),
        ("a control character before the coding", coding("\u{b}chunked"), REFUSED),
        ("a parameter of the coding", coding("chunked;a=b"), REFUSED),
        (
            "the coding twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            REFUSED,
        ),
        ("a space before the colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), REFUSED),
        ("a folded line", post("X: a\r\n b\r\n", ""), REFUSED),
        (
            "a coding in HTTP/1.0",
            b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            REFUSED,
        ),
        ("a negative chunk", chunks("-2\r\nxx\r\n0\r\n\r\n"), REFUSED),
        ("a chunk with a plus", chunks("+2\r\nxx\r\n0\r\n\r\n"), REFUSED),
        ("a chunk behind a space", chunks(" 2\r\nxx\r\n0\r\n\r\n"), REFUSED),
        ("a chunk with a prefix", chunks("0x2\r\nxx\r\n0\r\n\r\n"), REFUSED),
        ("a chunk over 64 bits", chunks("10000000000000002\r\nxx\r\n0\r\n\r\n"), REFUSED),
        ("chunks with bare line feeds", chunks("2\nxx\n0\n\n"), REFUSED),
        ("a chunk that is longer than it says", chunks("2\r\nxxx0\r\n\r\n"), REFUSED),
        ("an extension with an open quote", chunks("1;ext=\"\r\nx\r\n0\r\n\r\n"), REFUSED),
    ]
}

/// Heads that are wrong, or that are right and are nothing to fear.
fn heads() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let many: String = (0..150).map(|n| format!("X{n}: 1\r\n")).collect();
    vec![
        ("no host", get("/healthz", ""), &[400]),
        ("two hosts", get("/healthz", "Host: a\r\nHost: b\r\n"), &[400]),
        ("a host with a space", get("/healthz", "Host: a b\r\n"), &[400]),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400]),
        ("an unknown version", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_vec(), &[400]),
        ("a target of 70 kB", get(&format!("/{}", "a".repeat(70_000)), "Host: a\r\n"), &[431]),
        ("150 headers", get("/healthz", &format!("Host: a\r\n{many}")), &[431]),
        ("a carriage return in a header", get("/healthz", "Host: a\r\nX: a\rb\r\n"), &[400]),
        ("a NUL in a header", get("/healthz", "Host: a\r\nX: a\0b\r\n"), &[400]),
        ("the beginning of TLS", [b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03".as_slice(), &[b'a'; 200]].concat(), &[400]),
        ("absolute form", get("http://evil.example/healthz", "Host: a\r\n"), &[200, 404]),
        ("a path with two slashes", get("//evil.example/healthz", "Host: a\r\n"), &[404, 404]),
        ("a path out of the root", get("/../../etc/passwd", "Host: a\r\n"), &[404, 404]),
        ("CONNECT", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_vec(), &[405, 404]),
        ("TRACE", b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), &[405, 404]),
        ("an upgrade to HTTP/2", get("/healthz", "Host: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"), &[200, 404]),
    ]
}

#[test]
fn no_request_is_read_as_two_and_no_two_as_one() {
    run(async {
        let mut attacked = Attacked::start().await;
        for (name, mut bytes, expected) in framing().into_iter().chain(heads()) {
            bytes.extend_from_slice(LAST.as_bytes());
            let answer = attacked.exchange(&bytes);
            assert_eq!(statuses(&answer), expected, "{name}: {answer}");
            attacked.check(name).await;
        }
        attacked.end();
    });
}

/// Queries of handshakes, and what is wrong with them.
const HANDSHAKES: [(&str, &str); 11] = [
    ("transport=polling", "Unsupported protocol version"),
    ("EIO=3&transport=polling", "Unsupported protocol version"),
    ("EIO=99&transport=polling", "Unsupported protocol version"),
    ("EIO=4&EIO=3&transport=polling", "Unsupported protocol version"),
    ("EIO=4", "Transport unknown"),
    ("EIO=4&transport=__proto__", "Transport unknown"),
    ("EIO=4&transport=constructor", "Transport unknown"),
    ("EIO=4&transport=toString", "Transport unknown"),
    ("EIO=4&transport=polling&sid=__proto__", "Session ID unknown"),
    ("EIO=4&transport=polling&sid=constructor", "Session ID unknown"),
    ("EIO=4&transport=websocket", "Bad request"),
];

/// Bodies of a POST that end their session: a name, headers, the body, and the status of the answer.
fn posts() -> Vec<(&'static str, &'static str, Vec<u8>, u16)> {
    let octets = "Content-Type: application/octet-stream\r\n";
    vec![
        ("nothing", "", b"".to_vec(), 400),
        ("an unknown type", "", b"9".to_vec(), 400),
        ("the type of binary over WebSocket", "", b"7abc".to_vec(), 400),
        ("a separator", "", b"\x1e".to_vec(), 400),
        ("1,000 separators", "", vec![0x1e; 1000], 400),
        ("base64 that is none", "", b"b!!!!".to_vec(), 400),
        ("bytes that are no UTF-8", "", b"4\xff\xfe".to_vec(), 400),
        ("20,000 pongs", "", ["3"; 20_000].join("\x1e").into_bytes(), 400),
        ("the type of binary payloads", octets, b"40".to_vec(), 400),
        // Of the right form, so the POST succeeds, as in Node; but only a server sends a ping.
        ("a packet of the server", "", b"2".to_vec(), 200),
        ("the framing of version 3", "", b"2:40".to_vec(), 200),
    ]
}

#[test]
fn what_is_no_handshake_opens_no_session_and_what_is_no_packet_ends_one() {
    run(async {
        let mut attacked = Attacked::start().await;
        for (query, message) in HANDSHAKES {
            let request = get(&format!("/socket.io/?{query}"), "Host: a\r\nConnection: close\r\n");
            let answer = attacked.exchange(&request);
            assert_eq!(statuses(&answer), [400], "{query}: {answer}");
            assert!(answer.contains(message), "{query}: {answer}");
            attacked.check(query).await;
        }
        for (name, headers, body, status) in posts() {
            let sid = attacked.open_polling();
            let head = format!(
                "POST {POLLING}&sid={sid} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
                body.len()
            );
            let answer = attacked.exchange(&[head.as_bytes(), &body].concat());
            assert_eq!(statuses(&answer), [status], "{name}: {answer}");
            let poll = get(&format!("{POLLING}&sid={sid}"), "Host: a\r\nConnection: close\r\n");
            let answer = attacked.exchange(&poll);
            assert!(statuses(&answer) == [400] && answer.contains("Session ID unknown"), "{name}: {answer}");
            attacked.check(name).await;
        }
        attacked.end();
    });
}

/// A frame with a mask of zeros, whose first byte is this.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => vec![0x80 | length as u8],
        Ok(length) => [&[0xfe], length.to_be_bytes().as_slice()].concat(),
        Err(_) => [&[0xff], (payload.len() as u64).to_be_bytes().as_slice()].concat(),
    };
    [&[first], length.as_slice(), &[0; 4], payload].concat()
}

fn text(packet: &str) -> Vec<u8> {
    frame(0x81, packet.as_bytes())
}

/// What comes of bytes on a WebSocket.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// The connection ends, with this code in the close frame, if it has one.
    Closed(Option<u16>),
    /// A packet that begins like this comes, and the socket works on.
    Answered(&'static str),
    /// Nothing comes of it, and the socket works on.
    Ignored,
}

use Outcome::{Answered, Closed, Ignored};

/// Frames that RFC 6455 forbids.
fn frames() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    const PROTOCOL: Outcome = Closed(Some(1002));
    vec![
        ("without a mask", b"\x81\x012".to_vec(), PROTOCOL),
        ("a reserved bit", frame(0xc1, b"2"), PROTOCOL),
        ("a reserved type of data", frame(0x83, b""), PROTOCOL),
        ("a reserved type of control", frame(0x8b, b""), PROTOCOL),
        ("a ping of 126 bytes", frame(0x89, &[b'x'; 126]), PROTOCOL),
        ("a ping in pieces", frame(0x09, b""), PROTOCOL),
        ("a continuation of nothing", frame(0x80, b"x"), PROTOCOL),
        ("a close frame of one byte", frame(0x88, b"x"), PROTOCOL),
        ("the close code 1005", frame(0x88, &1005_u16.to_be_bytes()), PROTOCOL),
        ("the close code 999", frame(0x88, &999_u16.to_be_bytes()), PROTOCOL),
        ("text that is no UTF-8", frame(0x81, b"42\xed\xa0\x80"), Closed(Some(1007))),
        ("a length in too many bytes", b"\x81\xfe\0\x01\0\0\0\x002".to_vec(), PROTOCOL),
        (
            "a length of 2^62",
            [b"\x82\xff".as_slice(), &(1_u64 << 62).to_be_bytes(), &[0; 4]].concat(),
            Closed(Some(1009)),
        ),
        (
            "a length with the highest bit",
            [b"\x82\xff".as_slice(), &((1_u64 << 63) + 1).to_be_bytes(), &[0; 4]].concat(),
            PROTOCOL,
        ),
        ("an empty message", frame(0x81, b""), Closed(None)),
    ]
}

/// Packets that are none: the connection ends.
const NO_PACKETS: [&str; 42] = [
    "9",
    "7",
    "x",
    "42",
    "42{}",
    "42[]",
    r#"42[1,"x"]"#,
    r#"42["a"] x"#,
    r#"42[{"toString":"foo"}]"#,
    "42[null]",
    "42[true,1]",
    r#"42["connect"]"#,
    r#"42["connect_error",1]"#,
    r#"42["disconnect"]"#,
    r#"42["disconnecting","x"]"#,
    r#"42["newListener"]"#,
    r#"42["removeListener"]"#,
    r#"42-1["a"]"#,
    r#"4299999999999999999999["presence"]"#,
    "43",
    "40",
    "41/nope,",
    "44{}",
    "45",
    "451",
    "45-",
    "451.5-",
    r#"451e1-["a"]"#,
    r#"450x1-["a"]"#,
    r#"45+1-["a"]"#,
    r#"45 1-["a"]"#,
    r#"450-["a"]"#,
    r#"45999999999999999999999999999999999999999999-["a"]"#,
    r#"451-["message",{"_placeholder":true,"num":"splice"}]"#,
    r#"451-["message",{"_placeholder":true,"num":0.5}]"#,
    r#"451-["message",{"_placeholder":true,"num":-1}]"#,
    r#"451-["message",{"_placeholder":true,"num":1}]"#,
    r#"451-["message",{"_placeholder":true,"num":null}]"#,
    r#"42["a""#,
    r#"42["a",]"#,
    r#"42["a","\ud800"#,
    "42/nope,[1]",
];

/// Packets that a chat must answer.
fn packets() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    vec![
        (
            "the name of an event of the client library",
            text(r#"42["error","x"]"#),
            Answered(r#"42["error",{"message":"no such event""#),
        ),
        ("the name of a property", text(r#"42["constructor"]"#), Answered(r#"42["error",{"message":"no such event""#)),
        ("an acknowledgement of nothing", text("435[]"), Ignored),
        ("an unknown namespace", text("40/nope,{}"), Answered(r#"44/nope,{"message":"Invalid namespace"}"#)),
        ("a namespace called as a property", text("40/__proto__,"), Answered("44/__proto__,")),
        ("a number without end", text(r#"421["message",{"message":1e999}]"#), Answered(r#"431[{"ok":false"#)),
        ("a room called as a property", text(r#"421["join",{"roomId":"__proto__"}]"#), Answered(r#"431[{"ok":true"#)),
        ("an infinite limit", text(r#"421["history",{"limit":1e400}]"#), Answered(r#"431[{"ok":true"#)),
        (
            "an object instead of a truth value",
            text(r#"421["typing",{"__proto__":1}]"#),
            Answered(r#"431[{"ok":false"#),
        ),
        ("a lone surrogate", text(r#"421["message",{"message":"\ud800"}]"#), Answered(r#"431[{"ok":false"#)),
        ("depth 129", text(&deep(127)), Answered(TOO_DEEP)),
        ("depth 5,000", text(&deep(5_000)), Answered(TOO_DEEP)),
        ("depth 100,000", text(&deep(100_000)), Answered(TOO_DEEP)),
        (
            "a number of 100,000 digits",
            text(&format!(r#"421["message",{{"message":"x","context":{{"n":{}}}}}]"#, "1".repeat(100_000))),
            Answered(
                r#"431[{"ok":false,"error":{"message":"a number has more than 40 characters","code":"invalid_payload""#,
            ),
        ),
        (
            "11 attachments",
            [text(r#"4511-1["message",{"message":"x"}]"#), frame(0x82, b"x").repeat(11)].concat(),
            Answered(r#"431[{"ok":false,"error":{"message":"more than 10 attachments","code":"context_too_large""#),
        ),
        (
            "attachments larger than engine.max_payload, and one more",
            [text(THREE_FILES), frame(0x82, &vec![7; 600_000]).repeat(2), frame(0x82, b"x")].concat(),
            Answered(
                r#"431[{"ok":false,"error":{"message":"the attachments are larger than engine.max_payload allows","code":"context_too_large""#,
            ),
        ),
        (
            "another event with 11 attachments",
            [text(r#"4511-["a"]"#), frame(0x82, b"x").repeat(11)].concat(),
            Answered(r#"42["error",{"message":"no such event""#),
        ),
        (
            "attachments without end",
            [text(r#"452147483648-["message"]"#), frame(0x82, b"x").repeat(1000), text(r#"42["presence"]"#)].concat(),
            Closed(None),
        ),
        ("binary without a header", frame(0x82, b"abc"), Closed(None)),
        (
            "text between attachments",
            [text(r#"451-["message",{"_placeholder":true,"num":0}]"#), text(r#"42["presence"]"#)].concat(),
            Closed(None),
        ),
        ("an upgrade of what is a WebSocket", text("5"), Ignored),
    ]
}

/// A message that announces three attachments.
const THREE_FILES: &str = r#"453-1["message",{"message":"x","context":{"files":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]}}]"#;

const TOO_DEEP: &str = r#"42["error",{"message":"nested deeper than 128","code":"context_too_large","event":"message""#;

/// A message whose context is nested so deep.
fn deep(depth: usize) -> String {
    format!(r#"42["message",{{"message":"x","context":{}{}}}]"#, "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn what_is_wrong_on_a_web_socket_ends_it_and_nothing_else() {
    run(async {
        let mut attacked = Attacked::start().await;
        let no_packets = NO_PACKETS.into_iter().map(|packet| (packet, text(packet), Closed(None)));
        for (name, bytes, outcome) in frames().into_iter().chain(no_packets).chain(packets()) {
            let mut attacker = attacked.server.connect("attacker").await;
            attacker.send_raw(&bytes).await;
            match outcome {
                Closed(code) => assert_eq!(attacker.close_code().await, code, "{name}"),
                Answered(start) => drop(attacker.until(start).await),
                Ignored => {}
            }
            if !matches!(outcome, Closed(_)) {
                attacker.send(r#"429["typing",false]"#).await;
                attacker.until(r#"439[{"ok":true"#).await;
            }
            attacked.check(name).await;
        }
        attacked.end();
    });
}
