//! [`Reply`]: what an operation that asks brings back, with the list of those who did not say anything.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::packet::Args;

/// Who was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A shard of this server.
    Shard(u16),
    /// Another server, by the name that the adapter has for it.
    Server(Arc<str>),
    /// The other servers: the adapter did not learn in time which there are.
    OtherServers,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard) => write!(f, "shard {shard}"),
            Self::Server(name) => write!(f, "server {name}"),
            Self::OtherServers => f.write_str("the other servers"),
        }
    }
}

/// The reply to an operation that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `fetch_sockets`.
    Sockets(Sockets),
    /// To an event for many sockets.
    Answers(Answers),
    /// To an event for the other servers.
    Servers(ServerAnswers),
}

/// The sockets that an operation found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sockets {
    /// The sockets, in no order.
    pub sockets: Vec<RemoteSocket>,
    /// Who did not say which sockets it has: it has ended, or did not answer in time.
    pub missing: Vec<Source>,
}

/// A socket, maybe of another shard or server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteSocket {
    /// Its id.
    pub id: String,
    /// Its namespace.
    pub nsp: Arc<str>,
    /// The rooms that it joined. Its own room, named like its id, is not among them.
    pub rooms: Vec<Arc<str>>,
    /// What the application says of it ([`Handler::socket_data`](crate::Handler::socket_data)): JSON.
    pub data: Option<String>,
    /// Its shard, if it is on this server.
    pub shard: Option<u16>,
    /// Its server, if it is on another one: by the name that the adapter has for it.
    pub server: Option<Arc<str>>,
}

impl RemoteSocket {
    /// A socket of another server, in no room.
    #[must_use]
    pub fn new(id: &str, nsp: &str) -> Self {
        Self { id: id.to_owned(), nsp: nsp.into(), ..Self::default() }
    }
}

/// The answers of sockets to one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answers {
    /// How many sockets were sent the event, as far as known.
    pub recipients: usize,
    /// The answers, in the order in which they came.
    pub answers: Vec<Answer>,
    /// The ids of sockets that left or did not answer in time, as far as known.
    pub unanswered: Vec<String>,
    /// Who did not say whom it sent the event, or broke while it waited for answers.
    pub missing: Vec<Source>,
}

impl Answers {
    /// Whether everybody who was asked has answered.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.answers.len() >= self.recipients
    }
}

/// The answer of one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The socket's id. Some adapters do not learn it.
    pub socket: Option<String>,
    /// What it answered.
    pub args: OwnedArgs,
}

/// The answers of other servers to one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerAnswers {
    /// The answers, in the order in which they came.
    pub answers: Vec<ServerAnswer>,
    /// Who did not answer.
    pub missing: Vec<Source>,
}

/// The answer of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAnswer {
    /// The server.
    pub server: Source,
    /// What it answered.
    pub args: OwnedArgs,
}

/// Arguments that are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedArgs {
    /// The JSON of each argument.
    pub args: Vec<String>,
    /// The attachments that the arguments' placeholders point to.
    pub attachments: Vec<Bytes>,
}

impl OwnedArgs {
    /// The first argument, which is all that Node's server keeps of an answer.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.args.first().map(String::as_str)
    }

    /// All arguments, joined by commas.
    #[must_use]
    pub fn raw(&self) -> String {
        self.args.join(",")
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        let args: usize = self.args.iter().map(String::len).sum();
        args + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

impl From<&Args<'_>> for OwnedArgs {
    fn from(args: &Args<'_>) -> Self {
        Self { args: args.iter().map(str::to_owned).collect(), attachments: args.attachments().to_vec() }
    }
}

/// What is gathered from several sources.
pub(crate) trait Gathered: Default + Send + 'static {
    /// Sets who said nothing.
    fn set_missing(&mut self, missing: Vec<Source>);

    /// The reply that the application gets.
    fn into_reply(self) -> Reply;
}

macro_rules! gathered {
    ($($name:ident => $variant:ident),*) => {$(
        impl Gathered for $name {
            fn set_missing(&mut self, missing: Vec<Source>) {
                self.missing.extend(missing);
            }

            fn into_reply(self) -> Reply {
                Reply::$variant(self)
            }
        }
    )*};
}

gathered!(Sockets => Sockets, Answers => Answers, ServerAnswers => Servers);
