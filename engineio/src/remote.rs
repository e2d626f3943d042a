//! [`Remote`]: what one shard's handler tells another's.

use std::{any::Any, fmt};

/// A message between the handlers of two shards ([`crate::Outbox::post`], [`crate::Handler::on_remote`]). The engine
/// carries it and knows nothing of what is inside.
pub struct Remote(Box<dyn Any + Send>);

impl Remote {
    /// Wraps a message.
    #[must_use]
    pub fn new<T: Send + 'static>(message: T) -> Self {
        Self(Box::new(message))
    }

    /// The message, if it is a `T`.
    ///
    /// # Errors
    /// The unchanged message, if it is something else.
    pub fn downcast<T: 'static>(self) -> Result<T, Self> {
        self.0.downcast().map(|message| *message).map_err(Self)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_type_that_went_in_comes_out() {
        let remote = Remote::new(String::from("x")).downcast::<u32>().unwrap_err();
        assert_eq!(remote.downcast::<String>().unwrap(), "x");
    }
}
