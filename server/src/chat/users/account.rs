//! [`Account`]: one user, however many sockets on whatever shards.

use std::{
    hash::{BuildHasher as _, Hash, Hasher, RandomState},
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use socketio::json;

use super::rates::{Question, Rates};
use crate::{limits::Strikes, rate::Bucket};

/// See the module. All shards share one value, so that all sockets of a user have one name and one rate.
#[derive(Debug)]
pub(in crate::chat) struct Account {
    /// The `sub` of its tokens.
    pub(in crate::chat) id: Arc<str>,
    /// The hash of `id`, by keys that each process draws anew: where a user is looked up for each message, its id need not be
    /// hashed again.
    pub(in crate::chat) id_hash: u64,
    /// `"userId":...,"username":...`, the way every event carries them, by the newest token.
    fields: ArcSwap<String>,
    connects: Bucket,
    /// Made when first needed: most users only listen.
    spent: OnceLock<Box<Spent>>,
}

/// What a user has spent of its rates, and its strikes.
#[derive(Debug, Default)]
struct Spent {
    messages: Bucket,
    message_bytes: Bucket,
    typing: Bucket,
    /// One for each [`Question`].
    questions: [Bucket; 4],
    strikes: Mutex<Strikes>,
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Account {}

impl Hash for Account {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Account {
    /// A user of this id, without a name yet.
    pub(in crate::chat) fn new(id: &str) -> Self {
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self {
            id: id.into(),
            id_hash: KEYS.hash_one(id),
            fields: ArcSwap::default(),
            connects: Bucket::default(),
            spent: OnceLock::new(),
        }
    }

    /// Takes the display name of the newest token.
    pub(in crate::chat) fn rename(&self, username: &str) {
        let mut fields = br#""userId":"#.to_vec();
        json::quote(&self.id, &mut fields);
        fields.extend_from_slice(br#","username":"#);
        json::quote(username, &mut fields);
        fields.shrink_to_fit();
        let fields = String::from_utf8(fields).unwrap_or_default();
        // Sockets of one user mostly come with one name.
        if **self.fields.load() != fields {
            self.fields.store(Arc::new(fields));
        }
    }

    /// The members of an event that say whose it is.
    pub(in crate::chat) fn fields(&self) -> impl std::ops::Deref<Target = Arc<String>> {
        self.fields.load()
    }

    /// The payload of a `userStatus` that says the user is there.
    pub(in crate::chat) fn online(&self) -> String {
        format!(r#"{{{},"isOnline":true}}"#, **self.fields())
    }

    fn spent(&self) -> &Spent {
        self.spent.get_or_init(Box::default)
    }

    /// Counts a CONNECT, or a `refresh`.
    ///
    /// # Errors
    /// When there may be another.
    pub(in crate::chat) fn take_connect(&self, rates: &Rates, now: Instant) -> Result<(), Duration> {
        self.connects.take(&rates.connects, now, 1)
    }

    /// Counts a `message` of so many bytes.
    ///
    /// # Errors
    /// When the same message may be sent. Then nothing is counted.
    pub(in crate::chat) fn take_message(&self, rates: &Rates, now: Instant, bytes: usize) -> Result<(), Duration> {
        let spent = self.spent();
        spent.message_bytes.take(&rates.message_bytes, now, bytes as u64)?;
        spent.messages.take(&rates.messages, now, 1).inspect_err(|_| {
            spent.message_bytes.give_back(&rates.message_bytes, bytes as u64);
        })
    }

    /// Counts a `typing`.
    ///
    /// # Errors
    /// When there may be another.
    pub(in crate::chat) fn take_typing(&self, rates: &Rates, now: Instant) -> Result<(), Duration> {
        self.spent().typing.take(&rates.typing, now, 1)
    }

    /// Counts a question.
    ///
    /// # Errors
    /// When there may be another of its kind.
    pub(in crate::chat) fn take_question(
        &self,
        rates: &Rates,
        now: Instant,
        question: Question,
    ) -> Result<(), Duration> {
        let [history, presence, join, leave] = &self.spent().questions;
        let bucket = match question {
            Question::History => history,
            Question::Presence => presence,
            Question::Join => join,
            Question::Leave => leave,
        };
        bucket.take(&rates.questions, now, 1)
    }

    /// Counts a strike; whether there are more than `limits.strikes` within a minute.
    pub(in crate::chat) fn strike(&self, rates: &Rates, now: Instant) -> bool {
        // A panic under the lock leaves a queue that is whole.
        self.spent().strikes.lock().unwrap_or_else(PoisonError::into_inner).add(now, rates.strikes)
    }

    /// When all its buckets are full and its strikes count no more: then nothing needs to be known of a user who is gone.
    pub(super) fn rested_at(&self) -> Instant {
        let Some(spent) = self.spent.get() else { return self.connects.full_at() };
        let Spent { messages, message_bytes, typing, questions, strikes } = &**spent;
        let strikes = strikes.lock().unwrap_or_else(PoisonError::into_inner).forgotten_at();
        let buckets = [&self.connects, messages, message_bytes, typing].into_iter().chain(questions);
        let full_at = buckets.map(Bucket::full_at).max();
        full_at.max(strikes).unwrap_or_else(|| self.connects.full_at())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_name_counts() {
        let account = Account::new("a\"b");
        account.rename("x");
        account.rename("y");
        assert_eq!(**account.fields(), r#""userId":"a\"b","username":"y""#);
    }
}
