//! The fixture servers of the official suites: small programs on the crates, as the suites' own fixtures are on Node.
//!
//! `CONF_FIXTURE` names the fixture, `PORT` the port. `conformance/official` starts them.

mod eio;
mod sio;

use std::{env, net::TcpListener, time::Duration};

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let port = env::var("PORT").context("PORT")?.parse::<u16>().context("PORT")?;
    let fixture = env::var("CONF_FIXTURE").context("CONF_FIXTURE")?;
    // Both address families, where the machine has both: `localhost` may be either.
    let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)))?;
    match fixture.as_str() {
        "eio" => eio::serve(listener),
        "sio" => sio::serve(listener),
        other => anyhow::bail!("CONF_FIXTURE is {other:?}: there are eio and sio"),
    }
}

/// What both protocol suites expect of the engine: heartbeats they can wait for, and any origin.
fn engine() -> engineio::Config {
    let mut config = engineio::Config::default();
    config.cors = Some(engineio::http::Cors::default());
    config.ping_interval = Duration::from_millis(300);
    config.ping_timeout = Duration::from_millis(200);
    config
}
