//! The echo server of `echo.rs`, in an axum application.
//!
//! `PORT=3000 cargo run --release -p engineio --features tower --example axum`

use std::{env, io};

use axum::{Router, routing::get};
use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Message, Outbox, SharedFrame,
    net::{Running, Server},
    packet::Outbound,
};

struct Echo;

impl Handler for Echo {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}

    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        // A closed or slow peer is reported by `on_close`.
        let _ = outbox.send(conn, &SharedFrame::packet(&Outbound::Message(message)));
    }

    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
}

fn app() -> io::Result<(Running, Router)> {
    let (running, engine) = Server::new(Config::default()).shards(2).attach(|| Echo)?;
    // Not `nest_service`, which takes the path away.
    Ok((running, Router::new().route("/", get(async || "hello")).route_service("/engine.io/", engine)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let (_running, app) = app()?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    Ok(axum::serve(listener, app).await?)
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };
    use tokio_tungstenite::{client_async, tungstenite::Message};

    /// One request on a connection of its own: the whole answer.
    async fn ask(addr: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn request(method: &str, query: &str, body: &str) -> String {
        let len = body.len();
        format!(
            "{method} /engine.io/?EIO=4&transport={query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Length: {len}\r\n\r\n{body}"
        )
    }

    fn sid_of(open: &str) -> &str {
        open.split_once(r#""sid":""#).unwrap().1.split_once('"').unwrap().0
    }

    #[tokio::test]
    async fn polling_websocket_and_upgrade_work_behind_axum() {
        let (running, app) = super::app().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, app).await });

        // Enough sessions for both shards to get some.
        for _ in 0..4 {
            let open = ask(addr, &request("GET", "polling", "")).await;
            let query = format!("polling&sid={}", sid_of(&open));
            assert!(ask(addr, &request("POST", &query, "4hi\x1ebAQI=")).await.ends_with("\r\n\r\nok"));
            assert!(ask(addr, &request("GET", &query, "")).await.ends_with("\r\n\r\n4hi\x1ebAQI="));
        }
        let refused = ask(addr, &request("GET", "polling&sid=x", "")).await;
        assert!(
            refused.starts_with("HTTP/1.1 400 ") && refused.ends_with(r#"{"code":1,"message":"Session ID unknown"}"#)
        );

        let connect = async |query: &str| {
            let stream = TcpStream::connect(addr).await.unwrap();
            client_async(format!("ws://{addr}/engine.io/?EIO=4&transport=websocket{query}"), stream).await.unwrap().0
        };
        let mut ws = connect("").await;
        assert!(ws.next().await.unwrap().unwrap().to_text().unwrap().starts_with("0{"));
        ws.send(Message::text("4a")).await.unwrap();
        assert_eq!(ws.next().await.unwrap().unwrap(), Message::text("4a"));
        drop(ws);

        let open = ask(addr, &request("GET", "polling", "")).await;
        let mut ws = connect(&format!("&sid={}", sid_of(&open))).await;
        ws.send(Message::text("2probe")).await.unwrap();
        assert_eq!(ws.next().await.unwrap().unwrap(), Message::text("3probe"));
        ws.send(Message::text("5")).await.unwrap();
        ws.send(Message::binary(vec![1, 2])).await.unwrap();
        assert_eq!(ws.next().await.unwrap().unwrap(), Message::binary(vec![1, 2]));

        // A client that disconnects while its poll waits loses its session.
        let open = ask(addr, &request("GET", "polling", "")).await;
        let query = format!("polling&sid={}", sid_of(&open));
        let mut waiting = TcpStream::connect(addr).await.unwrap();
        waiting.write_all(request("GET", &query, "").as_bytes()).await.unwrap();
        drop(waiting);
        let gone = async { while ask(addr, &request("POST", &query, "4a")).await.starts_with("HTTP/1.1 200 ") {} };
        tokio::time::timeout(std::time::Duration::from_secs(10), gone).await.expect("its session ends");

        running.shutdown(std::time::Duration::from_millis(500));
        let last = ws.next().await.unwrap().unwrap();
        assert!(matches!(&last, Message::Close(Some(close)) if u16::from(close.code) == 1001), "{last:?}");
        drop(ws);
        tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
        assert!(ask(addr, &request("GET", "polling", "")).await.starts_with("HTTP/1.1 503 "));
    }
}
