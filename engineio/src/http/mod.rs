//! Decides what to do with a request, and makes the answer from the result.
//!
//! Only decisions, and the bytes of plain requests and their answers ([`mod@plain`]). The layer that owns sockets does
//! all other HTTP. Engine.IO protocol v4 and v3, "HTTP long-polling" and "WebSocket".
//!
//! | module | what it holds |
//! |---|---|
//! | [`query`] | the parameters of a request |
//! | [`route`](mod@route) | what a request asks for, and which are refused |
//! | [`head`] | what a request head must be beyond what a parser checks |
//! | [`plain`] | the head of a request that can be read in one way only |
//! | [`admission`] | whether a handshake may become a session |
//! | [`refusal`] | why a request is refused |
//! | [`answer`] | status, headers and body of every answer |
//! | [`mod@encode`] | the bytes of an answer |
//! | [`origin`] | which web pages may talk to the server |
//! | [`forwarded`] | what proxies say about the client |
//! | [`refusal_log`] | which refusals are logged |
//! | [`cors`] | what browsers are told about that |
//! | [`cookie`] | the cookie of a polling handshake |
//! | [`files`] | files below the engine's path |
//! | [`compression`] | gzip and deflate for poll bodies |
//! | [`host`] | whether a request names its host, and for which hosts the server answers |
//! | [`jsonp`] | the script form of polling (v3) |

pub mod admission;
pub mod answer;
pub mod compression;
pub mod cookie;
pub mod cors;
pub mod encode;
pub mod files;
pub mod forwarded;
pub mod head;
pub mod host;
pub mod jsonp;
pub mod origin;
pub mod plain;
pub mod query;
pub mod refusal;
pub mod refusal_log;
pub mod route;

pub(crate) mod json;

use std::fmt;

pub use compression::HttpCompression;
pub use cookie::{Cookie, Priority, SameSite};
pub use cors::{Cors, CorsOrigins, OriginTest};
pub use files::Files;
pub use forwarded::{Network, TrustedProxies};
pub use host::Hosts;
pub use origin::Origins;
pub use query::Query;
pub use refusal::{RefusalReason, Refused};
pub use route::{Action, PostBody, Route, below_path, check_session, matches_path, post_body, route};

use crate::{Config, session::Transport};

/// The body of the handshake: the JSON after the packet type `0`, keys in the reference's order. `upgrades` names
/// the WebSocket to a session on polling, unless the configuration rules it out. The same in both revisions.
#[must_use]
pub fn open_json(sid: &impl fmt::Display, transport: Transport, config: &Config) -> String {
    let upgrades =
        config.allow_upgrades && transport == Transport::Polling && config.transports.contains(&Transport::WebSocket);
    let upgrades = if upgrades { r#"["websocket"]"# } else { "[]" };
    format!(
        r#"{{"sid":"{sid}","upgrades":{upgrades},"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
        config.ping_interval.as_millis(),
        config.ping_timeout.as_millis(),
        config.max_payload
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sid;

    #[test]
    fn the_handshake_has_the_reference_key_order() {
        let sid = Sid::new(0, 0, [0; 15]);
        let json = |upgrades| {
            format!(
                r#"{{"sid":"{sid}","upgrades":{upgrades},"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
            )
        };
        let mut config = Config::default();
        assert_eq!(open_json(&sid, Transport::Polling, &config), json(r#"["websocket"]"#));
        assert_eq!(open_json(&sid, Transport::WebSocket, &config), json("[]"));
        config.transports = vec![Transport::Polling];
        assert_eq!(open_json(&sid, Transport::Polling, &config), json("[]"));
        config = Config::default();
        config.allow_upgrades = false;
        assert_eq!(open_json(&sid, Transport::Polling, &config), json("[]"));
    }
}
