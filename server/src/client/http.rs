//! Requests on one HTTP connection, and a session over long-polling.

use bytes::Bytes;
use futures_util::future::join;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{
    error::{ClientError, Refused, excerpt},
    packet::{Handshake, Packet, connect_answer, connect_packet, event_packet},
    stream::Connector,
};

/// Bytes of the longest body that is read: more than `engine.max_payload` ever is in practice.
const MAX_BODY: usize = 8 << 20;

/// Path and query of a session over long-polling.
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// What separates the packets of a payload.
const SEPARATOR: char = '\u{1e}';

/// One HTTP/1.1 connection.
pub(crate) struct HttpConnection {
    connector: Connector,
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
    origin: Option<String>,
}

impl Drop for HttpConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    headers: HeaderMap,
    /// Its body as text.
    pub(crate) body: String,
}

impl Answer {
    /// The answer as an error.
    pub(crate) fn refused(&self) -> Refused {
        let server = self.headers.get(header::SERVER).and_then(|value| value.to_str().ok());
        Refused { status: self.status, server: server.map(excerpt), body: excerpt(&self.body) }
    }

    /// The body, if the status is 200.
    fn ok(&self) -> Result<&str, ClientError> {
        if self.status == StatusCode::OK { Ok(&self.body) } else { Err(ClientError::Status(self.refused())) }
    }
}

impl HttpConnection {
    /// Opens a connection. Its requests name `origin`, if there is one, as those of a page do.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub(crate) async fn open(connector: &Connector, origin: Option<&str>) -> Result<Self, ClientError> {
        let stream = connector.connect().await?.stream;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| http_error(&error))?;
        // It ends with the connection; what went wrong, the request says.
        let task = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { connector: connector.clone(), sender, task, origin: origin.map(ToOwned::to_owned) })
    }

    /// Asks for one of the server's own paths.
    ///
    /// # Errors
    /// The connection ends before the answer does.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    async fn request(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let target = self.connector.target();
        let mut request = Request::builder()
            .method(method)
            .uri(target.path(path))
            .header(header::HOST, &target.authority)
            .header(header::USER_AGENT, "chat-server");
        if let Some(origin) = &self.origin {
            request = request.header(header::ORIGIN, origin);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "text/plain;charset=UTF-8");
        }
        let request = request.body(Full::new(body)).map_err(|error| ClientError::Http(error.to_string()))?;
        self.sender.ready().await.map_err(|error| http_error(&error))?;
        let answer = self.sender.send_request(request).await.map_err(|error| http_error(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| ClientError::Http(error.to_string()))?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

fn http_error(error: &hyper::Error) -> ClientError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    ClientError::Http(format!("{error}{cause}"))
}

/// A session over long-polling: two connections, one that waits for packets and one that brings them, as a browser has.
pub(crate) struct PollingSession {
    polls: HttpConnection,
    posts: HttpConnection,
    path: String,
    /// What the server said when it opened.
    pub(crate) handshake: Handshake,
    events: u64,
}

impl PollingSession {
    /// Opens a session.
    ///
    /// # Errors
    /// The server cannot be reached, or does not answer with a handshake.
    pub(crate) async fn open(connector: &Connector) -> Result<Self, ClientError> {
        let mut polls = HttpConnection::open(connector, None).await?;
        let posts = HttpConnection::open(connector, None).await?;
        let answer = polls.get(POLLING).await?;
        let body = answer.ok()?;
        let Ok(Packet::Open(handshake)) = Packet::parse(body) else {
            return Err(ClientError::unexpected("the handshake of Engine.IO", body));
        };
        let path = format!("{POLLING}&sid={}", handshake.sid);
        Ok(Self { polls, posts, path, handshake, events: 0 })
    }

    /// Asks whether a page of this origin may open a session. Returns the answer's status.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) async fn try_origin(connector: &Connector, origin: &str) -> Result<StatusCode, ClientError> {
        let mut connection = HttpConnection::open(connector, Some(origin)).await?;
        Ok(connection.get(POLLING).await?.status)
    }

    /// Enters the namespace, and returns the answer's payload.
    ///
    /// # Errors
    /// The server refuses the token, or does not answer as a Socket.IO server does.
    pub(crate) async fn connect(&mut self, token: Option<&str>) -> Result<Value, ClientError> {
        self.post(connect_packet(token)).await?;
        self.poll_until("the answer to CONNECT", connect_answer).await
    }

    /// Sends an event while a poll waits, and returns the first argument of its acknowledgement.
    ///
    /// # Errors
    /// The session ends, or does not answer as a Socket.IO server does.
    pub(crate) async fn ask(&mut self, event: &str, payload: &Value) -> Result<Value, ClientError> {
        let id = self.events;
        self.events += 1;
        let packet = event_packet(id, event, payload);
        let Self { polls, posts, path, .. } = self;
        // The poll is there before the event, as it is in a browser.
        let (poll, post) = join(polls.get(path), posts.request(Method::POST, path, packet.into())).await;
        post?.ok()?;
        let is_answer = |packet| match packet {
            Packet::Ack(of, mut arguments) if of == id && !arguments.is_empty() => Some(Ok(arguments.remove(0))),
            _ => None,
        };
        match find(poll?.ok()?, is_answer)? {
            Some(found) => found,
            None => self.poll_until("an acknowledgement", is_answer).await,
        }
    }

    /// Ends the session, as a client does that goes away.
    pub(crate) async fn close(mut self) {
        // A failure means that it has ended already.
        let _ = self.post("1".to_owned()).await;
    }

    async fn post(&mut self, packet: String) -> Result<(), ClientError> {
        let answer = self.posts.request(Method::POST, &self.path, packet.into()).await?;
        answer.ok().map(|_| ())
    }

    /// Polls until `wanted` finds its packet.
    async fn poll_until(
        &mut self,
        what: &'static str,
        wanted: impl Fn(Packet) -> Option<Result<Value, ClientError>>,
    ) -> Result<Value, ClientError> {
        /// Polls: what comes before the answer (who is online) fits into far fewer.
        const POLLS: usize = 100;
        for _ in 0..POLLS {
            let answer = self.polls.get(&self.path).await?;
            let body = answer.ok()?;
            if body.split(SEPARATOR).any(|packet| packet == "2") {
                self.post("3".to_owned()).await?;
            }
            if let Some(found) = find(body, &wanted)? {
                return found;
            }
        }
        Err(ClientError::unexpected(what, "other packets only"))
    }
}

/// What `wanted` takes from a payload.
fn find(
    body: &str,
    wanted: impl Fn(Packet) -> Option<Result<Value, ClientError>>,
) -> Result<Option<Result<Value, ClientError>>, ClientError> {
    for packet in body.split(SEPARATOR) {
        let packet = Packet::parse(packet)?;
        if matches!(packet, Packet::Close | Packet::Disconnected) {
            return Err(ClientError::Ended("the server closed the session"));
        }
        if let Some(found) = wanted(packet) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
