//! Functions of the fuzz targets: each takes any bytes, and panics when the code under test breaks a promise.
//!
//! They are ordinary functions, so that they can be called by libFuzzer (`fuzz_targets/`), by the replay of the corpus
//! on stable Rust (`tests/replay.rs`), and by anyone who has the bytes of a finding. Each module says what the bytes
//! mean to its function; the README says how to run one.
//!
//! | target | what is under test | compared with |
//! |---|---|---|
//! | `ws_frames` | `engineio::ws` | every way of cutting, memory, tungstenite |
//! | `ws_deflate` | `engineio::ws::deflate`, with the decoder | every way of cutting, memory, miniz_oxide |
//! | `payload` | `engineio::{payload, packet, shared_frame}` | encoding and decoding again |
//! | `payload_v3` | `engineio::payload::v3`, `engineio::packet::v3` | a second parser, encoding and decoding again |
//! | `jsonp` | `engineio::http::jsonp` | serde_json as the script's reader, the encoding of the official client |
//! | `handshake` | `engineio::{http, sid}`, `engineio::ws::{handshake, extensions}` | rules, second parsers, tungstenite's accept key |
//! | `forwarded` | `engineio::http::forwarded` | a writer of such headers, rules |
//! | `proxy_protocol` | `engineio::proxy_protocol` | every way of cutting, a writer, a second parser |
//! | `polling` | `engineio::http::{plain, encode}` | hyper on the same bytes, every way of cutting |
//! | `parser` | `socketio::parser` | limits, encoding and decoding again, serde_json |
//! | `msgpack` | `socketio::parser::msgpack` | limits, encoding and decoding again, serde_json |
//! | `json` | `socketio::json` | serde_json |
//! | `session` | `engineio::session` | a model of its deadlines |
//! | `connection` | all of them together, with `socketio::Server` on top | rules, tungstenite and serde_json as the client |

mod connection;
mod forwarded;
mod handshake;
mod input;
mod json;
mod jsonp;
mod msgpack;
mod negotiation;
mod parser;
mod payload;
mod payload_v3;
mod polling;
mod proxy_protocol;
mod session;
mod wire;
mod ws_deflate;
mod ws_frames;

pub use connection::connection;
pub use forwarded::forwarded;
pub use handshake::handshake;
pub use json::json;
pub use jsonp::jsonp;
pub use msgpack::msgpack;
pub use parser::parser;
pub use payload::payload;
pub use payload_v3::payload_v3;
pub use polling::polling;
pub use proxy_protocol::proxy_protocol;
pub use session::session;
pub use ws_deflate::ws_deflate;
pub use ws_frames::ws_frames;

/// A fuzz target. Its name is also the name of its binary and of its folder in the corpus.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// The function that runs one input.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 14] = [
    Target { name: "ws_frames", run: ws_frames },
    Target { name: "ws_deflate", run: ws_deflate },
    Target { name: "payload", run: payload },
    Target { name: "payload_v3", run: payload_v3 },
    Target { name: "jsonp", run: jsonp },
    Target { name: "handshake", run: handshake },
    Target { name: "forwarded", run: forwarded },
    Target { name: "proxy_protocol", run: proxy_protocol },
    Target { name: "polling", run: polling },
    Target { name: "parser", run: parser },
    Target { name: "msgpack", run: msgpack },
    Target { name: "json", run: json },
    Target { name: "session", run: session },
    Target { name: "connection", run: connection },
];
