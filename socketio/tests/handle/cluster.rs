//! Two servers that an adapter connects.

use std::{sync::Arc, time::Duration};

use engineio::net::Running;
use socketio::{
    Handle,
    adapter::{Adapter, Operation, Replies, Source},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{client::Client, support::start_with};

const LONG: Duration = Duration::from_secs(10);

type Sent = (Operation, Option<Replies>);

/// Hands operations to a task of this process, where a real adapter has a network.
#[derive(Debug)]
struct Loopback(UnboundedSender<Sent>);

impl Adapter for Loopback {
    fn send(&self, operation: Operation, replies: Option<Replies>) {
        // In a test nothing piles up.
        let _ = self.0.send((operation, replies));
    }
}

/// The other server does what is sent. With `silent` there is a third server, which never answers.
async fn carry(mut sent: UnboundedReceiver<Sent>, name: &'static str, other: Handle, silent: bool) {
    let mut kept = Vec::new();
    while let Some((operation, replies)) = sent.recv().await {
        let Some(replies) = replies else {
            other.apply(operation).await.unwrap();
            continue;
        };
        let server = replies.server(name);
        kept.extend(silent.then(|| replies.server("silent")));
        replies.done();
        let other = other.clone();
        tokio::spawn(async move {
            let reply = other.apply(operation).await.unwrap();
            server.hand_in(reply.unwrap());
        });
    }
}

/// Servers `a` and `b` of two shards each, and two clients of each in the room `tea`.
struct Cluster {
    servers: [(Running, Handle); 2],
    clients: [[Client; 2]; 2],
}

impl Cluster {
    async fn start(silent: bool) -> Self {
        let [(to_b, sent_by_a), (to_a, sent_by_b)] = [unbounded_channel(), unbounded_channel()];
        let servers = [to_b, to_a].map(|sender| start_with(2, Some(Arc::new(Loopback(sender)))));
        tokio::spawn(carry(sent_by_a, "b", servers[1].1.clone(), silent));
        tokio::spawn(carry(sent_by_b, "a", servers[0].1.clone(), silent));
        let mut clients = Vec::new();
        for (running, _) in &servers {
            let pair =
                [Client::connect(running.local_addr(), "").await, Client::connect(running.local_addr(), "").await];
            let [first, second] = pair;
            clients.push([first.join("tea").await, second.join("tea").await]);
        }
        let second = clients.pop().unwrap();
        Self { servers, clients: [clients.pop().unwrap(), second] }
    }

    fn io(&self) -> &Handle {
        &self.servers[0].1
    }

    fn stop(self) {
        for (_, io) in &self.servers {
            io.engine().shutdown(Duration::ZERO);
        }
    }

    /// What each client was sent until an `end` that all get.
    async fn events(&mut self) -> [Vec<String>; 4] {
        self.io().of("/").emit("end", "", &[]).await.unwrap();
        let mut events = Vec::new();
        for client in self.clients.iter_mut().flatten() {
            events.push(client.events().await);
        }
        events.try_into().unwrap()
    }
}

#[tokio::test]
async fn broadcasts_and_changes_of_rooms_reach_both_servers() {
    let mut cluster = Cluster::start(false).await;
    let io = cluster.io().clone();
    let there = cluster.clients[1][0].id.clone();
    io.of("/").to("tea").emit("all", "", &[]).await.unwrap();
    io.of("/").to("tea").except(&there).emit("but one", "", &[]).await.unwrap();
    io.of("/").to(&there).emit("one", "", &[]).await.unwrap();
    io.of("/").this_server().emit("here", "", &[]).await.unwrap();
    io.of("/").to("nobody").emit("nobody", "", &[]).await.unwrap();
    io.of("/").to(&there).sockets_join(["late"]).await.unwrap();
    io.of("/").to("late").emit("late", "", &[]).await.unwrap();
    io.of("/").sockets_leave(["late"]).await.unwrap();
    io.of("/").to("late").emit("nobody", "", &[]).await.unwrap();
    io.of("/").server_side_emit("tell", "", &[]).await.unwrap();
    let here = ["all", "but one", "here"];
    let expected = [&here[..], &here, &["all", "one", "late"], &["all", "but one"]];
    for (got, expected) in cluster.events().await.iter().zip(expected) {
        let rest: Vec<_> = got.iter().filter(|event| *event != "told").collect();
        assert_eq!(rest, expected);
    }
    io.of("/").to(&there).disconnect_sockets(false).await.unwrap();
    loop {
        if cluster.clients[1][0].next().await == "41" {
            break;
        }
    }
    cluster.stop();
}

#[tokio::test]
async fn what_a_handler_does_reaches_the_other_server_too() {
    let mut cluster = Cluster::start(false).await;
    cluster.clients[0][0].send(r#"42["shout"]"#).await;
    for client in cluster.clients.iter_mut().flatten() {
        assert_eq!(client.next().await, r#"42["shout"]"#);
    }
    cluster.clients[1][0].send(r#"42["count"]"#).await;
    for client in cluster.clients.iter_mut().flatten() {
        let mut events = Vec::new();
        while events.len() < 3 {
            let event = client.next().await;
            if event.ends_with(r#"["ask"]"#) {
                let id: String = event.chars().skip(2).take_while(char::is_ascii_digit).collect();
                client.send(&format!("43{id}[]")).await;
                events.push("ask".to_owned());
            } else {
                events.push(event);
            }
        }
        events.sort();
        assert_eq!(events, [r#"42["servers",1]"#, r#"42["sockets",4]"#, "ask"]);
    }
    for client in cluster.clients.iter_mut().flatten() {
        assert_eq!(client.next().await, r#"42["answers",4]"#);
    }
    cluster.stop();
}

#[tokio::test]
async fn questions_reach_both_servers() {
    let mut cluster = Cluster::start(false).await;
    let io = cluster.io().clone();
    let found = io.of("/").to("tea").fetch_sockets(LONG).await.unwrap();
    assert_eq!((found.sockets.len(), found.missing), (4, vec![]));
    let there = &cluster.clients[1][0].id;
    let socket = found.sockets.iter().find(|socket| socket.id == *there).unwrap();
    assert_eq!((socket.server.as_deref(), socket.shard), (Some("b"), None));
    assert_eq!(socket.rooms, ["tea".into()]);
    assert!(socket.data.is_some());

    let asking = tokio::spawn(io.of("/").to("tea").emit_with_ack("ask", "", &[], LONG));
    for client in cluster.clients.iter_mut().flatten() {
        assert_eq!(client.answer("7").await, r#"42["ask"]"#);
    }
    let answers = asking.await.unwrap().unwrap();
    assert!(answers.is_complete());
    assert_eq!(answers.answers.iter().filter_map(|answer| answer.args.first()).collect::<Vec<_>>(), ["7"; 4]);

    let servers = io.of("/").server_side_emit_with_ack("ask", "[8]", &[], LONG).await.unwrap();
    assert_eq!(servers.answers[0].args.first(), Some("[8]"));
    assert_eq!((servers.answers.len(), servers.answers[0].server.clone()), (1, Source::Server("b".into())));
    // Its handler drops the question.
    let servers = io.of("/").server_side_emit_with_ack("other", "", &[], LONG).await.unwrap();
    assert_eq!((servers.answers.len(), servers.missing), (0, vec![Source::Server("b".into())]));
    cluster.stop();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named_and_the_others_count() {
    let mut cluster = Cluster::start(true).await;
    let io = cluster.io().clone();
    let silent = vec![Source::Server("silent".into())];
    let short = Duration::from_millis(300);
    let found = io.of("/").fetch_sockets(short).await.unwrap();
    assert_eq!((found.sockets.len(), &found.missing), (4, &silent));

    let asking = tokio::spawn(io.of("/").emit_with_ack("ask", "", &[], short));
    let late = cluster.clients[1][1].id.clone();
    for client in cluster.clients.iter_mut().flatten().take(3) {
        client.answer("7").await;
    }
    let answers = asking.await.unwrap().unwrap();
    assert_eq!((answers.recipients, answers.answers.len(), &answers.missing), (4, 3, &silent));
    assert_eq!(answers.unanswered, [late]);

    let servers = io.of("/").server_side_emit_with_ack("ask", "1", &[], short).await.unwrap();
    assert_eq!((servers.answers.len(), &servers.missing), (1, &silent));
    cluster.stop();
}
