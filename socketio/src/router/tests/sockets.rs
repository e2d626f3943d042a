//! Sockets: who may connect, rooms, broadcasts, questions to clients, their ends.

use serde::Deserialize;
use tokio::sync::Semaphore;

use super::*;

#[derive(Clone, Deserialize)]
struct Token {
    token: String,
}

/// Who is signed in.
struct User(String);

fn sign_in(Auth(auth): Auth<Token>) -> Result<User, ConnectError> {
    match auth.token.strip_prefix("user-") {
        Some(name) => Ok(User(name.to_owned())),
        None => Err(ConnectError::new("not authorized").with_data(&serde_json::json!(["token"]))),
    }
}

#[test]
fn an_authorisation_admits_or_refuses_and_handlers_have_what_it_brought() {
    let mut bench = Bench::new(|app| {
        let nsp = app.of("/");
        nsp.authorize(sign_in);
        nsp.on("who", |user: Extension<User>, ack: Ack| ack.send(&user.0));
    });
    let conn = bench.shard.open();
    assert_eq!(bench.text(conn, "0"), [r#"44{"message":"invalid auth: missing field `token` at line 1 column 2"}"#]);
    let refusal = r#"44{"message":"not authorized","data":["token"]}"#;
    assert_eq!(bench.text(conn, r#"0{"token":"x"}"#), [refusal]);
    assert!(bench.text(conn, r#"0{"token":"user-ada"}"#)[0].starts_with("40{"));
    assert_eq!(bench.text(conn, r#"21["who"]"#), [r#"431["ada"]"#]);
}

#[test]
fn an_authorisation_may_wait_and_several_are_asked_in_order() {
    let gate = Arc::new(Semaphore::new(0));
    let mut bench = Bench::new(|app| {
        app.state(Arc::clone(&gate));
        let nsp = app.of("/");
        nsp.authorize(
            async |Auth(auth): Auth<Token>, State(gate): State<Arc<Semaphore>>, State(notes): State<Notes>| {
                gate.acquire().await.map_err(|_| "closed")?.forget();
                notes.add(format!("first {}", auth.token));
                if auth.token == "no" { Err(ConnectError::new("first")) } else { Ok(7_u8) }
            },
        );
        nsp.authorize(|number: Extension<u8>, State(notes): State<Notes>| -> Result<(), &'static str> {
            notes.add(format!("second {}", *number));
            Ok(())
        });
        nsp.on_connect(|number: Extension<u8>, State(notes): State<Notes>| notes.add(format!("connected {}", *number)));
    });
    let [a, b] = [bench.shard.open(), bench.shard.open()];
    assert_eq!(bench.text(a, r#"0{"token":"yes"}"#), [""; 0]);
    assert_eq!(bench.text(b, r#"0{"token":"no"}"#), [""; 0]);
    gate.add_permits(2);
    while bench.run_job() {}
    assert!(bench.shard.sent(a)[0].starts_with("40{"));
    assert_eq!(bench.shard.sent(b), [r#"44{"message":"first"}"#]);
    assert_eq!(bench.notes.take(), ["first yes", "second 7", "connected 7", "first no"]);
}

#[test]
fn a_pattern_stands_for_namespaces_and_names_their_parts() {
    let mut bench = Bench::new(|app| {
        app.of("/orders-{id}")
            .authorize(|params: Params| if params.get("id") == Some("0") { Err("no such order") } else { Ok(()) })
            .on("id", |params: Params, socket: Socket, ack: Ack| ack.send(&(params.get("id"), socket.nsp())));
    });
    let conn = bench.join_nsp("/orders-7");
    assert_eq!(bench.text(conn, r#"2/orders-7,3["id"]"#), [r#"43/orders-7,3[["7","/orders-7"]]"#]);
    assert_eq!(bench.text(conn, "0/orders-0,"), [r#"44/orders-0,{"message":"no such order"}"#]);
    assert_eq!(bench.text(conn, "0/other,"), [r#"44/other,{"message":"Invalid namespace"}"#]);
    for nsp in ["/other", "/orders-{id}"] {
        assert_eq!(bench.io.of(nsp).emit("x", &1), Err(SendError::UnknownNamespace));
    }
}

#[test]
fn broadcasts_reach_rooms_but_not_their_sender() {
    let mut bench = Bench::new(|app| {
        let nsp = app.of("/");
        nsp.on("join", |socket: Socket, Payload(rooms): Payload<Vec<String>>, ack: Ack| {
            rooms.iter().try_for_each(|room| socket.join(room))?;
            ack.send(&socket.rooms())
        });
        nsp.on("leave", |socket: Socket, Data(room): Data<String>| socket.leave(&room));
        nsp.on("to", |socket: Socket, Data(room): Data<String>| socket.to(&room).emit("x", "room"));
        nsp.on("others", |socket: Socket| socket.broadcast().emit("x", "others"));
        nsp.on("all", |io: SocketIo| io.of("/").except("c").emit_all("x", &("all", 1)));
    });
    let [a, b, c] = [bench.join(), bench.join(), bench.join()];
    assert_eq!(bench.text(a, r#"20["join","b","a"]"#), [r#"430[["a","b"]]"#]);
    bench.text(b, r#"2["join","b"]"#);
    bench.text(c, r#"2["join","c"]"#);
    let sent = |bench: &mut Bench, conn, text| {
        bench.shard.text(conn, text);
        [a, b, c].map(|conn| bench.shard.sent(conn).concat())
    };
    assert_eq!(sent(&mut bench, a, r#"2["to","b"]"#), ["", r#"42["x","room"]"#, ""]);
    assert_eq!(sent(&mut bench, c, r#"2["to","b"]"#), [r#"42["x","room"]"#, r#"42["x","room"]"#, ""]);
    let others = r#"42["x","others"]"#;
    assert_eq!(sent(&mut bench, b, r#"2["others"]"#), [others, "", others]);
    let all = r#"42["x","all",1]"#;
    assert_eq!(sent(&mut bench, b, r#"2["all"]"#), [all, all, ""]);
    bench.text(b, r#"2["leave","b"]"#);
    assert_eq!(sent(&mut bench, c, r#"2["to","b"]"#), [r#"42["x","room"]"#, "", ""]);
}

#[test]
fn a_handler_may_ask_its_client() {
    let mut bench = Bench::new(|app| {
        app.of("/").on("ask", async |socket: Socket, State(notes): State<Notes>| {
            let answer = socket.emit_with_ack::<u32>("question", &"how many?").await;
            notes.add(format!("{answer:?}"));
        });
    });
    let conn = bench.join();
    assert_eq!(bench.text(conn, r#"2["ask"]"#), [r#"420["question","how many?"]"#]);
    bench.text(conn, "30[42]");
    assert!(bench.run_job());
    bench.text(conn, r#"2["ask"]"#);
    bench.text(conn, r#"31["x"]"#);
    assert!(bench.run_job());
    bench.text(conn, r#"2["ask"]"#);
    bench.shard.close(conn, engineio::CloseReason::TransportClose);
    assert!(bench.run_job());
    let notes = bench.notes.take();
    assert_eq!(notes[0], "Ok(42)");
    assert!(notes[1].starts_with("Err(Payload("), "{notes:?}");
    assert_eq!(notes[2], "Err(Ack(Disconnected))");
}

#[test]
fn the_end_of_a_socket_is_told_with_its_reason_and_rooms() {
    let mut bench = Bench::new(|app| {
        let nsp = app.of("/");
        nsp.on_connect(|socket: Socket| socket.join("room"));
        nsp.on("wait", async |socket: Socket, State(notes): State<Notes>| {
            socket.disconnected().await;
            notes.add(format!("over: {:?}", socket.emit("x", &1)));
        });
        nsp.on("kick", |socket: Socket| socket.disconnect());
        nsp.on_disconnect(async |socket: Socket, reason: DisconnectReason, State(notes): State<Notes>| {
            notes.add(format!("{reason} {:?} {}", socket.rooms(), socket.is_connected()));
        });
    });
    let conn = bench.join();
    bench.text(conn, r#"2["wait"]"#);
    assert!(!bench.run_job());
    assert_eq!(bench.text(conn, r#"2["kick"]"#), ["41"]);
    assert!(bench.run_job());
    let expected = [r#"server namespace disconnect ["room"] false"#, "over: Err(Disconnected)"];
    assert_eq!(bench.notes.take(), expected);
    assert!(bench.is_open(conn));
}

#[test]
fn a_state_that_was_not_given_is_found_at_the_start() {
    let mut router = Router::new();
    router.of("/").on("x", |_: State<Notes>| ());
    let error = router.test().unwrap_err().to_string();
    assert!(error.contains("State<") && error.contains("Notes"), "{error}");
}

#[test]
fn a_socket_that_is_kept_after_its_end_reaches_nobody() {
    let kept: Arc<Mutex<Option<Socket>>> = Arc::default();
    let mut bench = Bench::new(|app| {
        app.state(Arc::clone(&kept));
        app.of("/").on_connect(|socket: Socket, State(kept): State<Arc<Mutex<Option<Socket>>>>| {
            *kept.lock().unwrap() = Some(socket);
        });
    });
    let conn = bench.join();
    bench.shard.close(conn, engineio::CloseReason::TransportClose);
    let socket = kept.lock().unwrap().take().unwrap();
    let next = bench.join();
    assert_eq!(socket.emit("x", &1), Err(SendError::Disconnected));
    assert_eq!(socket.join("room"), Err(SendError::Disconnected));
    assert!(socket.leave("room").is_ok() && socket.disconnect().is_ok() && !socket.is_in("room"));
    assert_eq!(bench.shard.sent(next), [""; 0]);
}

#[test]
fn a_socket_that_comes_back_is_as_it_was_and_has_what_it_missed() {
    let mut bench = Bench::new(|app| {
        app.recovery(crate::recovery::Options::default());
        let nsp = app.of("/");
        nsp.authorize(sign_in);
        nsp.on_connect(|socket: Socket, user: Extension<User>, State(notes): State<Notes>| {
            let data = socket.data::<u8>().unwrap();
            notes.add(format!("{} {} {:?} {data:?}", user.0, socket.is_recovered(), socket.rooms()));
        });
        nsp.on("go", |socket: Socket, ack: Ack| {
            socket.join("tea")?;
            socket.set_data(&7).unwrap();
            ack.send_all(&())
        });
        nsp.on("say", |io: SocketIo, Data(text): Data<String>| io.of("/").to("tea").emit("said", &text));
    });
    let connect = |bench: &mut Bench, auth: &str| {
        let conn = bench.shard.open();
        (conn, bench.text(conn, &format!("0{auth}")))
    };
    let (ada, answer) = connect(&mut bench, r#"{"token":"user-ada"}"#);
    let connected: serde_json::Value = serde_json::from_str(answer[0].strip_prefix("40").unwrap()).unwrap();
    let (eve, _) = connect(&mut bench, r#"{"token":"user-eve"}"#);
    bench.text(ada, r#"20["go"]"#);
    bench.text(eve, r#"2["say","one"]"#);
    let sent = bench.shard.sent(ada).concat();
    let offset = sent.split('"').nth(5).unwrap().to_owned();
    assert!(sent.starts_with(r#"42["said","one","#), "{sent}");
    bench.shard.close(ada, engineio::CloseReason::TransportClose);
    bench.text(eve, r#"2["say","two"]"#);
    // The token is not looked at again.
    let (_, sent) = connect(&mut bench, &format!(r#"{{"pid":{},"offset":"{offset}"}}"#, connected["pid"]));
    assert!(sent.len() == 2 && sent[0].starts_with(r#"42["said","two","#), "{sent:?}");
    assert_eq!(sent[1], answer[0]);
    let expected = ["ada false [] None", "eve false [] None", r#"ada true ["tea"] Some(7)"#];
    assert_eq!(bench.notes.take(), expected);
}

#[test]
fn a_socket_that_comes_back_does_not_hear_what_it_said_meanwhile() {
    let gate = Arc::new(Semaphore::new(0));
    let mut bench = Bench::new(|app| {
        app.recovery(crate::recovery::Options::default());
        app.state(Arc::clone(&gate));
        let nsp = app.of("/");
        nsp.on("say", async |socket: Socket, State(gate): State<Arc<Semaphore>>, Data(text): Data<String>| {
            gate.acquire().await.unwrap().forget();
            socket.broadcast().emit("said", &text).unwrap();
        });
    });
    let (ada, other) = (bench.shard.open(), bench.join());
    let answer = bench.text(ada, "0");
    let connected: serde_json::Value = serde_json::from_str(answer[0].strip_prefix("40").unwrap()).unwrap();
    for text in ["while it is away", "when it is back"] {
        bench.text(ada, &format!(r#"2["say","{text}"]"#));
    }
    bench.shard.close(ada, engineio::CloseReason::TransportClose);
    gate.add_permits(1);
    assert!(bench.run_job());
    let back = bench.shard.open();
    assert_eq!(bench.text(back, &format!(r#"0{{"pid":{}}}"#, connected["pid"])), answer);
    gate.add_permits(1);
    assert!(bench.run_job());
    assert_eq!((bench.shard.sent(back).len(), bench.shard.sent(other).len()), (0, 2));
}

#[test]
fn a_socket_that_comes_back_has_its_data_although_it_is_authorised_again() {
    let options = crate::recovery::Options { skip_middlewares: false, ..Default::default() };
    let mut bench = Bench::new(|app| {
        app.recovery(options);
        let nsp = app.of("/");
        nsp.authorize(sign_in);
        nsp.on_connect(|socket: Socket, user: Extension<User>, State(notes): State<Notes>| {
            notes.add(format!("{} {} {:?}", user.0, socket.is_recovered(), socket.data::<u8>().unwrap()));
        });
        nsp.on("go", |socket: Socket| socket.set_data(&7));
    });
    let (mut conn, mut pid) = (bench.shard.open(), String::new());
    for round in 0..3 {
        // The data outlives a connection that does not touch it.
        let answer = bench.text(conn, &format!(r#"0{{"token":"user-ada{round}","pid":"{pid}"}}"#));
        let connected: serde_json::Value = serde_json::from_str(answer[0].strip_prefix("40").unwrap()).unwrap();
        pid = connected["pid"].as_str().unwrap().to_owned();
        if round == 0 {
            bench.text(conn, r#"2["go"]"#);
        }
        bench.shard.close(conn, engineio::CloseReason::TransportClose);
        conn = bench.shard.open();
    }
    let answer = bench.text(conn, &format!(r#"0{{"token":"no","pid":"{pid}"}}"#));
    assert!(answer[0].starts_with("44"), "{answer:?}");
    assert_eq!(bench.notes.take(), ["ada0 false None", "ada1 true Some(7)", "ada2 true Some(7)"]);
}
