//! The engine's hooks, set on the router.

use engineio::hooks::{Hooks, Outcome, Request, Verdict};
use socketio::router::{Ack, Router};
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async, tungstenite::Error};

use crate::client::Client;

/// Admits nobody who asks for `deny`, and nobody at once.
struct Doorkeeper;

impl Hooks for Doorkeeper {
    fn allow_request(&mut self, request: &Request<'_>) -> Outcome<Verdict> {
        let denied = request.uri.query().is_some_and(|query| query.contains("deny"));
        Outcome::pending(async move {
            tokio::task::yield_now().await;
            if denied { Verdict::Refuse { message: None } } else { Verdict::Allow }
        })
    }
}

#[tokio::test]
async fn the_hooks_decide_who_becomes_a_client() {
    let mut app = Router::new();
    app.server(|server| server.hooks(|| Doorkeeper)).of("/").on("hi", |ack: Ack| ack.send("hello"));
    let running = app.serve("127.0.0.1:0").unwrap();
    let address = running.local_addr();
    let stream = TcpStream::connect(address).await.unwrap();
    let denied = client_async("ws://localhost/socket.io/?EIO=4&transport=websocket&deny=1", stream).await;
    let Err(Error::Http(response)) = denied else { panic!("{denied:?}") };
    assert_eq!(response.status(), 400);
    let mut client = Client::connect(address, "").await;
    assert_eq!(client.ask(r#"["hi"]"#).await, r#"["hello"]"#);
}
