//! The application's hooks: who may connect, ids, headers, and reports of refusals.

use engineio::{
    hooks::{ConnectionErrorEvent, Hooks, IdGenerationError, Outcome, Request, SidPart, Verdict},
    http::Origins,
};
use http::{HeaderMap, HeaderValue};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::support::{Response, TestServer, request, sid_of, soon, upgrade_request};

/// Does what the words in a request's query say.
struct Wordy(UnboundedSender<String>);

fn says(request: &Request<'_>, word: &str) -> bool {
    request.uri.query().is_some_and(|query| query.split('&').any(|said| said == word))
}

fn now_or_later<T: 'static>(request: &Request<'_>, value: T) -> Outcome<T> {
    if !says(request, "later") {
        return Outcome::Ready(value);
    }
    Outcome::pending(async {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        value
    })
}

impl Hooks for Wordy {
    fn allow_request(&mut self, request: &Request<'_>) -> Outcome<Verdict> {
        assert!(!says(request, "boom"), "asked to panic");
        let message = says(request, "why").then(|| "\"why\"".to_owned());
        let refused = says(request, "refuse") || says(request, "why");
        now_or_later(request, if refused { Verdict::Refuse { message } } else { Verdict::Allow })
    }

    fn generate_id(&mut self, request: &Request<'_>) -> Outcome<Result<Option<SidPart>, IdGenerationError>> {
        let part = says(request, "alice").then(|| SidPart::new("alice-1").unwrap());
        let failed = says(request, "no-id");
        now_or_later(request, if failed { Err(IdGenerationError("none left".to_owned())) } else { Ok(part) })
    }

    fn initial_headers(&mut self, headers: &mut HeaderMap, _: &Request<'_>) {
        for value in ["1=1", "2=2; Path=/"] {
            headers.append("set-cookie", HeaderValue::from_static(value));
        }
    }

    fn headers(&mut self, headers: &mut HeaderMap, request: &Request<'_>) {
        assert!(!says(request, "boom-late"), "asked to panic");
        headers.insert("x-method", HeaderValue::from_str(request.method.as_str()).unwrap());
    }

    fn on_connection_error(&mut self, event: &ConnectionErrorEvent<'_>) {
        let context = event.error.context.map_or("-", |context| context.name());
        let _ = self.0.send(format!("{} {} {context}", event.error.error.code(), event.message));
    }
}

fn start() -> (TestServer, UnboundedReceiver<String>) {
    let (sender, errors) = unbounded_channel();
    let adjust = |config: &mut engineio::Config| {
        config.origins = Origins::Listed { origins: vec!["https://a.example".to_owned()], own: false, loopback: false };
    };
    let server = TestServer::start_server(super::SHARDS, adjust, |server| server.hooks(move || Wordy(sender.clone())));
    (server, errors)
}

async fn ask(server: &TestServer, request: &str) -> Response {
    let mut http = server.connect().await;
    http.send(request.as_bytes()).await;
    http.response().await
}

fn get(query: &str, headers: &str) -> String {
    request("GET", query, headers, "")
}

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

#[tokio::test]
async fn the_application_says_who_may_connect_now_or_later() {
    let (server, mut errors) = start();
    for later in ["", "&later"] {
        assert_eq!(ask(&server, &get(&format!("{POLLING}{later}"), "")).await.status, 200);
        assert_eq!(ask(&server, &upgrade_request(&format!("{WEBSOCKET}{later}"))).await.status, 101);
        for (word, body, text) in [
            ("refuse", r#"{"code":4,"message":"Forbidden"}"#, "Forbidden"),
            ("why", r#"{"code":4,"message":"\"why\""}"#, r#""why""#),
        ] {
            let refused = ask(&server, &get(&format!("{POLLING}&{word}{later}"), "")).await;
            assert_eq!((refused.status, refused.body.as_str()), (403, body));
            assert_eq!(soon(errors.recv()).await.unwrap(), format!("4 {text} -"));
            let refused = ask(&server, &upgrade_request(&format!("{WEBSOCKET}&{word}{later}"))).await;
            assert_eq!((refused.status, refused.body.as_str()), (400, text));
            assert_eq!(soon(errors.recv()).await.unwrap(), format!("4 {text} -"));
        }
    }
    let panicked = ask(&server, &get(&format!("{POLLING}&boom"), "")).await;
    assert_eq!(panicked.status, 503);
    assert_eq!(ask(&server, &get(POLLING, "")).await.status, 200, "the shard goes on");
}

#[tokio::test]
async fn an_application_may_choose_a_session_s_id() {
    let (server, mut errors) = start();
    for later in ["", "&later"] {
        let sids =
            [(); 2].map(async |()| sid_of(&ask(&server, &get(&format!("{POLLING}&alice{later}"), "")).await.body));
        let [one, two] = sids;
        let (one, two) = (one.await, two.await);
        assert!(one.ends_with("alice-1") && two.ends_with("alice-1") && one != two, "{one} {two}");
        for (sid, text) in [(&one, "4a"), (&two, "4b")] {
            let query = format!("{POLLING}&sid={sid}");
            assert_eq!(server.post(&query, text).await.body, "ok");
            assert_eq!(server.get(&query).await.body, text);
        }
        let other = format!("{POLLING}&sid={}", one.replace("alice", "alicf"));
        assert_eq!(server.get(&other).await.body, r#"{"code":1,"message":"Session ID unknown"}"#);
        assert_eq!(soon(errors.recv()).await.unwrap(), "1 Session ID unknown -");
        let answer = ask(&server, &upgrade_request(&format!("{WEBSOCKET}&sid={one}"))).await;
        assert_eq!(answer.status, 101);
        let refused = ask(&server, &get(&format!("{POLLING}&no-id{later}"), "")).await;
        assert_eq!((refused.status, refused.body.as_str()), (400, r#"{"code":3,"message":"Bad request"}"#));
        assert_eq!(soon(errors.recv()).await.unwrap(), "3 Bad request ID_GENERATION_ERROR");
    }
}

#[tokio::test]
async fn headers_are_changed_once_for_each_session_and_on_every_answer() {
    let (server, _errors) = start();
    let first = "set-cookie: 1=1\r\nset-cookie: 2=2; path=/\r\n";
    let opened = ask(&server, &get(POLLING, "")).await;
    assert!(opened.head.contains(first) && opened.head.contains("x-method: get\r\n"), "{}", opened.head);
    let sid = sid_of(&opened.body);
    let query = format!("{POLLING}&sid={sid}");
    let posted = server.post(&query, "4a").await;
    assert!(!posted.head.contains("set-cookie") && posted.head.contains("x-method: post\r\n"), "{}", posted.head);
    let upgraded = ask(&server, &upgrade_request(&format!("{WEBSOCKET}&sid={sid}"))).await;
    assert!(!upgraded.head.contains("set-cookie") && upgraded.head.contains("x-method: get\r\n"), "{}", upgraded.head);
    let websocket = ask(&server, &upgrade_request(WEBSOCKET)).await;
    assert!(websocket.head.contains(first) && websocket.head.contains("x-method: get\r\n"), "{}", websocket.head);
    let refused = ask(&server, &get("EIO=4&transport=x", "")).await;
    assert!(!refused.head.contains("x-method"), "{}", refused.head);
    let panicked = ask(&server, &get(&format!("{POLLING}&boom-late"), "")).await;
    assert_eq!((panicked.status, panicked.head.contains("x-method")), (200, false));
}

#[tokio::test]
async fn every_refusal_is_reported_with_its_code_message_and_context() {
    let (server, mut errors) = start();
    let sid = sid_of(&ask(&server, &get(POLLING, "")).await.body);
    for (asked, status, told) in [
        (get("EIO=4", ""), 400, "0 Transport unknown -"),
        (get(&format!("{POLLING}&sid=x"), ""), 400, "1 Session ID unknown -"),
        (request("PUT", POLLING, "", ""), 400, "2 Bad handshake method -"),
        (get(WEBSOCKET, ""), 400, "3 Bad request TRANSPORT_HANDSHAKE_ERROR"),
        (get(&format!("{WEBSOCKET}&sid={sid}"), ""), 400, "3 Bad request TRANSPORT_MISMATCH"),
        (get(&format!("EIO=3&transport=polling&sid={sid}"), ""), 400, "3 Bad request PROTOCOL_MISMATCH"),
        (get(POLLING, "Origin: https://evil.example\r\n"), 403, "4 Forbidden INVALID_ORIGIN"),
        (get("EIO=3&transport=polling", ""), 400, "5 Unsupported protocol version -"),
        (upgrade_request("EIO=3&transport=websocket"), 400, "5 Unsupported protocol version -"),
    ] {
        assert_eq!(ask(&server, &asked).await.status, status, "{asked}");
        assert_eq!(soon(errors.recv()).await.unwrap(), told, "{asked}");
    }
}
