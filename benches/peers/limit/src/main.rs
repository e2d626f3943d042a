//! The chat at its physical limit: one thread, one epoll loop, frames encoded once and written with as few system calls
//! and as little work in between as the workload allows. It is what the benchmarks call `limit-write` and
//! `limit-batch`, a floor to compare with and no product: benches/peers/README.md lists what it leaves out.

mod chat;
mod conn;
mod http;
mod polling;
mod rooms;
mod server;
mod stamp;
mod token;
mod ws;

use std::error::Error;
use std::io::{Write, stdout};
use std::net::SocketAddr;

use crate::server::{Config, Mode, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = pico_args::Arguments::from_env();
    let listen: SocketAddr =
        args.opt_value_from_str("--listen")?.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let secret: String = args.value_from_str("--jwt-secret")?;
    let mode = match args.opt_value_from_str::<_, String>("--mode")?.as_deref() {
        None | Some("write") => Mode::Write,
        Some("batch") => Mode::Batch,
        Some(other) => return Err(format!("--mode is write or batch, not {other:?}").into()),
    };
    let ping_interval_ms = args.opt_value_from_str("--ping-interval-ms")?.unwrap_or(25_000);
    let ping_timeout_ms = args.opt_value_from_str("--ping-timeout-ms")?.unwrap_or(20_000);
    let rest = args.finish();
    if !rest.is_empty() {
        return Err(format!("unknown arguments: {rest:?}").into());
    }
    let mut server = Server::bind(listen, Config { mode, ping_interval_ms, ping_timeout_ms }, &secret)?;
    writeln!(stdout(), "listening on http://{}", server.address()?)?;
    server.run()?;
    Ok(())
}
