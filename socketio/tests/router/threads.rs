//! Sockets of several shards, used from everywhere.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use socketio::router::{Ack, Data, Payload, Router, Running, SendError, Socket};

use crate::client::Client;

const SOON: Duration = Duration::from_secs(10);

/// `join` joins rooms; `data` stores data; `rooms` tells the rooms; `keep` keeps the socket.
fn start(kept: &Arc<Mutex<Option<Socket>>>) -> Running {
    let (mut app, kept) = (Router::new(), Arc::clone(kept));
    app.shards(2);
    let nsp = app.of("/");
    nsp.on("join", |socket: Socket, Payload(rooms): Payload<Vec<String>>, ack: Ack| {
        rooms.iter().try_for_each(|room| socket.join(room))?;
        ack.send_all(&())
    });
    nsp.on("rooms", |socket: Socket, ack: Ack| ack.send(&socket.rooms()));
    nsp.on("data", |socket: Socket, Data(data): Data<String>, ack: Ack| {
        socket.set_data(&data).unwrap();
        ack.send_all(&())
    });
    nsp.on("keep", move |socket: Socket, ack: Ack| {
        *kept.lock().unwrap() = Some(socket);
        ack.send_all(&())
    });
    app.serve("127.0.0.1:0").unwrap()
}

/// Four clients: two on each shard.
async fn four(running: &Running) -> [Client; 4] {
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::connect(running.local_addr(), "").await);
    }
    clients.try_into().ok().unwrap()
}

#[tokio::test]
async fn any_thread_emits_to_rooms_of_all_shards() {
    let running = start(&Arc::default());
    let [mut a, mut b, mut c, mut d] = four(&running).await;
    for client in [&mut a, &mut b, &mut c] {
        client.ask(r#"["join","tea"]"#).await;
    }
    let (io, except) = (running.io(), c.id.clone());
    thread::spawn(move || {
        let room = io.of("/").to("tea").except(&except);
        room.emit("first", &1).unwrap();
        room.emit_all("second", &(1, "two")).unwrap();
        io.of("/").emit("end", &()).unwrap();
        assert_eq!(io.of("/typo").emit("x", &()), Err(SendError::UnknownNamespace));
        assert_eq!(io.of("/").emit("connect", &()), Err(SendError::ReservedName));
    })
    .join()
    .unwrap();
    for client in [&mut a, &mut b] {
        assert_eq!(client.next().await, r#"42["first",1]"#);
        assert_eq!(client.next().await, r#"42["second",1,"two"]"#);
        assert_eq!(client.next().await, r#"42["end",null]"#);
    }
    for client in [&mut c, &mut d] {
        assert_eq!(client.next().await, r#"42["end",null]"#);
    }
}

#[tokio::test]
async fn many_sockets_are_listed_asked_moved_and_disconnected() {
    let running = start(&Arc::default());
    let [mut a, mut b, mut c, mut d] = four(&running).await;
    for (client, data) in [(&mut a, "ada"), (&mut b, "bob")] {
        client.ask(r#"["join","tea"]"#).await;
        client.ask(&format!(r#"["data","{data}"]"#)).await;
    }
    let io = running.io();
    let tea = io.of("/").to("tea");

    let found = tea.fetch_sockets(SOON).await.unwrap();
    let mut data: Vec<_> = found.sockets.iter().map(|socket| socket.data::<String>().unwrap().unwrap()).collect();
    data.sort();
    assert_eq!((data, found.missing.len()), (vec!["ada".to_owned(), "bob".to_owned()], 0));
    assert_eq!(found.sockets[0].handshake()["query"]["transport"], "websocket");

    let asking = tea.emit_with_ack::<u32>("how many?", &"cups", SOON);
    let (answers, first, second) = tokio::join!(asking, a.answer("3"), b.answer("\"x\""));
    let answers = answers.unwrap();
    assert_eq!([first, second], [r#"42["how many?","cups"]"#; 2]);
    assert_eq!(answers.answers, [(Some(a.id.clone()), 3)]);
    assert!(answers.invalid.len() == 1 && answers.unanswered.is_empty() && !answers.is_complete());
    assert!(io.of("/").to("nobody").emit_with_ack::<u32>("x", &(), SOON).await.unwrap().is_complete());

    io.of("/").to(&c.id).to(&d.id).sockets_join(["coffee", "cake"]).unwrap();
    io.of("/").to("cake").except(&d.id).sockets_leave(["cake"]).unwrap();
    // What one thread does arrives in the order in which it does it.
    io.of("/").to("coffee").emit("moved", &1).unwrap();
    for client in [&mut c, &mut d] {
        assert_eq!(client.next().await, r#"42["moved",1]"#);
    }
    assert_eq!(c.ask(r#"["rooms"]"#).await, r#"[["coffee"]]"#);
    assert_eq!(d.ask(r#"["rooms"]"#).await, r#"[["cake","coffee"]]"#);

    tea.disconnect_sockets(true).unwrap();
    for client in [&mut a, &mut b] {
        assert_eq!(client.next().await, "41");
        assert!(client.is_cut().await);
    }
    assert_eq!(c.ask(r#"["rooms"]"#).await, r#"[["coffee"]]"#);
}

#[tokio::test]
async fn a_socket_that_is_kept_is_used_from_another_thread() {
    let kept = Arc::default();
    let running = start(&kept);
    let mut client = Client::connect(running.local_addr(), "").await;
    client.ask(r#"["keep"]"#).await;
    let socket = kept.lock().unwrap().clone().unwrap();
    let asking = socket.emit_with_ack::<String>("ping", &1);
    let (answer, event) = tokio::join!(asking, client.answer("\"pong\""));
    assert_eq!((answer.unwrap(), event), ("pong".to_owned(), r#"42["ping",1]"#.to_owned()));
    socket.join("kept").unwrap();
    socket.emit("joined", &1).unwrap();
    assert_eq!(client.next().await, r#"42["joined",1]"#);
    assert_eq!(client.ask(r#"["rooms"]"#).await, r#"[["kept"]]"#);
    socket.disconnect().unwrap();
    assert_eq!(client.next().await, "41");
    socket.disconnected().await;
    assert_eq!(socket.emit("x", &1), Err(SendError::Disconnected));
}

#[tokio::test]
async fn after_the_end_of_the_server_nothing_is_sent_and_nobody_waits() {
    let running = start(&Arc::default());
    let io = running.io();
    running.shutdown(Duration::ZERO);
    tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
    assert_eq!(io.of("/").emit("x", &1), Err(SendError::NotRunning));
    assert_eq!(io.of("/").fetch_sockets(SOON).await.unwrap_err(), SendError::NotRunning);
}
