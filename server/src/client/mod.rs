//! A client of a running server, for `check` and `bench`: the URL, TCP and TLS, one HTTP connection, and Socket.IO over a WebSocket.
//!
//! It shares no code with the server, so that a fault of the server's codecs shows: HTTP is hyper's, WebSockets are tungstenite's.
//!
//! | file | what it does |
//! |---|---|
//! | `target` | the URL of a server |
//! | `stream` | connects: TCP, and TLS where the URL says `https` |
//! | `http` | requests on one HTTP connection, and sessions over long-polling |
//! | `packet` | packets of Engine.IO and Socket.IO, as a client gets them |
//! | `socket` | Socket.IO over a WebSocket |
//! | `error` | what went wrong, and who is to blame |

mod error;
mod http;
mod packet;
mod socket;
mod stream;
mod target;

pub(crate) use error::ClientError;
pub(crate) use http::{HttpConnection, PollingSession};
pub(crate) use packet::Handshake;
pub(crate) use socket::Socket;
pub(crate) use stream::Connector;
pub(crate) use target::Target;
