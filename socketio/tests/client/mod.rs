//! A client of the servers under test, on a WebSocket.
#![allow(dead_code, reason = "each test program uses a part")]

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// See the module.
pub(crate) struct Client {
    ws: WebSocketStream<TcpStream>,
    /// The id of its socket.
    pub(crate) id: String,
}

impl Client {
    /// A client that has sent a CONNECT, and not read the answer. `connect` is what comes after the packet's type: nothing, a
    /// namespace, a payload.
    pub(crate) async fn ask_to_connect(server: SocketAddr, connect: &str) -> Self {
        let stream = TcpStream::connect(server).await.unwrap();
        let url = "ws://localhost/socket.io/?EIO=4&transport=websocket";
        let mut client = Self { ws: client_async(url, stream).await.unwrap().0, id: String::new() };
        assert!(client.next().await.starts_with("0{"));
        client.send(&format!("40{connect}")).await;
        client
    }

    /// A client that is connected.
    pub(crate) async fn connect(server: SocketAddr, connect: &str) -> Self {
        let mut client = Self::ask_to_connect(server, connect).await;
        client.id = client.next().await.split('"').nth(3).unwrap().to_owned();
        client
    }

    pub(crate) async fn join(mut self, room: &str) -> Self {
        assert_eq!(self.ask(&format!(r#"["join","{room}"]"#)).await, "[]");
        self
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    /// The next packet.
    pub(crate) async fn next(&mut self) -> String {
        let next = tokio::time::timeout(Duration::from_secs(10), self.ws.next());
        match next.await.expect("a frame").unwrap().unwrap() {
            Message::Text(text) => text.to_string(),
            Message::Binary(bytes) => format!("{bytes:?}"),
            other => panic!("{other:?}"),
        }
    }

    /// Sends an event that asks for an acknowledgement, and returns that.
    pub(crate) async fn ask(&mut self, event: &str) -> String {
        self.send(&format!("427{event}")).await;
        self.next().await.strip_prefix("437").unwrap().to_owned()
    }

    /// Answers the event that comes next, and returns it without the id.
    pub(crate) async fn answer(&mut self, args: &str) -> String {
        let event = self.next().await;
        let id: String = event.chars().skip(2).take_while(char::is_ascii_digit).collect();
        self.send(&format!("43{id}[{args}]")).await;
        event.replacen(&id, "", 1)
    }

    /// The names of the events up to `end`.
    pub(crate) async fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.split('"').nth(1).unwrap().to_owned();
            if event == "end" {
                return events;
            }
            events.push(event);
        }
    }

    /// Whether the server ended the connection.
    pub(crate) async fn is_cut(&mut self) -> bool {
        let next = tokio::time::timeout(Duration::from_secs(10), self.ws.next());
        !matches!(next.await.expect("an end"), Some(Ok(Message::Text(_) | Message::Binary(_))))
    }
}
