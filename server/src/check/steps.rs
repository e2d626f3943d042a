//! What is tried.

use std::time::{Duration, Instant};

use futures_util::future::try_join;
use http::StatusCode;
use serde_json::{Value, json};

use super::finding::{Fault, Finding, milliseconds};
use crate::client::{ClientError, Connector, Handshake, HttpConnection, PollingSession, Socket};

/// What every step knows.
pub(super) struct Context {
    pub(super) connector: Connector,
    /// Where the operator's paths are, if not there.
    pub(super) admin: Option<Connector>,
    pub(super) token: Option<String>,
    pub(super) room: String,
    pub(super) limit: Duration,
}

impl Context {
    /// Where the operator's paths are.
    fn admin(&self) -> &Connector {
        self.admin.as_ref().unwrap_or(&self.connector)
    }
}

fn finding(detail: impl Into<String>) -> Finding {
    Finding { detail: detail.into(), warnings: Vec::new() }
}

/// The name, TCP and TLS.
pub(super) async fn connect(context: &Context) -> Result<Finding, Fault> {
    let connected = context.connector.connect().await?;
    let tcp = format!("{} in {}", connected.address, milliseconds(connected.tcp));
    Ok(match connected.tls {
        Some((version, time)) => finding(format!("{tcp}, {version} in {}", milliseconds(time))),
        None if context.connector.target().is_loopback() => finding(tcp),
        None => Finding {
            detail: tcp,
            warnings: vec!["without TLS everybody on the way reads tokens and messages".to_owned()],
        },
    })
}

/// `/healthz`.
pub(super) async fn alive(context: &Context) -> Result<Finding, Fault> {
    let answer = HttpConnection::open(context.admin(), None).await?.get("/healthz").await?;
    match answer.status {
        StatusCode::OK => Ok(finding("/healthz says that the process lives")),
        status if context.admin.is_none() => Ok(not_passed_on("/healthz", status)),
        _ => Err(ClientError::Status(answer.refused()).into()),
    }
}

fn not_passed_on(path: &str, status: StatusCode) -> Finding {
    Finding {
        detail: format!("{path} is answered with {status}"),
        warnings: vec![format!(
            "a proxy or http.admin_listen keeps {path} to itself; name the address that has it with --admin"
        )],
    }
}

/// `/readyz`: shards and store.
pub(super) async fn ready(context: &Context) -> Result<Finding, Fault> {
    let answer = HttpConnection::open(context.admin(), None).await?.get("/readyz").await?;
    match answer.status {
        StatusCode::OK => Ok(finding("/readyz says that shards and store work")),
        status if status != StatusCode::SERVICE_UNAVAILABLE && context.admin.is_none() => {
            Ok(not_passed_on("/readyz", status))
        }
        _ => Err(ClientError::Status(answer.refused()).into()),
    }
}

/// `/metrics`, which a public address must not show.
pub(super) async fn metrics(context: &Context) -> Result<Finding, Fault> {
    let shown = shows_metrics(&context.connector).await?;
    let mut found = match &context.admin {
        Some(admin) => {
            finding(if shows_metrics(admin).await? { "/metrics is there" } else { "/metrics is not shown there" })
        }
        None => finding(if shown { "/metrics is there" } else { "/metrics is not shown here" }),
    };
    if shown && !context.connector.target().is_loopback() {
        found
            .warnings
            .push("everybody who reaches this URL reads /metrics: keep it to yourself in the proxy".to_owned());
    }
    Ok(found)
}

async fn shows_metrics(connector: &Connector) -> Result<bool, Fault> {
    let answer = HttpConnection::open(connector, None).await?.get("/metrics").await?;
    Ok(answer.status == StatusCode::OK && answer.body.contains("chat_"))
}

/// A session over long-polling; a client without a token has to be refused.
pub(super) async fn polling(context: &Context) -> Result<Finding, Fault> {
    let start = Instant::now();
    let mut session = PollingSession::open(&context.connector).await?;
    let opened = start.elapsed();
    let refusal = session.connect(None).await;
    let handshake = session.handshake.clone();
    session.close().await;
    match refusal {
        Err(ClientError::Unauthorized { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(_) => {
            let reason = "a client without a token was let in".to_owned();
            return Err(Fault::Wrong(reason, "this is not chat-server, or not one that this version knows"));
        }
    }
    let mut found = finding(format!("handshake in {}; without a token nobody gets in", milliseconds(opened)));
    if !handshake.upgrades.iter().any(|transport| transport == "websocket") {
        found.warnings.push("the server does not offer WebSockets".to_owned());
    }
    Ok(found)
}

/// A session that begins as a WebSocket.
pub(super) async fn web_socket(context: &Context) -> Result<Finding, Fault> {
    let start = Instant::now();
    let (socket, Handshake { ping_interval, ping_timeout, max_payload, .. }) = Socket::open(&context.connector).await?;
    let opened = milliseconds(start.elapsed());
    socket.close().await;
    Ok(finding(format!(
        "handshake in {opened}; heartbeat every {} s, {} s to answer, messages up to {max_payload} bytes",
        ping_interval / 1000,
        ping_timeout / 1000
    )))
}

/// The token, over long-polling: then a wrong token and a proxy that has no WebSockets are two failures.
pub(super) async fn token(context: &Context, token: &str) -> Result<Finding, Fault> {
    let mut session = PollingSession::open(&context.connector).await?;
    let connected = session.connect(Some(token)).await;
    let answered = match &connected {
        Ok(_) => Some(round_trip_of_polling(&mut session).await),
        Err(_) => None,
    };
    session.close().await;
    let recovery = if connected?["pid"].is_string() { "on" } else { "off" };
    let time = answered.transpose()?.map_or_else(String::new, milliseconds);
    Ok(finding(format!("accepted; round trip by long-polling {time}; recovery is {recovery}")))
}

/// An event that changes nothing, is never refused, and is answered.
const HARMLESS: (&str, Value) = ("typing", Value::Bool(false));

async fn round_trip_of_polling(session: &mut PollingSession) -> Result<Duration, Fault> {
    let start = Instant::now();
    let (event, payload) = HARMLESS;
    accepted("typing", session.ask(event, &payload).await?)?;
    Ok(start.elapsed())
}

/// The median of a few round trips.
async fn round_trips(socket: &mut Socket) -> Result<Duration, Fault> {
    const COUNT: usize = 5;
    let mut times = Vec::with_capacity(COUNT);
    let (event, payload) = HARMLESS;
    for _ in 0..COUNT {
        let start = Instant::now();
        accepted("typing", socket.ask(event, &payload).await?)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(COUNT / 2).copied().unwrap_or_default())
}

/// The answer to an event, if the chat did what it asked for.
fn accepted(event: &'static str, mut answer: Value) -> Result<Value, Fault> {
    if answer["ok"] == true { Ok(answer) } else { Err(Fault::Refused { event, error: answer["error"].take() }) }
}

/// A session that begins with long-polling and moves to a WebSocket, as official clients do.
pub(super) async fn upgrade(context: &Context, token: &str) -> Result<Finding, Fault> {
    let mut session = PollingSession::open(&context.connector).await?;
    session.connect(Some(token)).await?;
    let start = Instant::now();
    let mut socket = Socket::upgrade(&context.connector, &session.handshake.sid).await?;
    let upgraded = start.elapsed();
    let round_trip = round_trips(&mut socket).await?;
    socket.close().await;
    Ok(finding(format!("in {}; round trip by WebSocket {}", milliseconds(upgraded), milliseconds(round_trip))))
}

/// A message from one socket to another, and from there into the history.
pub(super) async fn message(context: &Context, token: &str) -> Result<Finding, Fault> {
    let (mut sender, _) = Socket::open(&context.connector).await?;
    sender.connect(token).await?;
    let (mut receiver, _) = Socket::open(&context.connector).await?;
    receiver.connect(token).await?;
    let room = json!({ "roomId": context.room });
    for socket in [&mut sender, &mut receiver] {
        accepted("join", socket.ask("join", &room).await?)?;
    }
    let random = getrandom::u64().map_err(|error| ClientError::WebSocket(format!("no random bytes: {error}")))?;
    let text = format!("chat-server check {random:016x}");
    let start = Instant::now();
    let sent = async {
        let answer = sender.ask("message", &json!({ "message": text, "context": room })).await?;
        accepted("message", answer).map(|answer| (answer, start.elapsed()))
    };
    let delivered = async {
        receiver.event(|name, event| name == "message" && event["message"] == text.as_str()).await?;
        Ok::<_, Fault>(start.elapsed())
    };
    // A message that is refused is delivered to nobody, so nothing waits for it then.
    let ((answer, acknowledged), delivered) = try_join(sent, delivered).await?;
    let page = receiver.ask("history", &json!({ "roomId": context.room, "limit": 10 })).await?;
    let page = accepted("history", page)?;
    let stored =
        page["messages"].as_array().is_some_and(|messages| messages.iter().any(|kept| kept["id"] == answer["id"]));
    sender.close().await;
    receiver.close().await;
    if !stored {
        let reason =
            format!("message {} was acknowledged, but is not in the history of {:?}", answer["id"], context.room);
        return Err(Fault::Wrong(
            reason,
            "run the check again; if it is no coincidence, run `chat-server store check`",
        ));
    }
    let (acknowledged, delivered) = (milliseconds(acknowledged), milliseconds(delivered));
    Ok(finding(format!(
        "delivered in {delivered}, acknowledged in {acknowledged}, and in the history of {:?}",
        context.room
    )))
}

/// Pages of `origin` may connect, and those of others not.
pub(super) async fn origin(context: &Context, origin: &str) -> Result<Finding, Fault> {
    /// No page has this origin: the name is reserved (RFC 2606).
    const FOREIGN: &str = "https://chat-server-check.invalid";
    let status = PollingSession::try_origin(&context.connector, origin).await?;
    if status != StatusCode::OK {
        let reason = format!("a page of {origin} gets {status}");
        return Err(Fault::Wrong(
            reason,
            "add it to http.allow_origin, or let the proxy pass Host on (docs/proxies.md)",
        ));
    }
    let mut found = finding(format!("{origin} may connect"));
    if PollingSession::try_origin(&context.connector, FOREIGN).await? == StatusCode::OK {
        found.warnings.push("pages of any other origin may connect too; list yours in http.allow_origin".to_owned());
    }
    Ok(found)
}

/// Nothing is said until the server sends a ping, which a proxy must not cut short.
pub(super) async fn heartbeat(context: &Context, token: &str) -> Result<Finding, Fault> {
    let (mut socket, Handshake { ping_interval, .. }) = Socket::open(&context.connector).await?;
    socket.connect(token).await?;
    let limit = Duration::from_millis(ping_interval).saturating_add(context.limit);
    let waited = async {
        let start = Instant::now();
        socket.heartbeat().await?;
        let quiet = start.elapsed();
        round_trips(&mut socket).await?;
        Ok::<_, Fault>(quiet)
    };
    let quiet = tokio::time::timeout(limit, waited).await.map_err(|_| ClientError::Timeout(limit))??;
    socket.close().await;
    Ok(finding(format!("a connection that was quiet for {:.1} s still works", quiet.as_secs_f64())))
}
