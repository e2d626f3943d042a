//! For the published client's own suite: a greeting, echoes, a few commands, cookies, and refused handshakes.

use std::{
    collections::HashMap,
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Message, Outbox, SharedFrame, Sid,
    hooks::{Hooks, Outcome, Request, Verdict},
    net::Server,
    packet::Outbound,
};
use http::{HeaderMap, HeaderValue, Method, header::SET_COOKIE};

/// Sessions that asked for the headers of their own POST, and what each waits for, by the session's index. First the
/// message comes, then the answer to its POST, for which the hook is called with the request.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<HashMap<u32, Pending>>>);

struct Pending {
    conn: ConnKey,
    since: Instant,
    /// The answer, once the hook has been called.
    headers: Option<String>,
}

impl Asked {
    fn with<R>(&self, call: impl FnOnce(&mut HashMap<u32, Pending>) -> R) -> R {
        call(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Commands {
    asked: Asked,
}

/// An error means that the session is closed; `on_close` reports that.
fn send(outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
    let _ = outbox.send(conn, &SharedFrame::packet(&Outbound::Message(message)));
}

impl Handler for Commands {
    fn on_open(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, _: &Handshake<'_>) {
        send(outbox, conn, Message::Text("hi".into()));
    }

    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        let answer = match &message {
            Message::Text(text) if text == "give binary" => Message::Binary(vec![0, 1, 2, 3, 4].into()),
            Message::Text(text) if text == "give utf8" => Message::Text("пойду спать всем спокойной ночи".into()),
            Message::Text(text) if text == "sendHeaders" => {
                let pending = Pending { conn, since: outbox.now(), headers: None };
                self.asked.with(|asked| asked.insert(conn.index(), pending));
                return;
            }
            _ => message,
        };
        send(outbox, conn, answer);
    }

    fn on_close(&mut self, _: &mut dyn Outbox, conn: ConnKey, _: CloseReason) {
        self.asked.with(|asked| asked.remove(&conn.index()));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.asked.with(|asked| asked.values().find(|pending| pending.headers.is_some()).map(|pending| pending.since))
    }

    fn on_timeout(&mut self, outbox: &mut dyn Outbox) {
        let answered = self.asked.with(|asked| {
            asked.extract_if(|_, pending| pending.headers.is_some()).map(|(_, pending)| pending).collect::<Vec<_>>()
        });
        for Pending { conn, headers, .. } in answered {
            send(outbox, conn, Message::Text(headers.unwrap_or_default().into()));
        }
    }
}

struct Requests {
    asked: Asked,
}

impl Hooks for Requests {
    fn allow_request(&mut self, request: &Request<'_>) -> Outcome<Verdict> {
        let query = request.uri.query().unwrap_or_default();
        let denied = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "deny");
        Outcome::Ready(if denied { Verdict::Refuse { message: None } } else { Verdict::Allow })
    }

    fn initial_headers(&mut self, headers: &mut HeaderMap, _: &Request<'_>) {
        let now = httpdate::fmt_http_date(SystemTime::now());
        for cookie in ["1=1; Max-Age=86400", "2=2; Path=/; HttpOnly; Secure; SameSite=Strict", "3=3; Max-Age=0"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        if let Ok(cookie) = HeaderValue::from_str(&format!("4=4; Expires={now}")) {
            headers.append(SET_COOKIE, cookie);
        }
    }

    fn headers(&mut self, _: &mut HeaderMap, request: &Request<'_>) {
        let sid = request.query.sid.as_deref().and_then(Sid::parse).filter(|_| *request.method == Method::POST);
        let Some(sid) = sid else { return };
        self.asked.with(|asked| {
            if let Some(pending) = asked.get_mut(&sid.index()) {
                pending.headers.get_or_insert_with(|| json(request.headers));
            }
        });
    }
}

/// Headers as a JSON object, each name once.
fn json(headers: &HeaderMap) -> String {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields = headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value).into()));
    serde_json::Value::Object(fields.collect()).to_string()
}

/// Serves until the process is ended.
pub(crate) fn serve(listener: TcpListener, allow_eio3: bool) -> anyhow::Result<()> {
    let mut config = Config::default();
    config.ping_interval = Duration::from_millis(500);
    config.max_payload = 100;
    config.allow_eio3 = allow_eio3;
    let asked = Asked::default();
    let hooks = asked.clone();
    Server::new(config)
        .hooks(move || Requests { asked: hooks.clone() })
        .serve(listener, move || Commands { asked: asked.clone() })?
        .join()?;
    Ok(())
}
