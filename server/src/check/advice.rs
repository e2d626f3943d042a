//! What an operator can do about a failure.

use std::io::ErrorKind;

use http::StatusCode;

use super::finding::Fault;
use crate::client::ClientError;

/// What to do about `fault` of this step, if anything is known. `tls`: whether the URL says `https`.
pub(super) fn of(step: &str, fault: &Fault, tls: bool) -> Option<&'static str> {
    match fault {
        Fault::Wrong(_, advice) => Some(advice),
        Fault::Refused { error, .. } => of_code(error["code"].as_str().unwrap_or_default()),
        Fault::Client(error) => of_client(step, error, tls),
    }
}

fn of_client(step: &str, error: &ClientError, tls: bool) -> Option<&'static str> {
    Some(match error {
        ClientError::Resolve { .. } => "look at the name in the URL and at this machine's DNS",
        ClientError::Connect { error, .. } if error.kind() == ErrorKind::ConnectionRefused => {
            "nothing listens there: does the server run, and is this address in `listen`?"
        }
        ClientError::Connect { .. } => "look at the firewall, and at the address in the URL",
        ClientError::Tls(error) => of_tls(&error.to_string()),
        ClientError::Http(_) if step == "connect" || !tls => "does this port want https?",
        ClientError::Http(_) => "the connection broke: look at the logs of the proxy and of the server",
        ClientError::Status(refused) => of_status(step, refused.status)?,
        ClientError::WebSocket(_) | ClientError::Unexpected { .. } if step == "websocket" || step == "upgrade" => {
            NO_WEBSOCKET
        }
        ClientError::WebSocket(_) => "the connection broke: look at the logs of the proxy and of the server",
        ClientError::Unexpected { .. } => {
            "something else than chat-server answers: does the proxy pass /socket.io/ on?"
        }
        ClientError::Unauthorized { code, .. } => of_code(code)?,
        ClientError::Ended(_) => "look at the server's log, with log.level = \"debug\" if it says nothing",
        ClientError::Timeout(_) => match step {
            "connect" => "a firewall drops what is sent, or the address is not in use",
            "websocket" | "upgrade" => NO_WEBSOCKET,
            "heartbeat" => {
                "a proxy swallows heartbeats: its time-out for idle connections must be above engine.ping_interval"
            }
            "polling" | "token" => "a proxy holds answers back: it must not buffer them (docs/proxies.md)",
            _ => "the server is overloaded, or a proxy holds answers back",
        },
    })
}

const NO_WEBSOCKET: &str = "the proxy does not pass WebSockets on: nginx needs proxy_http_version 1.1 and the headers Upgrade and \
                            Connection (docs/proxies.md). Clients still work, by long-polling";

fn of_tls(error: &str) -> &'static str {
    if error.contains("UnknownIssuer") {
        "the certificate's issuer is not trusted here: send the whole chain, or name the authority with --ca"
    } else if error.contains("NotValidForName") || error.contains("not valid for name") {
        "the certificate is for another name than the URL's"
    } else if error.contains("xpired") {
        "renew the certificate, or look at this machine's clock"
    } else if error.contains("InvalidContentType") {
        "this port has no TLS: try http://"
    } else {
        "look at the certificate and the versions of TLS"
    }
}

fn of_status(step: &str, status: StatusCode) -> Option<&'static str> {
    Some(match status {
        StatusCode::FORBIDDEN if matches!(step, "alive" | "ready") => {
            "the server's own address does not answer for this name: add it to http.admin_hosts"
        }
        StatusCode::FORBIDDEN => {
            "the server does not answer for this name: add it to http.hosts; or the proxy forbids it"
        }
        StatusCode::NOT_FOUND if matches!(step, "alive" | "ready") => {
            "this address is not that of http.admin_listen: look at --admin, or at the configuration"
        }
        StatusCode::NOT_FOUND => "the proxy does not pass /socket.io/ on to the server, or something else answers",
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            "the proxy does not reach the server: does it run, and where?"
        }
        StatusCode::SERVICE_UNAVAILABLE if step == "ready" => {
            "the server shuts down, or its store fails: see docs/store.md"
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            "too many connections: limits.connect_rate or limits.sockets_per_ip of this address (is the proxy in \
             http.trusted_proxies?), or limits.connections"
        }
        _ if step == "websocket" || step == "upgrade" => NO_WEBSOCKET,
        StatusCode::BAD_REQUEST if step == "polling" || step == "token" => {
            "the request did not reach the session: are there several servers behind one address?"
        }
        _ => return None,
    })
}

/// What to do about an error code of the chat.
fn of_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "token_invalid" => "the token is signed with another secret or algorithm than the server's",
        "token_expired" => "make a new token; or the clocks of the two machines differ",
        "token_not_yet_valid" => "the clocks of the two machines differ, by more than auth.leeway",
        "claims_invalid" => "look at sub, exp, iss and aud of the token, and at auth.issuer and auth.audience",
        "room_forbidden" => "the token does not open the room: name one with --room that it opens",
        "store_unavailable" => "the store cannot write: see /readyz, the server's log, and docs/store.md",
        "server_busy" => "more waits for the store than it may keep in memory: is the disk slow?",
        "rate_limited" => "the token's user is used by others too: take one made for this check",
        _ => return None,
    })
}
