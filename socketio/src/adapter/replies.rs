//! [`Replies`]: how an adapter hands in what other servers answer.

use std::sync::Arc;

use super::{
    collector::Part,
    reply::{Answer, Answers, OwnedArgs, RemoteSocket, Reply, ServerAnswer, ServerAnswers, Sockets, Source},
};

/// What others answer to one operation. An adapter gets one that stands for all other servers, and makes one of it for each server.
/// The asking side waits for all of them, as long as the operation's time is not up. One that is dropped before
/// [`Replies::done`] counts as missing.
///
/// ```
/// use socketio::adapter::{RemoteSocket, Replies};
///
/// fn fetched(replies: Replies) {
///     let mut b = replies.server("b");
///     let c = replies.server("c");
///     replies.done(); // no other server is asked
///     b.sockets([RemoteSocket::new("an id", "/")]);
///     b.done();
///     drop(c); // it did not answer: the result names it as missing
/// }
/// ```
#[derive(Debug)]
pub struct Replies(Kind);

#[derive(Debug)]
enum Kind {
    Sockets(Part<Sockets>),
    Answers(Part<Answers>),
    Servers(Part<ServerAnswers>),
}

impl From<Part<Sockets>> for Replies {
    fn from(part: Part<Sockets>) -> Self {
        Self(Kind::Sockets(part))
    }
}

impl From<Part<Answers>> for Replies {
    fn from(part: Part<Answers>) -> Self {
        Self(Kind::Answers(part))
    }
}

impl From<Part<ServerAnswers>> for Replies {
    fn from(part: Part<ServerAnswers>) -> Self {
        Self(Kind::Servers(part))
    }
}

impl Replies {
    /// A server is asked. Its name is in the result, if it does not answer.
    #[must_use]
    pub fn server(&self, name: &str) -> Self {
        let source = Source::Server(name.into());
        match &self.0 {
            Kind::Sockets(part) => part.sibling(source).into(),
            Kind::Answers(part) => part.sibling(source).into(),
            Kind::Servers(part) => part.sibling(source).into(),
        }
    }

    /// Adds sockets, to the reply to [`Action::FetchSockets`](super::Action::FetchSockets).
    pub fn sockets(&mut self, found: impl IntoIterator<Item = RemoteSocket>) {
        if let Kind::Sockets(part) = &mut self.0 {
            let server = if let Source::Server(name) = part.source() { Some(Arc::clone(name)) } else { None };
            let found = found.into_iter().map(|socket| RemoteSocket { shard: None, server: server.clone(), ..socket });
            // First the iterator runs, which is not ours, and then the lock is taken.
            let found: Vec<_> = found.collect();
            part.add(|sockets| sockets.sockets.extend(found));
        }
    }

    /// The server sent the event to so many sockets, to the reply to [`Action::EmitWithAck`](super::Action::EmitWithAck).
    pub fn recipients(&mut self, count: usize) {
        if let Kind::Answers(part) = &mut self.0 {
            part.add(|answers| answers.recipients += count);
        }
    }

    /// A socket of the server answered. What is more than [`Config::broadcast_answers`](crate::Config::broadcast_answers) is not kept.
    pub fn answer(&mut self, answer: Answer) {
        if let Kind::Answers(part) = &mut self.0 {
            let has_room = part.spend(answer.args.len());
            part.add(|answers| {
                if has_room {
                    answers.answers.push(answer);
                } else {
                    answers.unanswered.extend(answer.socket);
                }
            });
        }
    }

    /// A socket of the server did not answer.
    pub fn unanswered(&mut self, socket: &str) {
        if let Kind::Answers(part) = &mut self.0 {
            part.add(|answers| answers.unanswered.push(socket.to_owned()));
        }
    }

    /// The server's handler answered, to the reply to
    /// [`Action::ServerSideEmitWithAck`](super::Action::ServerSideEmitWithAck).
    pub fn server_answer(&mut self, args: OwnedArgs) {
        if let Kind::Servers(part) = &mut self.0 {
            let server = part.source().clone();
            part.add(|servers| servers.answers.push(ServerAnswer { server, args }));
        }
    }

    /// Adds all that [`Handle::apply`](crate::Handle::apply) returned on the other server. If not all shards of that have
    /// answered, it counts as missing.
    pub fn hand_in(mut self, reply: Reply) {
        let missing = match reply {
            Reply::Sockets(Sockets { sockets, missing }) => {
                self.sockets(sockets);
                missing
            }
            Reply::Answers(Answers { recipients, answers, unanswered, missing, .. }) => {
                self.recipients(recipients);
                answers.into_iter().for_each(|answer| self.answer(answer));
                unanswered.iter().for_each(|socket| self.unanswered(socket));
                missing
            }
            Reply::Servers(ServerAnswers { answers, missing }) => {
                answers.into_iter().for_each(|answer| self.server_answer(answer.args));
                missing
            }
        };
        if missing.is_empty() {
            self.done();
        }
    }

    /// Whether nobody waits any more: what comes from now on is dropped.
    #[must_use]
    pub fn is_late(&self) -> bool {
        match &self.0 {
            Kind::Sockets(part) => part.is_late(),
            Kind::Answers(part) => part.is_late(),
            Kind::Servers(part) => part.is_late(),
        }
    }

    /// Whoever this stands for has answered all; of all other servers: each of them has a [`Replies::server`] by now.
    pub fn done(self) {
        match self.0 {
            Kind::Sockets(part) => part.done(),
            Kind::Answers(part) => part.done(),
            Kind::Servers(part) => part.done(),
        }
    }
}

/// The way back to a server that sent an event ([`Handler::on_server_event`](crate::Handler::on_server_event)).
#[derive(Debug)]
pub struct ServerReply(Part<ServerAnswers>);

impl ServerReply {
    pub(crate) const fn new(part: Part<ServerAnswers>) -> Self {
        Self(part)
    }

    /// Answers. If nobody waits any more, the answer is dropped.
    pub fn send(mut self, args: OwnedArgs) {
        let server = self.0.source().clone();
        self.0.add(|servers| servers.answers.push(ServerAnswer { server, args }));
        self.0.done();
    }
}
