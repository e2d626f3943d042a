//! [`Account`]: one user, however many sockets on whatever shards.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use socketio::json;

use crate::{config::Limits, limits::Bucket};

/// See the module. All shards share one value, so that all sockets of a user have one name and one rate.
#[derive(Debug)]
pub(in crate::chat) struct Account {
    /// The `sub` of its tokens.
    pub(in crate::chat) id: Arc<str>,
    /// `"userId":...,"username":...`, the way every event carries them, by the newest token.
    fields: ArcSwap<String>,
    /// Made when first needed: most users only listen.
    messages: OnceLock<Box<Bucket>>,
    typing: OnceLock<Box<Bucket>>,
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
        Self { id: id.into(), fields: ArcSwap::default(), messages: OnceLock::new(), typing: OnceLock::new() }
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

    /// The rate of its messages.
    pub(in crate::chat) fn messages(&self, limits: &Limits) -> &Bucket {
        self.messages.get_or_init(|| Box::new(Bucket::new(limits.message_rate, limits.message_burst)))
    }

    /// The rate of its `typing` events.
    pub(in crate::chat) fn typing(&self, limits: &Limits) -> &Bucket {
        let burst = limits.typing_rate.ceil().clamp(1.0, f64::from(u32::MAX)) as u32;
        self.typing.get_or_init(|| Box::new(Bucket::new(limits.typing_rate, burst)))
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
