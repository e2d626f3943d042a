//! One part of the chat by itself, on a shard without the rest of the chat.

use std::{cell::RefCell, rc::Rc};

use engineio::testing::{Engine, Shard};

use super::super::*;

type Call<S> = Box<dyn FnOnce(&mut S, &mut Io<'_>)>;

/// What the handler and the test share.
struct Lent<S> {
    state: S,
    call: Option<Call<S>>,
    sockets: Vec<SocketKey>,
}

/// A handler that does what the test says, with the `Io` that it is lent.
struct Lender<S>(Rc<RefCell<Lent<S>>>);

impl<S> Handler for Lender<S> {
    type Admission = ();

    fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
        Decision::Admit(())
    }

    fn on_connect(&mut self, _: &mut Io<'_>, socket: SocketKey, (): ()) {
        self.0.borrow_mut().sockets.push(socket);
    }

    fn on_event(&mut self, _: &mut Io<'_>, _: SocketKey, _: &Event<'_>, _: Option<AckId>) {}

    fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}

    fn on_shard_message(&mut self, io: &mut Io<'_>, _: ShardMessage) {
        let Lent { state, call, .. } = &mut *self.0.borrow_mut();
        call.take().unwrap()(state, io);
    }
}

/// A shard that has nothing but `S`, and sockets that belong to nobody.
pub(super) struct Part<S> {
    shard: Shard<socketio::Server<Lender<S>>>,
    lent: Rc<RefCell<Lent<S>>>,
}

impl<S> Part<S> {
    /// The first of so many shards.
    pub(super) fn new(shards: u16, state: S) -> Self {
        let lent = Rc::new(RefCell::new(Lent { state, call: None, sockets: Vec::new() }));
        let server = socketio::Server::new(socketio::Config::default(), Lender(Rc::clone(&lent)));
        Self { shard: Shard::with_engine(server, Engine::of_shard(0, shards)), lent }
    }

    /// A connected socket.
    pub(super) fn socket(&mut self) -> SocketKey {
        let conn = self.shard.open();
        self.shard.text(conn, "0");
        *self.lent.borrow().sockets.last().unwrap()
    }

    /// Does something with the part, which may send by the `Io`.
    pub(super) fn with<R: 'static>(&mut self, call: impl FnOnce(&mut S, &mut Io<'_>) -> R + 'static) -> R {
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        self.lent.borrow_mut().call = Some(Box::new(move |state, io| *slot.borrow_mut() = Some(call(state, io))));
        self.shard.receive(ShardMessage::new(()));
        result.take().unwrap()
    }

    /// What was sent to other shards since the last question.
    pub(super) fn sent(&mut self) -> Vec<(u16, ShardMessage)> {
        self.shard.engine.take_shard_messages()
    }
}
