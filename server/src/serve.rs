//! Serving: binds the address, says so on standard output, and waits for the signal to end.

use std::future::poll_fn;
use std::io::Write as _;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::{dev, logging};

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The address cannot be bound, or the runtime cannot be built.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let cannot_listen = || format!("cannot listen on {}", config.listen);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(config.listen).await.with_context(cannot_listen)?;
    logging::warn(&config.warnings);
    let mut lines = format!("listening on http://{}\n", listener.local_addr()?);
    if config.development {
        lines.push_str(&dev::token_lines(&config.auth, SystemTime::now().duration_since(UNIX_EPOCH)?)?);
    }
    // Nobody may be reading standard output; that is no reason not to serve.
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(lines.as_bytes()).and_then(|()| output.flush());
    drop(output);
    poll_fn(|cx| match (terminate.poll_recv(cx), interrupt.poll_recv(cx)) {
        (Poll::Pending, Poll::Pending) => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
    Ok(())
}
