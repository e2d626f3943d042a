//! [`Filling`]: a page of the history that is being filled.

use bytes::Bytes;

use super::types::{PageLimit, Stored};

/// The most attachments one packet may carry to official clients (socket.io-parser since 4.2.6).
const ATTACHMENTS: usize = 10;

/// A page that is being filled from one side.
#[derive(Debug)]
pub(crate) struct Filling {
    limit: PageLimit,
    messages: usize,
    bytes: usize,
    attachments: usize,
}

impl Filling {
    /// An empty page.
    pub(crate) const fn new(limit: PageLimit) -> Self {
        Self { limit, messages: 0, bytes: "[]".len(), attachments: 0 }
    }

    /// Whether the next message has its place on the page. After `false` the page is full.
    pub(crate) fn takes(&mut self, stored: &Stored) -> bool {
        self.bytes += stored.json.len() + ",".len() + stored.attachments.iter().map(Bytes::len).sum::<usize>();
        self.attachments += stored.attachments.len();
        let full = self.bytes > self.limit.bytes || self.attachments > ATTACHMENTS;
        if self.messages >= self.limit.messages || (full && (!self.limit.one_at_least || self.messages > 0)) {
            return false;
        }
        self.messages += 1;
        true
    }
}
