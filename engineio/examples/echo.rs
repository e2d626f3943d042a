//! An echo server: every message goes back to its sender, text as text, binary as binary.
//!
//! `PORT=3000 SHARDS=1 PING_INTERVAL=300 PING_TIMEOUT=200 cargo run --release -p engineio --example echo` (milliseconds;
//! all optional).

use std::{env, net::TcpListener, time::Duration};

use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Message, Outbox, SharedFrame, http::Cors, net::Server,
    packet::Outbound,
};

struct Echo;

impl Handler for Echo {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}

    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        // An error means that the session is closed; `on_close` reports that.
        let _ = outbox.send(conn, &SharedFrame::packet(&Outbound::Message(message)));
    }

    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
}

/// A number from the environment, or `default`.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    config.cors = Some(Cors::default());
    config.ping_interval = Duration::from_millis(number("PING_INTERVAL", 25_000));
    config.ping_timeout = Duration::from_millis(number("PING_TIMEOUT", 20_000));
    let port = u16::try_from(number("PORT", 3000))?;
    let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)))?;
    let shards = u16::try_from(number("SHARDS", 1))?;
    Server::new(config).shards(shards).serve(listener, || Echo)?.join()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::{client_async, tungstenite};

    #[tokio::test]
    async fn a_message_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let running = Server::new(Config::default()).serve(listener, || Echo).unwrap();
        let addr = running.local_addr();
        let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let url = format!("ws://{addr}/engine.io/?EIO=4&transport=websocket");
        let (mut ws, _) = client_async(url, stream).await.unwrap();
        assert!(ws.next().await.unwrap().unwrap().to_text().unwrap().starts_with("0{"));
        for (sent, echoed) in [
            (tungstenite::Message::text("4a"), tungstenite::Message::text("4a")),
            (tungstenite::Message::binary(vec![1]), tungstenite::Message::binary(vec![1])),
        ] {
            ws.send(sent).await.unwrap();
            assert_eq!(ws.next().await.unwrap().unwrap(), echoed);
        }
        running.shutdown(Duration::ZERO);
    }
}
