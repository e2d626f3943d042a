//! The chat of the socketioxide peer on this repository's crate `socketio`, in the two ways that it offers: closures with typed
//! arguments, and the handler trait with raw JSON. Both do what that peer does, so that the difference is the layer's cost.

mod closures;
mod message;
mod token;
mod trait_handler;

use std::{error::Error, net::SocketAddr, time::Duration};

use crate::token::Verifier;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = pico_args::Arguments::from_env();
    let api: String = args.value_from_str("--api")?;
    let listen: SocketAddr =
        args.opt_value_from_str("--listen")?.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let secret: String = args.value_from_str("--jwt-secret")?;
    let mut engine = socketio::engineio::Config::default();
    engine.path = "/socket.io/".to_owned();
    if let Some(interval) = args.opt_value_from_str("--ping-interval-ms")? {
        engine.ping_interval = Duration::from_millis(interval);
    }
    let rest = args.finish();
    if !rest.is_empty() {
        return Err(format!("unknown arguments: {rest:?}").into());
    }
    let verifier = Verifier::new(&secret);
    match api.as_str() {
        "closures" => closures::serve(listen, engine, verifier),
        "trait" => trait_handler::serve(listen, engine, verifier),
        _ => Err(format!("--api is closures or trait, not {api}").into()),
    }
}
