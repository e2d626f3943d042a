//! What handlers want done with sockets is done here, with the shard's [`Io`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    super::commands::{Action, Command, Targets, WhoAsks},
    state::RouterShard,
};
use crate::{broadcast::Broadcast, error::EmitError, io::Io, router::error::SendError, state::ids::RequestId};

impl RouterShard {
    pub(super) fn carry_out(&mut self, io: &mut Io<'_>, commands: &mut Vec<Command>) {
        for command in commands.drain(..) {
            self.tell_outgoing(&command);
            // What cannot be delivered is for a socket that is gone: `on_disconnect` reports that.
            match command {
                Command::Emit { socket, event, volatile } => {
                    if !volatile || io.is_writable(socket) {
                        let _ = io.emit(socket, &event.name, &event.payload.args, event.attachments());
                    }
                }
                Command::EmitWithAck { socket, event, timeout, reply } => {
                    let args = &event.payload.args;
                    match io.emit_with_ack(socket, &event.name, args, event.attachments(), timeout) {
                        Ok(id) => drop(self.answers.insert(id, reply)),
                        // Whoever asked may have stopped waiting.
                        Err(error) => drop(reply.send(Err(SendError::from(error).into()))),
                    }
                }
                Command::Ack { socket, id, payload } => {
                    let _ = io.ack(socket, id, &payload.args, &payload.attachments);
                }
                Command::Join { socket, room } => drop(io.join(socket, &room)),
                Command::Leave { socket, room } => drop(io.leave(socket, &room)),
                Command::Disconnect { socket, close } => io.disconnect(socket, close),
                Command::OnAll { targets, action } => self.act(narrow(io, &targets), action),
            }
        }
    }

    /// Tells those who want to hear of each event that is sent. A panic in there keeps no event back: the commands may be of
    /// another thread, or for other sockets than the one whose handler runs.
    fn tell_outgoing(&mut self, command: &Command) {
        if !self.routes.has_outgoing {
            return;
        }
        let (routes, event) = match command {
            Command::Emit { socket, event, .. } | Command::EmitWithAck { socket, event, .. } => {
                (self.entry(*socket).map(|entry| Arc::clone(&entry.of.routes)), event)
            }
            Command::OnAll { targets, action: Action::Emit(event) | Action::EmitWithAck { event, .. } } => {
                (self.routes.find(&targets.nsp).map(|(routes, _)| routes), event)
            }
            _ => return,
        };
        if let Some(routes) = routes.filter(|routes| !routes.outgoing.is_empty()) {
            let event = event.raw();
            for hook in &routes.outgoing {
                if catch_unwind(AssertUnwindSafe(|| hook(&event))).is_err() {
                    tracing::error!(event = event.name, "a hook of outgoing events panicked; the event is sent");
                }
            }
        }
    }

    /// Does something with many sockets.
    fn act(&mut self, broadcast: Broadcast<'_>, action: Action) {
        // Only questions can fail, which are jobs: `Operator` checked the namespace, and `Outgoing` the name of the event.
        match action {
            Action::Emit(event) => drop(broadcast.emit(&event.name, &event.payload.args, event.attachments())),
            Action::EmitWithAck { event, timeout, reply } => {
                let args = &event.payload.args;
                self.asked(broadcast.emit_with_ack(&event.name, args, event.attachments(), timeout), reply);
            }
            Action::ServerSideEmit(event) => {
                let _ = broadcast.server_side_emit(&event.name, &event.payload.args, event.attachments());
            }
            Action::ServerSideEmitWithAck { event, timeout, reply } => {
                let args = &event.payload.args;
                let request = broadcast.server_side_emit_with_ack(&event.name, args, event.attachments(), timeout);
                self.asked(request, reply);
            }
            Action::Join(rooms) => drop(broadcast.sockets_join(&rooms)),
            Action::Leave(rooms) => drop(broadcast.sockets_leave(&rooms)),
            Action::Disconnect { close } => drop(broadcast.disconnect_sockets(close)),
            Action::Fetch { timeout, reply } => self.asked(broadcast.fetch_sockets(timeout), reply),
        }
    }

    /// A question was asked, or was not.
    fn asked(&mut self, request: Result<RequestId, EmitError>, reply: WhoAsks) {
        match request {
            Ok(request) => drop(self.replies.insert(request, reply)),
            // Whoever asked may have stopped waiting.
            Err(error) => drop(reply.send(Err(error.into()))),
        }
    }
}

/// The broadcast to these targets.
fn narrow<'a>(io: &'a mut Io<'_>, targets: &Targets) -> Broadcast<'a> {
    let mut broadcast = io.of(&targets.nsp);
    for room in &targets.to {
        broadcast = broadcast.to(room);
    }
    for room in &targets.except {
        broadcast = broadcast.except(room);
    }
    if let Some(socket) = targets.except_socket {
        broadcast = broadcast.except_socket(socket);
    }
    if targets.narrowed {
        broadcast = broadcast.to_all::<&str>([]);
    }
    broadcast = broadcast.compress(targets.compress);
    if targets.volatile {
        broadcast = broadcast.volatile();
    }
    if targets.local { broadcast.local() } else { broadcast }
}
