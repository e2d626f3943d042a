//! The application on top of the server under test.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

use engineio::{CloseReason, ConnKey, Handshake};
use socketio::{
    AckError, AckId, Args, ConnectError, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, SocketKey,
};

use super::{ASK_TIMEOUT, MAX_MESSAGE};

/// What the application was told so far, which limits what it may be told next.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) sockets: HashMap<SocketKey, ConnKey>,
    pub(super) asked: HashSet<(SocketKey, AckId)>,
    pub(super) opened: HashSet<ConnKey>,
    /// The close reason of each session, recorded at the moment when it was closed.
    pub(super) closed: HashMap<ConnKey, CloseReason>,
}

/// An application that does what its clients say, and checks every call against its book.
pub(super) struct App(pub(super) Rc<RefCell<Book>>);

impl App {
    /// Checks that the socket exists and that its connection is open.
    fn is_live(&self, io: &Io<'_>, socket: SocketKey) {
        let book = self.0.borrow();
        let conn = book.sockets.get(&socket).expect("a socket that was connected");
        assert_eq!(io.conn(socket), Some(*conn));
        assert!(!book.closed.contains_key(conn), "a closed connection must deliver nothing more");
    }
}

impl Handler for App {
    type Admission = ();

    fn on_open(&mut self, _: &mut Io<'_>, conn: ConnKey, _: &Handshake<'_>) {
        assert!(self.0.borrow_mut().opened.insert(conn), "opened once");
    }

    fn on_close(&mut self, _: &mut Io<'_>, conn: ConnKey) {
        let mut book = self.0.borrow_mut();
        assert!(book.opened.remove(&conn), "closed once, after it was opened");
        assert!(book.sockets.values().all(|of| *of != conn), "its sockets were disconnected before");
    }

    fn authorize(&mut self, _: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<()> {
        let book = self.0.borrow();
        assert!(book.opened.contains(&request.conn) && !book.closed.contains_key(&request.conn));
        match request.auth {
            Some(auth) if auth.contains("no") => {
                Decision::Refuse(ConnectError { message: auth.to_owned(), data: Some(auth.to_owned()) })
            }
            _ => Decision::Admit(()),
        }
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, (): ()) {
        let conn = io.conn(socket).expect("connected");
        assert_eq!(self.0.borrow_mut().sockets.insert(socket, conn), None, "connected once");
        let id = io.id(socket).expect("connected").to_string();
        io.join(socket, "all");
        // A full or closed connection is not an error here, or below.
        let _ = io.of("/").to("all").except(&id).emit("joined", "1", &[]);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        self.is_live(io, socket);
        let (raw, attachments) = (event.args.raw(), event.args.attachments());
        let nsp = io.nsp(socket).expect("connected").to_owned();
        let room = event.args.get(0).unwrap_or("all");
        let _ = match &*event.name {
            "join" => Ok(usize::from(io.join(socket, room))),
            "leave" => Ok(usize::from(io.leave(socket, room))),
            "say" => io.of(&nsp).to(room).to("all").except_socket(socket).emit("said", raw, attachments),
            "room" => io.of(&nsp).to(room).emit("said", raw, attachments),
            "cry" => io.of(&nsp).except(room).volatile().emit("cried", raw, attachments),
            "ask" => io.emit_with_ack(socket, "asked", raw, attachments, ASK_TIMEOUT).map(|id| {
                assert!(self.0.borrow_mut().asked.insert((socket, id)), "an id is given once");
                1
            }),
            "bye" => {
                io.disconnect(socket, false);
                Ok(0)
            }
            "kill" => {
                io.disconnect(socket, true);
                Ok(0)
            }
            name => io.emit(socket, name, raw, attachments).map(|()| 1),
        };
        assert!(io.rooms(socket).count() <= 1 + MAX_MESSAGE);
        if let Some(id) = ack {
            let _ = io.ack(socket, id, raw, attachments);
        }
    }

    fn on_ack(&mut self, io: &mut Io<'_>, socket: SocketKey, id: AckId, answer: Result<&Args<'_>, AckError>) {
        assert!(self.0.borrow_mut().asked.remove(&(socket, id)), "one answer for each question");
        match answer {
            Ok(args) => {
                self.is_live(io, socket);
                let _ = io.emit(socket, "answered", args.raw(), args.attachments());
            }
            Err(AckError::Disconnected) => assert_eq!(io.conn(socket), None),
            Err(_) => assert!(io.conn(socket).is_some()),
        }
    }

    fn on_disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, _: DisconnectReason) {
        let mut book = self.0.borrow_mut();
        assert!(book.sockets.remove(&socket).is_some(), "disconnected once, after it was connected");
        assert!(book.asked.iter().all(|(of, _)| *of != socket), "its questions were answered before");
        assert_eq!((io.conn(socket), io.rooms(socket).count()), (None, 0));
        assert!(io.members("/", "all").all(|member| member != socket));
    }
}
