//! What is on its way to other shards. It has names where the sending shard has keys, which mean nothing elsewhere.

use std::{sync::Arc, time::Instant};

use engineio::SharedFrame;

use crate::{
    adapter::{Answers, EventData, ServerAnswers, Sockets, Targets, collector::Part},
    packet::AckId,
};

/// A broadcast. All shards share one.
#[derive(Debug)]
pub(crate) struct RelayedBroadcast {
    pub(crate) targets: Targets,
    pub(crate) volatile: bool,
    pub(crate) frame: SharedFrame,
}

/// An operation. Each shard gets its own, because it may have to answer.
#[derive(Debug)]
pub(crate) struct RelayedOperation {
    pub(crate) targets: Arc<Targets>,
    pub(crate) action: RelayedAction,
}

/// See [`RelayedOperation`].
#[derive(Debug)]
pub(crate) enum RelayedAction {
    Ask(Question),
    Fetch(Part<Sockets>),
    Join(Arc<[Arc<str>]>),
    Leave(Arc<[Arc<str>]>),
    Disconnect {
        close: bool,
    },
    /// The handler of one shard gets it for the whole server.
    #[cfg_attr(not(feature = "net"), expect(dead_code, reason = "it comes by a handle"))]
    ServerSide(Arc<EventData>, Option<Part<ServerAnswers>>),
}

/// An event that every recipient is to acknowledge.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) frame: SharedFrame,
    pub(crate) volatile: bool,
    /// The one that is in the frame.
    pub(crate) id: AckId,
    /// `None`: as long as the recipients are connected.
    pub(crate) deadline: Option<Instant>,
    pub(crate) part: Part<Answers>,
}
