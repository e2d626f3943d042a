//! What is done to one socket, for itself or among many.

use engineio::{CloseReason, Outbox};
use smallvec::SmallVec;

use super::gather::Delivery;
use crate::{
    error::DisconnectReason,
    state::{State, ids::SocketKey},
};

/// Sends a socket what its rooms hold back, before anything else that concerns it.
#[inline]
pub(crate) fn flush_held_frames(state: &mut State, outbox: &mut dyn Outbox, key: SocketKey) {
    if !state.gathered.is_empty() {
        Delivery::new(state, outbox).flush_held_frames(key);
    }
}

/// Puts a socket into a room; `false` when it was there, or is gone.
#[inline]
pub(crate) fn join(state: &mut State, outbox: &mut dyn Outbox, key: SocketKey, room: &str) -> bool {
    // First it gets what its rooms hold back; of the new room it gets only what comes after.
    flush_held_frames(state, outbox, key);
    state.join(key, room)
}

/// Takes a socket out of a room; `false` when it was not there.
#[inline]
pub(crate) fn leave(state: &mut State, outbox: &mut dyn Outbox, key: SocketKey, room: &str) -> bool {
    flush_held_frames(state, outbox, key);
    state.leave(key, room)
}

/// Makes a socket leave its namespace, and says so to its client. With `close`, all sockets of the client leave theirs, and then
/// the engine session ends.
pub(crate) fn disconnect(state: &mut State, outbox: &mut dyn Outbox, key: SocketKey, close: bool) {
    let Some(conn) = state.socket(key).map(|socket| socket.conn) else { return };
    let leaving: SmallVec<[SocketKey; 1]> = match state.client(conn) {
        Some(client) if close => client.sockets.iter().map(|(_, socket)| *socket).collect(),
        _ => SmallVec::from_slice(&[key]),
    };
    let (now, encoder) = (outbox.now(), state.config.encoder());
    for key in leaving {
        flush_held_frames(state, outbox, key);
        let nsp = state.socket(key).and_then(|socket| state.namespaces.get(socket.nsp));
        if let Some(nsp) = nsp {
            // A client that cannot be sent this is gone.
            let _ = outbox.send(conn, &encoder.disconnect(&nsp.name));
        }
        state.remove_socket(key, DisconnectReason::ServerNamespaceDisconnect, now);
    }
    if close {
        outbox.close(conn, CloseReason::ForcedClose);
    }
}
