//! The port of `http.admin_listen`: API, metrics and health, apart from what the public reaches.
//!
//! It has a thread and an engine of its own, which opens no sessions: whatever keeps the chat's shards busy, an operator gets an answer,
//! if only that they do not answer.

use std::{
    io,
    net::{IpAddr, TcpListener},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use engineio::{
    CloseReason, ConnKey, Handler, Handshake, Message, Outbox, Refusal,
    hooks::Outcome,
    http::Hosts,
    net::{Handle, OtherRequest, Running, Server},
};
use http::{HeaderMap, Response, StatusCode, header, uri::Authority};

use crate::{config::Config, log_line::Shown};

/// The most connections of this port: it is for a few programs of the operator.
const MAX_CONNECTIONS: usize = 256;

/// A path that no request has, for it has a space: all of them go past the engine.
const NO_PATH: &str = "/no path/";

/// Nobody gets a session here.
struct NoSessions;

impl Handler for NoSessions {
    fn on_handshake(&mut self, _: &mut dyn Outbox, _: &Handshake<'_>) -> Result<(), Refusal> {
        Err(Refusal::Forbidden)
    }
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
    fn on_message(&mut self, _: &mut dyn Outbox, _: ConnKey, _: Message<'_>) {}
    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
}

/// Whether a request is for a host that this port has. A page can make a name of its own point here (DNS rebinding), and would read
/// what is for the operator. Such a name is registered, so it has a dot; addresses and the names of a network's own, such as those of
/// containers, are none. Beside them there are those of the configuration.
fn is_own(headers: &HeaderMap, config: &Config) -> bool {
    let hosts = config.http.hosts.iter().chain(&config.http.admin_hosts).cloned().collect();
    Hosts::Listed { hosts, loopback: true }.allow(headers) || host(headers).is_some_and(|host| is_of_no_page(&host))
}

/// The host without its port.
fn host(headers: &HeaderMap) -> Option<String> {
    let authority: Authority = headers.get(header::HOST)?.to_str().ok()?.parse().ok()?;
    Some(authority.host().to_owned())
}

fn is_of_no_page(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.parse::<IpAddr>().is_ok() || !host.contains('.')
}

fn refusal(headers: &HeaderMap) -> Response<Bytes> {
    let host = host(headers).unwrap_or_default();
    tracing::warn!(
        host = %Shown(&host),
        "a request for a foreign host is refused on http.admin_listen. If the name is yours, add it to http.admin_hosts"
    );
    let mut response = Response::new(Bytes::from_static(
        b"the operator's address does not answer for this host. If the name is yours, add it to http.admin_hosts\n",
    ));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

/// Serves what `answer` answers, for the hosts of `config` as it is at that time; `shards` are the chat's.
///
/// # Errors
/// The operating system gives no thread.
pub(crate) fn start(
    listener: TcpListener,
    shards: Handle,
    config: Arc<ArcSwap<Config>>,
    answer: impl Fn(&OtherRequest<'_>) -> Outcome<Response<Bytes>> + Send + Sync + 'static,
) -> io::Result<Running> {
    let mut engine = engineio::Config::default();
    engine.path = NO_PATH.to_owned();
    engine.max_connections = MAX_CONNECTIONS;
    Server::new(engine)
        .fallback(move |request| {
            let headers = &request.parts.headers;
            match is_own(headers, &config.load()) {
                true => answer(&OtherRequest { handle: &shards, ..*request }),
                false => Outcome::Ready(refusal(headers)),
            }
        })
        .serve(listener, || NoSessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_cannot_read_by_a_name_of_its_own() {
        let mut config = Config::default();
        config.http.hosts = vec!["chat.example".to_owned()];
        config.http.admin_hosts = vec!["metrics.corp.example".to_owned()];
        for (host, own) in [
            (None, true),
            (Some("localhost:3001"), true),
            (Some("127.0.0.1:3001"), true),
            (Some("10.1.2.3:3001"), true),
            (Some("[2001:db8::1]:3001"), true),
            (Some("chat:3001"), true),
            (Some("chat.example"), true),
            (Some("METRICS.corp.example.:3001"), true),
            (Some("evil.example:3001"), false),
            (Some("chat.example.evil.example"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some("evil."), false),
        ] {
            let headers = host.map(|host| (header::HOST, host.parse().unwrap())).into_iter().collect();
            assert_eq!(is_own(&headers, &config), own, "{host:?}");
        }
    }
}
