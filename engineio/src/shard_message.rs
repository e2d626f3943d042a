//! [`ShardMessage`]: a message for the handler of a shard, from the handler of another shard or from another thread.

use std::{any::Any, fmt};

/// A message for the handler of a shard ([`Handler::on_shard_message`](crate::Handler::on_shard_message)). The handler
/// of another shard sends it with [`Outbox::send_to_shard`](crate::Outbox::send_to_shard), any other thread with
/// `net::Handle`. The engine does not look inside.
pub struct ShardMessage {
    message: Box<dyn Any + Send>,
    weight: usize,
}

impl ShardMessage {
    /// Wraps a message.
    #[must_use]
    pub fn new<T: Send + 'static>(message: T) -> Self {
        Self { message: Box::new(message), weight: 0 }
    }

    /// Says how many bytes of memory the message keeps alive, 0 by default. The limit on the messages that wait for a
    /// shard counts these bytes.
    #[must_use]
    pub const fn with_weight(mut self, bytes: usize) -> Self {
        self.weight = bytes;
        self
    }

    /// The number of bytes set with [`ShardMessage::with_weight`].
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// The message, if it is a `T`.
    ///
    /// # Errors
    /// The unchanged message, if it is something else.
    pub fn downcast<T: 'static>(self) -> Result<T, Self> {
        let Self { message, weight } = self;
        message.downcast().map(|message| *message).map_err(|message| Self { message, weight })
    }
}

impl fmt::Debug for ShardMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardMessage").field("weight", &self.weight).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_type_that_went_in_comes_out() {
        let remote = ShardMessage::new(String::from("x")).with_weight(7).downcast::<u32>().unwrap_err();
        assert_eq!(remote.weight(), 7);
        assert_eq!(remote.downcast::<String>().unwrap(), "x");
    }
}
