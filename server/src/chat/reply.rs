//! What an event is acknowledged with.

use bytes::Bytes;

use crate::config::Limits;

/// The longest answer to a question, in bytes of JSON and attachments. Only a page of one message may be longer.
const ANSWER_BYTES: usize = 256 * 1024;

/// The longest answer where queues may be as long as the configuration says: a few of them must fit.
pub(super) fn longest_answer(limits: &Limits) -> usize {
    ANSWER_BYTES.min(limits.outbound_hard / 4)
}

/// What became of an event.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is done, and is acknowledged with this.
    Done(Reply),
    /// The home of a room was asked, and will answer.
    Asked,
}

/// What an acknowledgement carries beside `ok`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// JSON members, each with a comma before it.
    pub(super) members: String,
    /// What the placeholders in `members` stand for.
    pub(super) attachments: Vec<Bytes>,
}

impl Reply {
    /// About how many bytes it keeps in memory.
    pub(super) fn weight(&self) -> usize {
        self.members.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

impl From<String> for Reply {
    fn from(members: String) -> Self {
        Self { members, attachments: Vec::new() }
    }
}
