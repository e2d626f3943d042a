//! [`Receipts`]: what messages with a `clientId` were acknowledged with.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::super::message_ids::Receipt;
use crate::room::Room;

/// How long a `clientId` is remembered (docs/chat-protocol.md, "Events from the client").
const REMEMBERED: Duration = Duration::from_secs(600);

/// What one takes in memory beside its `clientId`, measured with the allocator of the server: key, entries of map and queue.
const RECEIPT_COST: usize = 240;

/// A `clientId` in its room and of its user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    room: Room,
    user: Arc<str>,
    client_id: Box<str>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    receipts: HashMap<Rc<ClientKey>, Receipt>,
    /// Oldest first.
    order: VecDeque<(Instant, Rc<ClientKey>)>,
}

impl Receipts {
    /// About how many bytes they take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.order.len() * RECEIPT_COST
    }

    /// Forgets what is older than ten minutes, and all beyond the newest `max`.
    pub(super) fn expire(&mut self, now: Instant, max: usize) {
        while let Some((at, _)) = self.order.front() {
            if now.duration_since(*at) <= REMEMBERED && self.order.len() <= max {
                break;
            }
            if let Some((_, key)) = self.order.pop_front() {
                self.receipts.remove(&key);
            }
        }
    }

    /// What a message with this `clientId` was acknowledged with.
    pub(super) fn get(&self, room: &Room, user: &Arc<str>, client_id: &str) -> Option<Receipt> {
        let key = ClientKey { room: room.clone(), user: Arc::clone(user), client_id: client_id.into() };
        self.receipts.get(&key).copied()
    }

    /// Remembers it.
    pub(super) fn insert(&mut self, now: Instant, room: &Room, user: &Arc<str>, client_id: &str, receipt: Receipt) {
        let key = Rc::new(ClientKey { room: room.clone(), user: Arc::clone(user), client_id: client_id.into() });
        self.receipts.insert(Rc::clone(&key), receipt);
        self.order.push_back((now, key));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_client_id_is_remembered_for_ten_minutes_per_user_and_room() {
        let now = Instant::now();
        let [a, b] = ["a", "b"].map(Room::new);
        let [alice, bob]: [Arc<str>; 2] = ["alice", "bob"].map(Into::into);
        let mut receipts = Receipts::default();
        let receipt = Receipt { id: Uuid::from_u128(1), millis: 1 };
        receipts.insert(now, &a, &alice, "x", receipt);
        assert_eq!(receipts.get(&a, &alice, "x"), Some(receipt));
        assert_eq!(receipts.get(&b, &alice, "x"), None);
        assert_eq!(receipts.get(&a, &bob, "x"), None);
        assert_eq!(receipts.get(&a, &alice, "y"), None);
        receipts.expire(now + REMEMBERED, 100);
        assert_eq!(receipts.get(&a, &alice, "x"), Some(receipt));
        receipts.expire(now + REMEMBERED + Duration::from_secs(1), 100);
        assert_eq!(receipts.get(&a, &alice, "x"), None);
        assert_eq!((receipts.receipts.len(), receipts.order.len()), (0, 0));
    }
}
