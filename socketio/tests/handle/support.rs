//! A server.

use std::{sync::Arc, time::Duration};

use engineio::net::Running;
use socketio::{
    AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handle, Handler, Io, RequestId, Server,
    SocketKey,
    adapter::{Adapter, EventData, OwnedArgs, Reply, ServerReply},
    json,
};

/// `join ROOM` joins, and is acknowledged. `shout` goes to everyone, `count` asks for everyone and tells everyone how many
/// there are and how many answered. Another server's `ask` is answered with its arguments, its `tell` is sent on to the
/// sockets.
pub(crate) struct Rooms;

impl Handler for Rooms {
    type Admission = ();

    fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
        Decision::Admit(())
    }

    fn on_connect(&mut self, _: &mut Io<'_>, _: SocketKey, (): ()) {}

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        match &*event.name {
            "shout" => {
                io.of("/").emit("shout", "", &[]).unwrap();
                return;
            }
            "count" => {
                io.of("/").to("tea").fetch_sockets(Duration::from_secs(10)).unwrap();
                io.of("/").to("tea").emit_with_ack("ask", "", &[], Duration::from_secs(10)).unwrap();
                io.of("/").server_side_emit_with_ack("ask", "", &[], Duration::from_secs(10)).unwrap();
                return;
            }
            _ => {}
        }
        let room = event.args.get(0).map(json::unquote).unwrap().unwrap();
        io.join(socket, &room);
        io.ack(socket, ack.unwrap(), "", &[]).unwrap();
    }

    fn on_reply(&mut self, io: &mut Io<'_>, _: RequestId, reply: Reply) {
        let (name, count) = match reply {
            Reply::Sockets(sockets) => ("sockets", sockets.sockets.len()),
            Reply::Answers(answers) => ("answers", answers.answers.len()),
            Reply::Servers(servers) => ("servers", servers.answers.len()),
        };
        io.of("/").emit(name, &count.to_string(), &[]).unwrap();
    }

    fn socket_data(&self, io: &Io<'_>, _: SocketKey) -> Option<String> {
        Some(format!(r#"{{"shard":{}}}"#, io.shard()))
    }

    fn on_server_event(&mut self, io: &mut Io<'_>, nsp: &str, event: &EventData, reply: Option<ServerReply>) {
        match &*event.name {
            "ask" => reply.unwrap().send(OwnedArgs { args: vec![event.args.clone()], ..OwnedArgs::default() }),
            "tell" => drop(io.of(nsp).this_server().emit("told", &event.args, &event.attachments).unwrap()),
            // No answer.
            _ => drop(reply),
        }
    }

    fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
}

pub(crate) fn start(shards: u16) -> (Running, Handle) {
    start_with(shards, None)
}

pub(crate) fn start_with(shards: u16, adapter: Option<Arc<dyn Adapter>>) -> (Running, Handle) {
    let mut engine = engineio::Config::default();
    engine.path = "/socket.io/".to_owned();
    let mut config = Config::default();
    config.namespaces.push("/custom".to_owned());
    config.adapter = adapter;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = engineio::net::Server::new(engine).shards(shards);
    let of_shards = config.clone();
    let running = server.serve(listener, move || Server::new(of_shards.clone(), Rooms)).unwrap();
    let handle = Handle::new(running.handle(), &config);
    (running, handle)
}
