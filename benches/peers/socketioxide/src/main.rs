//! The chat on socketioxide: the Rust peer the benchmarks compare with. JWT (HS256) at CONNECT, rooms, id and timestamp
//! stamped, one broadcast per message.
//!
//! What a careful operator would set is set: one thread with tokio's current-thread runtime, hyper without a router in
//! between, `TCP_NODELAY`, no logging, handlers that capture what they need. A context is relayed as the raw JSON that came,
//! which is the cheapest their API has; only one with attachments is decoded, because theirs must see the binary values.

mod chat;
mod tls;
mod token;

use std::error::Error;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use socketioxide::SocketIo;
use tokio::net::TcpListener;
use tokio::runtime;

use crate::token::Verifier;

/// Packets queued for a client that takes none; more are not sent to it. Their default of 128 is less than a burst.
const MAX_BUFFER: usize = 1024;
/// As the other peers: Engine.IO's default.
const MAX_PAYLOAD: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = pico_args::Arguments::from_env();
    let listen: SocketAddr =
        args.opt_value_from_str("--listen")?.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let secret: String = args.value_from_str("--jwt-secret")?;
    let interval = Duration::from_millis(args.opt_value_from_str("--ping-interval-ms")?.unwrap_or(25_000));
    let timeout = Duration::from_millis(args.opt_value_from_str("--ping-timeout-ms")?.unwrap_or(20_000));
    let acceptor = match args.opt_value_from_str::<_, String>("--tls-cert")? {
        Some(cert) => Some(tls::acceptor(&cert, &args.value_from_str::<_, String>("--tls-key")?)?),
        None => None,
    };
    let rest = args.finish();
    if !rest.is_empty() {
        return Err(format!("unknown arguments: {rest:?}").into());
    }
    let verifier = Verifier::new(&secret);
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let builder = SocketIo::builder().ping_interval(interval).ping_timeout(timeout);
        let (service, io) = builder.max_buffer_size(MAX_BUFFER).max_payload(MAX_PAYLOAD).build_svc();
        chat::register(&io, verifier);
        let listener = TcpListener::bind(listen).await?;
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        writeln!(stdout(), "listening on {scheme}://{}", listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (service, acceptor) = (service.clone(), acceptor.clone());
            tokio::spawn(async move {
                let http = http1::Builder::new();
                // A connection that breaks off, or whose handshake fails, is its client's affair.
                match acceptor {
                    None => _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await,
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
                    }
                }
            });
        }
    })
}
