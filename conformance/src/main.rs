//! The fixture servers of the official suites: small programs on our crates, like the suites' own fixtures on Node.
//!
//! `CONF_FIXTURE` names the fixture and `PORT` the port. With `ALLOW_EIO3=1` protocol v3 is served too. `eio`,
//! `clients`, `client-sio` and `recovery` have `SHARDS` shards (default 1). With `PARSER=msgpack` the packets of `clients` are MessagePack.
//! `conformance/official`, `conformance/rfc6455` and the tests beside them start the fixtures.

mod any;
mod client_eio;
mod client_sio;
mod clients;
mod eio;
mod recovery;
mod sio;
mod ws_echo;

use std::{env, net::TcpListener, time::Duration};

use anyhow::Context as _;
use socketio::parser::Parser;

fn main() -> anyhow::Result<()> {
    let port = env::var("PORT").context("PORT")?.parse::<u16>().context("PORT")?;
    let fixture = env::var("CONF_FIXTURE").context("CONF_FIXTURE")?;
    let shards = env::var("SHARDS").ok().map_or(Ok(1), |shards| shards.parse::<u16>()).context("SHARDS")?;
    let allow_eio3 = env::var("ALLOW_EIO3").is_ok_and(|value| value == "1");
    // Both address families, if the machine has both: `localhost` may be either.
    let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)))?;
    // A caller that starts a fixture on port 0 learns the port from this line. Connections wait in the backlog
    // meanwhile.
    println!("listening on http://127.0.0.1:{}", listener.local_addr()?.port());
    match fixture.as_str() {
        "eio" => eio::serve(listener, engine(allow_eio3), shards),
        "sio" => sio::serve(listener, engine(allow_eio3)),
        "client-eio" => client_eio::serve(listener, allow_eio3),
        "client-sio" => client_sio::serve(listener, client_sio_engine(allow_eio3), shards),
        "clients" => clients::serve(listener, engine(allow_eio3), shards, parser()?),
        "recovery" => recovery::serve(listener, engine(allow_eio3), shards),
        "ws-echo" => ws_echo::serve(listener),
        other => {
            anyhow::bail!(
                "CONF_FIXTURE is {other:?}: there are eio, sio, client-eio, client-sio, clients, recovery and ws-echo"
            )
        }
    }
}

fn parser() -> anyhow::Result<Parser> {
    match env::var("PARSER").as_deref() {
        Ok("json") | Err(_) => Ok(Parser::Json),
        Ok("msgpack") => Ok(Parser::Msgpack),
        Ok(other) => anyhow::bail!("PARSER is {other:?}: there are json and msgpack"),
    }
}

/// What the clients expect of the engine. Their pages, with `CORS=1`, come from another origin.
fn client_sio_engine(allow_eio3: bool) -> engineio::Config {
    let mut config = engineio::Config::default();
    config.allow_eio3 = allow_eio3;
    config.cors = env::var("CORS").is_ok_and(|value| value == "1").then(engineio::http::Cors::default);
    config.ping_interval = Duration::from_millis(2000);
    config
}

/// What both protocol suites expect of the engine: a short heartbeat, and any origin.
fn engine(allow_eio3: bool) -> engineio::Config {
    let mut config = engineio::Config::default();
    config.allow_eio3 = allow_eio3;
    config.cors = Some(engineio::http::Cors::default());
    config.ping_interval = Duration::from_millis(300);
    config.ping_timeout = Duration::from_millis(200);
    config
}
