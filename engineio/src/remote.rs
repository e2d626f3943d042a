//! [`Remote`]: what one shard's handler tells another's.

use std::{any::Any, fmt};

/// A message between the handlers of two shards ([`crate::Outbox::post`], [`crate::Handler::on_remote`]). The engine
/// carries it and knows nothing of what is inside.
pub struct Remote {
    message: Box<dyn Any + Send>,
    weight: usize,
}

impl Remote {
    /// Wraps a message.
    #[must_use]
    pub fn new<T: Send + 'static>(message: T) -> Self {
        Self { message: Box::new(message), weight: 0 }
    }

    /// Says how many bytes of memory the message keeps alive, 0 by default: what piles up in front of a shard is limited
    /// in bytes.
    #[must_use]
    pub const fn weighing(mut self, bytes: usize) -> Self {
        self.weight = bytes;
        self
    }

    /// The bytes of [`Remote::weighing`].
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

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("weight", &self.weight).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_type_that_went_in_comes_out() {
        let remote = Remote::new(String::from("x")).weighing(7).downcast::<u32>().unwrap_err();
        assert_eq!(remote.weight(), 7);
        assert_eq!(remote.downcast::<String>().unwrap(), "x");
    }
}
