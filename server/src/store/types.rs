//! What every store takes and gives: messages, and what they are acknowledged with.

use bytes::Bytes;
use uuid::Uuid;

/// A message as it was delivered.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Grows within a room: ids put its messages in order.
    pub(crate) id: Uuid,
    /// The event's payload, as JSON.
    pub(crate) json: Box<str>,
    /// What the placeholders in it stand for.
    pub(crate) attachments: Box<[Bytes]>,
}

impl Stored {
    /// How many bytes of text and attachments it has.
    pub(super) fn len(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// The id and the time a message got; its sender is told both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// See [`Stored::id`].
    pub(crate) id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub(crate) millis: u64,
}
