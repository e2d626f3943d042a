//! [`Entry`]: a line of the audit trail: what was done, or was to be done, with a key.

use uuid::Uuid;

use super::call::Call;
use crate::{log_repeats::AUDIT, room::Room};

/// See the module. The log escapes what stands in it.
#[derive(Debug)]
pub(super) struct Entry {
    key: String,
    /// `None`: the call only asks something.
    action: Option<&'static str>,
    /// Whether it sends a message.
    is_message: bool,
    /// The message that it is about.
    id: Option<Uuid>,
    /// The room of that message, where it is known.
    pub(super) room: Option<Room>,
    user: Option<String>,
    /// How many messages were deleted, sockets ended, or bans lifted.
    pub(super) count: Option<usize>,
    /// Why a user is banned.
    pub(super) reason: Option<String>,
    is_logged: bool,
}

/// A call that ends by a panic may have done a part.
impl Drop for Entry {
    fn drop(&mut self) {
        if !self.is_logged {
            self.log(Some("internal"));
        }
    }
}

impl Entry {
    /// What a call names; the rest is not known before it is done.
    pub(super) fn of(key: &str, call: &Call) -> Self {
        let (id, room) = match call {
            Call::DeleteMessage { id, room } => (Some(*id), room.clone()),
            _ => (None, None),
        };
        let (action, is_message) = (call.action(), *call == Call::Publish);
        let user = call.user().map(str::to_owned);
        Self { key: key.to_owned(), action, is_message, id, room, user, count: None, reason: None, is_logged: false }
    }

    /// Writes the line. `error`: the code of the answer, if the call failed. It may have done a part then.
    pub(super) fn log(&mut self, error: Option<&str>) {
        self.is_logged = true;
        let Self { key, action, is_message, id, room, user, count, reason, .. } = self;
        let Some(action) = *action else { return };
        if *is_message {
            // As many as there are messages.
            tracing::debug!(target: AUDIT, key, action, error, "API");
            return;
        }
        let (id, room) = (id.map(tracing::field::display), room.as_ref().map(Room::id));
        tracing::info!(target: AUDIT, key, action, id, room, user, count, reason, error, "API");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, Mutex},
    };

    use super::*;

    /// What is written to a log.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_call_that_panics_is_in_the_trail_and_one_that_ends_is_there_once() {
        let written = Written::default();
        let log = written.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let entry = |user: &str| Entry::of("ops", &Call::Disconnect { user: user.to_owned() });
            entry("bob").log(None);
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _entry = entry("alice");
                panic!("a fault");
            }));
            assert!(panicked.is_err());
        });
        let lines = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let [bob, alice] = lines.lines().collect::<Vec<_>>()[..] else { panic!("{lines}") };
        assert!(bob.contains(r#"user="bob""#) && !bob.contains("error"), "{bob}");
        assert!(alice.contains(r#"user="alice""#) && alice.contains(r#"error="internal""#), "{alice}");
    }
}
