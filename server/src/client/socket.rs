//! Socket.IO over a WebSocket.

use std::{collections::VecDeque, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use serde_json::Value;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, Message, Utf8Bytes, client::IntoClientRequest as _, protocol::WebSocketConfig},
};

use super::{
    error::{ClientError, Refused, excerpt},
    packet::{Handshake, Packet, connect_answer, connect_packet, event_packet},
    stream::{Connector, Stream},
};

/// Events that wait for [`Socket::event`]; older ones are forgotten.
const KEPT: usize = 256;

/// Bytes of the buffer that each connection reads into. The library's own choice would be 128 KiB, too much for thousands.
const READ_BUFFER: usize = 4096;

/// Bytes of the longest message that is read.
const MAX_MESSAGE: usize = 8 << 20;

/// A client's socket.
pub(crate) struct Socket {
    stream: WebSocketStream<Stream>,
    events: VecDeque<(String, Vec<Value>)>,
    asked: u64,
}

impl Socket {
    /// Opens a session over a WebSocket.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or does not answer as an Engine.IO server does.
    pub(crate) async fn open(connector: &Connector) -> Result<(Self, Handshake), ClientError> {
        let mut socket = Self::web_socket(connector, "").await?;
        let text = socket.receive().await?;
        match Packet::parse(&text) {
            Ok(Packet::Open(handshake)) => Ok((socket, handshake)),
            _ => Err(ClientError::unexpected("the handshake of Engine.IO", &text)),
        }
    }

    /// Moves a session from long-polling to a WebSocket. No poll may be under way.
    ///
    /// # Errors
    /// The WebSocket does not come to be, or the server does not answer the probe.
    pub(crate) async fn upgrade(connector: &Connector, sid: &str) -> Result<Self, ClientError> {
        let mut socket = Self::web_socket(connector, &format!("&sid={sid}")).await?;
        socket.send("2probe".to_owned()).await?;
        let text = socket.receive().await?;
        if text.as_str() != "3probe" {
            return Err(ClientError::unexpected("the answer to the probe", &text));
        }
        socket.send("5".to_owned()).await?;
        Ok(socket)
    }

    async fn web_socket(connector: &Connector, session: &str) -> Result<Self, ClientError> {
        let target = connector.target();
        let scheme = if target.tls { "wss" } else { "ws" };
        let path = target.path(&format!("/socket.io/?EIO=4&transport=websocket{session}"));
        let mut request = format!("{scheme}://{}{path}", target.authority).into_client_request().map_err(failed)?;
        request.headers_mut().insert("user-agent", HeaderValue::from_static("chat-server"));
        let stream = connector.connect().await?.stream;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let (stream, _) = client_async_with_config(request, stream, Some(config)).await.map_err(failed)?;
        Ok(Self { stream, events: VecDeque::new(), asked: 0 })
    }

    /// Enters the namespace, and returns the answer's payload.
    ///
    /// # Errors
    /// The server refuses the token, or does not answer as a Socket.IO server does.
    pub(crate) async fn connect(&mut self, token: &str) -> Result<Value, ClientError> {
        self.send(connect_packet(Some(token))).await?;
        loop {
            let packet = self.next_packet().await?;
            if let Some(answer) = connect_answer(packet) {
                return answer;
            }
        }
    }

    /// Sends an event, and returns the first argument of its acknowledgement.
    ///
    /// # Errors
    /// The connection ends.
    pub(crate) async fn ask(&mut self, event: &str, payload: &Value) -> Result<Value, ClientError> {
        let id = self.asked;
        self.asked += 1;
        self.send(event_packet(id, event, payload)).await?;
        loop {
            match self.next_packet().await? {
                Packet::Ack(of, mut arguments) if of == id && !arguments.is_empty() => return Ok(arguments.remove(0)),
                Packet::Event(name, arguments) => self.keep(name, arguments),
                _ => {}
            }
        }
    }

    fn keep(&mut self, name: String, arguments: Vec<Value>) {
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back((name, arguments));
    }

    /// The first argument of the next event that `wanted` takes.
    ///
    /// # Errors
    /// The connection ends.
    pub(crate) async fn event(&mut self, wanted: impl Fn(&str, &Value) -> bool) -> Result<Value, ClientError> {
        loop {
            let (name, arguments) = match self.events.pop_front() {
                Some(event) => event,
                None => match self.next_packet().await? {
                    Packet::Event(name, arguments) => (name, arguments),
                    _ => continue,
                },
            };
            if let Some(first) = arguments.into_iter().next().filter(|first| wanted(&name, first)) {
                return Ok(first);
            }
        }
    }

    /// Waits for a ping, and answers it.
    ///
    /// # Errors
    /// The connection ends.
    pub(crate) async fn heartbeat(&mut self) -> Result<(), ClientError> {
        loop {
            let text = self.receive().await?;
            if text.as_str() == "2" {
                return self.send("3".to_owned()).await;
            }
        }
    }

    async fn next_packet(&mut self) -> Result<Packet, ClientError> {
        let text = self.next_text().await?;
        match Packet::parse(&text)? {
            Packet::Close | Packet::Disconnected => Err(ClientError::Ended("the server closed it")),
            packet => Ok(packet),
        }
    }

    /// The next packet that is no ping; pings are answered.
    async fn next_text(&mut self) -> Result<Utf8Bytes, ClientError> {
        loop {
            let text = self.receive().await?;
            if text.as_str() != "2" {
                return Ok(text);
            }
            self.send("3".to_owned()).await?;
        }
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) async fn send(&mut self, packet: String) -> Result<(), ClientError> {
        self.stream.send(Message::text(packet)).await.map_err(failed)
    }

    /// Closes the connection as a client does that goes away; waits for the server, but not for long.
    pub(crate) async fn close(mut self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let closed = async {
            // A failure means that it is closed already.
            if self.stream.close(None).await.is_ok() {
                while self.stream.next().await.is_some_and(|message| message.is_ok()) {}
            }
        };
        let _ = tokio::time::timeout(PATIENCE, closed).await;
    }

    /// The next packet, pings included. Nothing is lost when it is dropped before it ends.
    ///
    /// # Errors
    /// The connection ends.
    pub(crate) async fn receive(&mut self) -> Result<Utf8Bytes, ClientError> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(_))) | None => return Err(ClientError::Ended("the WebSocket was closed")),
                // Attachments, which nobody here asks for, and frames that the library answers.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(failed(error)),
            }
        }
    }
}

fn failed(error: Error) -> ClientError {
    match error {
        Error::Http(answer) => {
            let server = answer.headers().get("server").and_then(|value| value.to_str().ok()).map(excerpt);
            let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            ClientError::Status(Refused { status: answer.status(), server, body: excerpt(&body) })
        }
        error => ClientError::WebSocket(error.to_string()),
    }
}
