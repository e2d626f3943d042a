//! How the bytes of a session travel: long-polling, WebSocket, and the upgrade from one to the other.
//!
//! | file | what it does |
//! |---|---|
//! | `polling` | GET and POST of long-polling |
//! | `websocket` | the read loop of a WebSocket |
//! | `upgrade` | the WebSocket that probes a polling session |
//! | `switching` | what a connection becomes after the answer 101 |
//! | `session_shard` | reaches the shard that owns a session, for requests that came in on any shard |

pub(in crate::net) mod polling;
pub(in crate::net) mod session_shard;
pub(in crate::net) mod switching;
pub(in crate::net) mod upgrade;
pub(in crate::net) mod websocket;
