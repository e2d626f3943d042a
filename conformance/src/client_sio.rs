//! For the published client's own suite and other clients: namespaces, refusals, events with text and binary data, and
//! acknowledgements in both directions.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use engineio::hooks::{Hooks, Outcome, Request, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use socketio::{
    Binary,
    recovery::Options,
    router::{Ack, AnswerError, Auth, Data, Extension, Handshake, Namespace, Router, Socket},
};

use crate::any::Any;

/// The suite tests time-outs of 0 ms: an answer may not be there by then.
const HANDSHAKE_AFTER: Duration = Duration::from_millis(10);

struct Slow;

impl Hooks for Slow {
    fn allow_request(&mut self, _: &Request<'_>) -> Outcome<Verdict> {
        Outcome::pending(async {
            tokio::time::sleep(HANDSHAKE_AFTER).await;
            Verdict::Allow
        })
    }
}

/// What Node calls `socket.handshake`.
#[derive(Serialize)]
struct NodeHandshake<'a> {
    #[serde(flatten)]
    handshake: &'a Handshake,
    auth: &'a Value,
}

/// What a socket of `/` remembers.
struct Memory {
    auth: Value,
    abuff1: AtomicBool,
    blob1: AtomicBool,
    blob2: AtomicBool,
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// Binary data between text.
#[derive(Deserialize)]
struct Mixed {
    hello: String,
    #[serde(rename = "message")]
    _message: Binary,
    goodbye: String,
}

impl Mixed {
    fn is_as_sent(&self) -> bool {
        self.hello == "lol" && self.goodbye == "gotcha"
    }
}

/// The events of `/`.
fn events(main: &mut Namespace) {
    main.authorize(|handshake: Arc<Handshake>| match handshake.query.get("fail") {
        Some(fail) if !fail.is_empty() => Err("Auth failed (main namespace)"),
        _ => Ok(()),
    });
    main.on_connect(|socket: Socket, Auth(auth): Auth<Value>| {
        let [abuff1, blob1, blob2] = [const { AtomicBool::new(false) }; 3];
        socket.insert(Memory { auth, abuff1, blob1, blob2 });
    });
    main.on("hi", |socket: Socket| socket.emit_all("hi", &()));
    main.on("echo", |Data(value): Data<Any>, ack: Ack| ack.send(&value));
    main.on("ack", async |socket: Socket| -> Result<(), AnswerError> {
        // Node waits for ever.
        let answer = socket.emit_all_with_ack("ack", &(), Duration::from_secs(60)).await?;
        let (number, object): (Value, Value) = answer.all()?;
        if number == 5 && object["test"] == true {
            socket.emit_all("got it", &())?;
        }
        Ok(())
    });
    main.on("getAckDate", |ack: Ack| ack.send(&now()));
    main.on("getDate", |socket: Socket| socket.emit("takeDate", &now()));
    main.on("getDateObj", |socket: Socket| socket.emit("takeDateObj", &json!({ "date": now() })));
    main.on("getUtf8", |socket: Socket| {
        let texts = ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"];
        texts.into_iter().try_for_each(|text| socket.emit("takeUtf8", text))
    });
    main.on("false", |socket: Socket| socket.emit("false", &false));
    main.on("getHandshake", |socket: Socket, memory: Extension<Memory>, ack: Ack| {
        ack.send(&NodeHandshake { handshake: socket.handshake(), auth: &memory.auth })
    });
    main.on("getId", |socket: Socket, ack: Ack| ack.send(&socket.id().to_string()));
}

/// The events of `/` with binary data. Data of another type never reach these handlers.
fn binary_events(main: &mut Namespace) {
    main.on("doge", |socket: Socket| socket.emit("doge", &Binary::from("asdfasdf")));
    main.on("getbin", |socket: Socket| socket.emit("takebin", &Binary::from("asdfasdf")));
    for (event, answer) in [("buffa", "buffack"), ("blob", "back")] {
        main.on(event, move |socket: Socket, _: Data<Binary>| socket.emit_all(answer, &()));
    }
    for (event, answer) in [("jsonbuff", "jsonbuff-ack"), ("jsonblob", "jsonblob-ack")] {
        main.on(
            event,
            move |socket: Socket, Data(mixed): Data<Mixed>| {
                if mixed.is_as_sent() { socket.emit_all(answer, &()) } else { Ok(()) }
            },
        );
    }
    main.on("abuff1", |memory: Extension<Memory>, _: Data<Binary>| memory.abuff1.store(true, Ordering::Relaxed));
    main.on(
        "abuff2",
        |socket: Socket, memory: Extension<Memory>| {
            if memory.abuff1.load(Ordering::Relaxed) { socket.emit_all("abuff2-ack", &()) } else { Ok(()) }
        },
    );
    main.on("blob1", |memory: Extension<Memory>, _: Data<Binary>| memory.blob1.store(true, Ordering::Relaxed));
    main.on("blob2", |memory: Extension<Memory>, Data(text): Data<String>| {
        if text == "second" && memory.blob1.load(Ordering::Relaxed) {
            memory.blob2.store(true, Ordering::Relaxed);
        }
    });
    main.on("blob3", |socket: Socket, memory: Extension<Memory>, _: Data<Binary>| {
        // `blob2` is remembered only when `blob1` came before.
        if memory.blob2.load(Ordering::Relaxed) { socket.emit_all("blob3-ack", &()) } else { Ok(()) }
    });
}

/// Serves until the process is ended.
pub(crate) fn serve(listener: TcpListener, mut engine: engineio::Config, shards: u16) -> anyhow::Result<()> {
    let mut app = Router::new();
    engine.path = "/socket.io/".to_owned();
    *app.engine() = engine;
    app.recovery(Options::default());
    app.server(|server| server.hooks(|| Slow)).shards(shards);
    events(app.of("/"));
    binary_events(app.of("/"));
    app.of("/foo").on("getId", |socket: Socket, ack: Ack| ack.send(&socket.id().to_string()));
    app.of("/abc").on_connect(|socket: Socket, Auth(auth): Auth<Value>| {
        socket.emit("handshake", &NodeHandshake { handshake: socket.handshake(), auth: &auth })
    });
    app.of("/no").authorize(|| Err::<(), _>("Auth failed (custom namespace)"));
    for nsp in ["/timeout_socket", "/valid", "/asd"] {
        app.of(nsp);
    }
    app.serve_on(listener)?.join()?;
    Ok(())
}
