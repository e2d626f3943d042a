//! Accepting connections, and going on when there are no file descriptors left.

use std::{io, time::Duration};

use tokio::net::TcpListener;

use super::{Fallback, http_edge, shard::ShardRef};
use crate::Handler;

/// How long to wait before trying again when the process or the machine has no descriptor left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts for ever. Each connection is a task of this thread.
pub(super) async fn accept<H: Handler + 'static>(listener: TcpListener, shard: ShardRef<H>, fallback: Fallback) {
    let mut starved = false;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if std::mem::take(&mut starved) {
                    tracing::info!("accepting again");
                }
                // Without it small packets wait for the peer's delayed acknowledgements.
                let _ = stream.set_nodelay(true);
                tokio::task::spawn_local(http_edge::serve(shard.clone(), fallback.clone(), stream, remote));
            }
            // The peer was gone before it was accepted: its own affair.
            Err(error) if is_peers_fault(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut starved, true) {
                    tracing::error!(%error, "cannot accept; connections wait");
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
