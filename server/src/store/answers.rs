//! [`Answers`]: the way of a store's answers to the shards.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Debug,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use engineio::{
    ShardMessage,
    net::{Handle, TrySendError},
};

use super::types::Answer;

/// Takes answers to the shards that asked. Answers that one thread sends to one shard keep their order.
pub(crate) trait Answers: Debug + Send + Sync {
    /// Sends an answer to a shard. Does not wait for the shard: one with too much to do must not keep the others waiting.
    fn send(&self, shard: u16, answer: Answer);
}

/// To the shards of a running server. What is sent before [`ShardAnswers::connect`] is dropped: nobody can have asked.
#[derive(Debug, Default, Clone)]
pub(crate) struct ShardAnswers {
    handle: Arc<OnceLock<Handle>>,
    /// What waits in front of shards that have too much to do. A thread works on each entry, and removes it when it is empty.
    late: Arc<Mutex<HashMap<u16, VecDeque<ShardMessage>>>>,
}

impl ShardAnswers {
    /// Names the server. Only the first call counts.
    pub(crate) fn connect(&self, handle: &Handle) {
        self.handle.get_or_init(|| handle.clone());
    }

    /// Sends what waits for a shard, until nothing does.
    fn send_late(&self, handle: &Handle, shard: u16) {
        loop {
            let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(message) = late.get_mut(&shard).and_then(VecDeque::pop_front) else {
                late.remove(&shard);
                return;
            };
            drop(late);
            // Nobody waits for the answers of a shard that has ended.
            let _ = handle.send_blocking(shard, message);
        }
    }
}

impl Answers for ShardAnswers {
    fn send(&self, shard: u16, answer: Answer) {
        let Some(handle) = self.handle.get() else { return };
        let weight = answer.weight();
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let message = ShardMessage::new(answer).with_weight(weight);
        if let Some(waiting) = late.get_mut(&shard) {
            waiting.push_back(message);
            return;
        }
        let Err(TrySendError::Full(message)) = handle.try_send(shard, message) else { return };
        late.insert(shard, VecDeque::from([message]));
        drop(late);
        let (answers, of) = (self.clone(), handle.clone());
        let spawned =
            thread::Builder::new().name(format!("answers-{shard}")).spawn(move || answers.send_late(&of, shard));
        if spawned.is_err() {
            // Better late than lost.
            self.send_late(handle, shard);
        }
    }
}
