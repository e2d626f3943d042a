//! [`OwnedEvent`]: an event that outlives the packet it came in, because its handler waits, or because it waits for its turn.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use super::{
    callback::{Called, OnEvent, Running},
    context::{AckSlot, EventContext},
    error::EventError,
    extract::Ack,
    routes::NamespaceRoutes,
    socket::Socket,
};
use crate::{
    json,
    packet::{Args, Event},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct OwnedEvent {
    name: String,
    /// The arguments as a JSON array.
    args: String,
    attachments: Vec<Bytes>,
    pub(crate) ack: AckSlot,
}

impl OwnedEvent {
    pub(crate) fn new(event: &Event<'_>, ack: AckSlot) -> Self {
        let (args, attachments) = (format!("[{}]", event.args.raw()), event.args.attachments().to_vec());
        Self { name: event.name.clone().into_owned(), args, attachments, ack }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes of memory it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let attachments = self.attachments.iter().map(|attachment| size_of::<Bytes>() + attachment.len());
        size_of::<Self>() + self.name.len() + self.args.len() + attachments.sum::<usize>()
    }

    fn event(&self) -> Event<'_> {
        // It was checked when it came, against limits that may be others.
        let items = json::array_items(&self.args, &json::Limits::NONE).unwrap_or_default();
        Event { name: Cow::Borrowed(&self.name), args: Args::new(&self.args, items, 0, &self.attachments) }
    }
}

/// A socket, and the handlers of its namespace.
#[derive(Debug, Clone)]
pub(crate) struct Routed {
    pub(crate) socket: Socket,
    pub(crate) routes: Arc<NamespaceRoutes>,
}

/// Tells the application that an event was not handled.
pub(crate) fn report(of: &Routed, name: &str, error: &EventError, ack: &AckSlot) {
    let Routed { socket, routes } = of;
    if let Some(hook) = &routes.error {
        hook(socket, name, error, Ack::new(socket.clone(), ack.clone()));
        return;
    }
    let (id, nsp) = (socket.id(), socket.nsp());
    match error {
        // What a client sent is the client's business.
        EventError::Payload(_) | EventError::NoHandler => {
            tracing::debug!(event = name, socket = %id, nsp, %error, "an event was not handled");
        }
        _ => tracing::warn!(event = name, socket = %id, nsp, %error, "an event was not handled"),
    }
}

/// Runs the handlers of an event from `position` on, one after another. `waiting` is the future of the one before, and whether
/// the event ends when it fails.
pub(crate) async fn run(of: Routed, event: OwnedEvent, mut position: usize, waiting: Option<(Running<OnEvent>, bool)>) {
    let chain = of.routes.chain(&event.name);
    let mut waiting = waiting;
    loop {
        if let Some((future, ends)) = waiting.take()
            && let Err(error) = future.await
        {
            report(&of, &event.name, &error, &event.ack);
            if ends {
                return;
            }
        }
        let Some((handler, ends)) = chain.get(position) else { break };
        position += 1;
        let called = handler.call(&EventContext { socket: &of.socket, event: &event.event(), ack: event.ack.clone() });
        match called {
            Called::Done(Ok(())) => {}
            Called::Done(Err(error)) => {
                report(&of, &event.name, &error, &event.ack);
                if ends {
                    return;
                }
            }
            Called::Waits(future) => waiting = Some((future, ends)),
        }
    }
    if chain.is_unhandled() {
        report(&of, &event.name, &EventError::NoHandler, &event.ack);
    }
}
