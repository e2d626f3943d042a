//! Events that another thread emits.

use std::time::Duration;

use bytes::Bytes;
use engineio::net::ShardGone;
use socketio::EmitterError;

use crate::{client::Client, support::start};

#[tokio::test]
async fn an_event_reaches_its_targets_on_every_shard_once_and_in_order() {
    for shards in [1, 3] {
        let (running, io) = start(shards);
        let mut in_tea = Vec::new();
        for room in ["tea", "tea", "tea", "coffee"] {
            in_tea.push(Client::connect(running.local_addr(), "").await.join(room).await);
        }
        let mut coffee = in_tea.pop().unwrap();
        let in_both = in_tea.remove(0).join("coffee").await;
        in_tea.insert(0, in_both);
        let mut custom = Client::connect(running.local_addr(), "/custom,").await;
        let (first, third) = (in_tea[0].id.clone(), in_tea[2].id.clone());

        io.of("/").to("tea").emit("tea", "1,[2]", &[]).await.unwrap();
        io.of("/").to("tea").to("coffee").emit("both", "", &[]).await.unwrap();
        io.of("/").to("tea").except(&third).emit("but third", "", &[]).await.unwrap();
        io.of("/").to(&first).emit("first", "", &[]).await.unwrap();
        io.of("/").to("nobody").emit("nobody", "", &[]).await.unwrap();
        io.of("/custom").volatile().emit("custom", "", &[]).await.unwrap();
        let blocking = io.clone();
        let emit = move || {
            blocking.of("/").emit_blocking("binary", r#"{"_placeholder":true,"num":0}"#, &[Bytes::from_static(b"x")])
        };
        tokio::task::spawn_blocking(emit).await.unwrap().unwrap();
        for nsp in ["/", "/custom"] {
            io.of(nsp).emit("end", "", &[]).await.unwrap();
        }

        assert_eq!(in_tea[1].next().await, r#"42["tea",1,[2]]"#);
        assert_eq!(in_tea[1].next().await, r#"42["both"]"#);
        assert_eq!(in_tea[1].next().await, r#"42["but third"]"#);
        assert_eq!(in_tea[1].next().await, r#"451-["binary",{"_placeholder":true,"num":0}]"#);
        assert_eq!(in_tea[1].next().await, r#"b"x""#);
        assert_eq!(in_tea[1].next().await, r#"42["end"]"#);
        let without_bytes = |events: Vec<String>| events.into_iter().filter(|event| event != "x").collect::<Vec<_>>();
        assert_eq!(without_bytes(in_tea[0].events().await), ["tea", "both", "but third", "first", "binary"]);
        assert_eq!(without_bytes(in_tea[2].events().await), ["tea", "both", "binary"]);
        assert_eq!(without_bytes(coffee.events().await), ["both", "binary"]);
        assert_eq!(custom.events().await, ["custom"]);

        assert_eq!(io.of("/").emit("connect", "", &[]).await, Err(EmitterError::ReservedName));
        assert_eq!(io.of("/typo").emit("event", "", &[]).await, Err(EmitterError::UnknownNamespace));
        io.engine().shutdown(Duration::ZERO);
        tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
        let gone = Err(EmitterError::ShardGone(ShardGone(0)));
        assert_eq!(io.of("/").emit("event", "", &[]).await, gone);
        assert_eq!(io.of("/").emit_blocking("event", "", &[]), gone);
    }
}
