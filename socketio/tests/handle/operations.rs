//! Operations of another thread.

use std::time::{Duration, Instant};

use engineio::net::ShardGone;
use socketio::{
    AnswerProgress, EmitterError,
    adapter::{Answers, ServerAnswers, Source},
};

use crate::{client::Client, support::start};

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn another_thread_does_everything_to_the_sockets_of_all_shards() {
    for shards in [1, 3] {
        let (running, io) = start(shards);
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(Client::connect(running.local_addr(), "").await.join("tea").await);
        }
        let ids: Vec<_> = clients.iter().map(|client| client.id.clone()).collect();
        let tea = io.of("/").to("tea");

        tea.clone().except(&ids[0]).sockets_join(["late", "later"]).await.unwrap();
        io.of("/").in_(&ids[1]).sockets_leave(["late"]).await.unwrap();
        io.of("/").to_all(["late", "nobody"]).except_all([&ids[3]]).emit("late", "", &[]).await.unwrap();
        tea.compress(false).emit("tea", "", &[]).await.unwrap();
        assert_eq!(clients[2].next().await, r#"42["late"]"#);
        for client in &mut clients {
            assert_eq!(client.next().await, r#"42["tea"]"#);
        }

        let mut found = io.of("/").to("later").fetch_sockets(LONG).await.unwrap();
        assert!(found.missing.is_empty());
        found.sockets.sort_by_key(|socket| ids.iter().position(|id| *id == socket.id));
        assert!(found.sockets.iter().map(|socket| &socket.id).eq(&ids[1..]));
        let mut rooms = found.sockets[2].rooms.clone();
        rooms.sort();
        assert_eq!(rooms, ["late", "later", "tea"].map(Into::into));
        let shard = found.sockets[2].shard.unwrap();
        assert_eq!(found.sockets[2].data, Some(format!(r#"{{"shard":{shard}}}"#)));

        io.of("/").to(&ids[1]).disconnect_sockets(false).await.unwrap();
        io.of("/").to(&ids[2]).disconnect_sockets(true).await.unwrap();
        assert_eq!(clients[1].next().await, "41");
        assert_eq!(clients[2].next().await, "41");
        assert_eq!(io.of("/").fetch_sockets(LONG).await.unwrap().sockets.len(), 2);

        let blocking = io.clone();
        let list = move || {
            let all = blocking.of("/");
            all.sockets_join_blocking(["x"]).unwrap();
            all.clone().to("x").sockets_leave_blocking(["tea"]).unwrap();
            let tea = all.clone().to("tea").fetch_sockets_blocking(LONG).unwrap().sockets.len();
            all.disconnect_sockets_blocking(true).unwrap();
            (tea, all.fetch_sockets_blocking(LONG).unwrap().sockets.len())
        };
        assert_eq!(tokio::task::spawn_blocking(list).await.unwrap(), (0, 0));

        assert_eq!(io.of("/typo").fetch_sockets(LONG).await, Err(EmitterError::UnknownNamespace));
        io.engine().shutdown(Duration::ZERO);
        tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
        let gone: Vec<_> = (0..shards).map(Source::Shard).collect();
        assert_eq!(io.of("/").fetch_sockets(Duration::MAX).await.unwrap().missing, gone);
        assert_eq!(io.of("/").fetch_sockets_blocking(Duration::MAX).unwrap().missing, gone);
        assert_eq!(io.of("/").sockets_join(["x"]).await, Err(EmitterError::ShardGone(ShardGone(0))));
    }
}

#[tokio::test]
async fn another_thread_gathers_answers() {
    let (running, io) = start(2);
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::connect(running.local_addr(), "").await.join("tea").await);
    }
    let tea = io.of("/").to("tea");
    let asking = tokio::spawn(tea.emit_with_ack("ask", "1", &[], LONG));
    for client in &mut clients {
        assert_eq!(client.answer(r#"2,{"a":3}"#).await, r#"42["ask",1]"#);
    }
    let answers = asking.await.unwrap().unwrap();
    assert!(answers.is_complete() && answers.recipients == 4);
    assert!(answers.answers.iter().all(|answer| answer.args.args == ["2", r#"{"a":3}"#]));

    // The time of one, and the end of another.
    let started = Instant::now();
    let asking = tokio::task::spawn_blocking(move || {
        tea.emit_with_ack_blocking("ask", "", &[], Duration::from_millis(300)).unwrap()
    });
    clients[0].answer("").await;
    clients[1].answer("").await;
    let (gone, late) = (clients.pop().unwrap(), clients[2].id.clone());
    let mut unanswered = vec![gone.id.clone(), late];
    drop(gone);
    let mut answers = asking.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    answers.unanswered.sort();
    unanswered.sort();
    assert_eq!((answers.answers.len(), answers.unanswered), (2, unanswered));
    assert!(answers.missing.is_empty());

    assert_eq!(io.of("/").to("nobody").emit_with_ack("ask", "", &[], LONG).await, Ok(Answers::default()));
    io.of("/").server_side_emit("tell", "", &[]).await.unwrap();
    let servers = io.of("/").server_side_emit_with_ack("ask", "", &[], LONG).await;
    assert_eq!(servers, Ok(ServerAnswers::default()));
    io.engine().shutdown(Duration::ZERO);
}

#[tokio::test]
async fn answers_come_one_by_one() {
    let (running, io) = start(2);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::connect(running.local_addr(), "").await);
    }
    let mut stream = io.of("/").stream_answers("ask", "", &[], Duration::from_millis(500)).await.unwrap();
    assert_eq!(stream.next().await, Some(AnswerProgress::Recipients(3)));
    for (client, args) in clients.iter_mut().zip(["1", "2"]) {
        client.answer(args).await;
        let Some(AnswerProgress::Answer(answer)) = stream.next().await else { panic!("an answer") };
        assert_eq!((answer.socket.as_ref(), answer.args.first()), (Some(&client.id), Some(args)));
    }
    assert_eq!(stream.next().await, None);
    let rest = stream.finish();
    assert_eq!((rest.answers.len(), rest.unanswered, rest.missing), (0, vec![clients[2].id.clone()], vec![]));
    assert!(io.of("/typo").stream_answers("ask", "", &[], LONG).await.is_err());
    io.engine().shutdown(Duration::ZERO);
}
