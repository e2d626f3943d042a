//! The chat as most would write it on tokio: a task for each connection, which reads its WebSocket and writes what a channel
//! brings; a broadcast is encoded once and its shared frame pushed into every member's channel. It is the control: what the
//! chat server's own structure is worth shows beside it. One thread, WebSocket only.

mod chat;
mod token;

use std::cell::RefCell;
use std::error::Error;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use uuid::Uuid;

use crate::chat::{Chat, Socket};
use crate::token::Verifier;

/// Frames queued for a client; one that is further behind is closed.
const QUEUE: usize = 1024;
/// Frames written before the socket is flushed and read again.
const BATCH: usize = 64;
/// Longest message in bytes: Engine.IO's default.
const MAX_PAYLOAD: usize = 1_000_000;
/// Of each connection, in bytes: the default of 128 KiB is for few busy ones.
const READ_BUFFER: usize = 4096;

#[derive(Clone, Copy)]
struct Heartbeat {
    interval: Duration,
    timeout: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = pico_args::Arguments::from_env();
    let listen: SocketAddr =
        args.opt_value_from_str("--listen")?.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let secret: String = args.value_from_str("--jwt-secret")?;
    let interval = Duration::from_millis(args.opt_value_from_str("--ping-interval-ms")?.unwrap_or(25_000));
    let timeout = Duration::from_millis(args.opt_value_from_str("--ping-timeout-ms")?.unwrap_or(20_000));
    let rest = args.finish();
    if !rest.is_empty() {
        return Err(format!("unknown arguments: {rest:?}").into());
    }
    let chat = Rc::new(RefCell::new(Chat::new(Verifier::new(&secret))));
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(listen).await?;
        writeln!(stdout(), "listening on http://{}", listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (frames, queue) = mpsc::channel(QUEUE);
            let socket = Socket::new(Rc::clone(&chat), frames);
            let evict = socket.evict();
            let task = tokio::task::spawn_local(serve(stream, socket, queue, Heartbeat { interval, timeout }));
            evict.set(Some(task.abort_handle()));
        }
    })
}

/// One connection, from its handshake to its end.
async fn serve(stream: TcpStream, mut socket: Socket, mut queue: mpsc::Receiver<Message>, beat: Heartbeat) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_PAYLOAD))
        .max_frame_size(Some(MAX_PAYLOAD));
    let Ok(mut ws) = accept_hdr_async_with_config(stream, check, Some(config)).await else { return };
    let open = format!(
        "0{{\"sid\":\"{}\",\"upgrades\":[],\"pingInterval\":{},\"pingTimeout\":{},\"maxPayload\":{MAX_PAYLOAD}}}",
        Uuid::new_v4().simple(),
        beat.interval.as_millis(),
        beat.timeout.as_millis()
    );
    if ws.send(open.into()).await.is_err() {
        return;
    }
    let mut timer = pin!(sleep(beat.interval));
    let mut pinged = false;
    loop {
        let going_on = tokio::select! {
            message = ws.next() => match message {
                Some(Ok(Message::Text(text))) if text.as_str() == "3" => {
                    pinged = false;
                    timer.as_mut().reset(Instant::now() + beat.interval);
                    true
                }
                Some(Ok(Message::Text(text))) => socket.on_text(&text).is_ok(),
                Some(Ok(Message::Binary(bytes))) => socket.on_attachment(bytes).is_ok(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => ws.flush().await.is_ok(),
                _ => false,
            },
            Some(frame) = queue.recv() => {
                let mut fed = ws.feed(frame).await.is_ok();
                for _ in 1..BATCH {
                    let Ok(frame) = queue.try_recv() else { break };
                    fed &= ws.feed(frame).await.is_ok();
                }
                fed && ws.flush().await.is_ok()
            }
            () = &mut timer => {
                let silent = std::mem::replace(&mut pinged, true);
                timer.as_mut().reset(Instant::now() + beat.timeout);
                !silent && ws.send(Message::Text("2".into())).await.is_ok()
            }
        };
        if !going_on {
            return;
        }
    }
}

/// Long-polling is left out: what is no WebSocket handshake of Engine.IO 4 is refused.
#[expect(clippy::result_large_err, reason = "tungstenite's signature")]
fn check(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let asks = |pair: &str| request.uri().query().is_some_and(|query| query.split('&').any(|found| found == pair));
    let status = match request.uri().path() {
        "/socket.io/" if asks("EIO=4") && asks("transport=websocket") => return Ok(response),
        "/socket.io/" => StatusCode::BAD_REQUEST,
        _ => StatusCode::NOT_FOUND,
    };
    let mut refusal = ErrorResponse::new(None);
    *refusal.status_mut() = status;
    Err(refusal)
}
