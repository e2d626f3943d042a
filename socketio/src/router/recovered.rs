//! [`Extensions`]: what authorisations brought for sockets that may come back. A client that is recovered is not asked again, so its
//! handlers find what they found before.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::type_map::TypeMap;

/// Sockets that are remembered. The recovery of the core keeps as many by default.
const MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Extensions(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By the id of the socket.
    sockets: HashMap<Box<str>, (Instant, TypeMap)>,
    /// In the order in which they ended. One that came back and ended again stands here twice.
    order: VecDeque<(Instant, Box<str>)>,
}

impl Extensions {
    /// No handler of the application runs while this is locked.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A socket ended, and may come back within `max_age`.
    pub(crate) fn keep(&self, socket: &str, extensions: TypeMap, now: Instant, max_age: Duration) {
        // Dropping these runs code of the application, so that waits until nothing is locked.
        let mut forgotten = Vec::new();
        let mut kept = self.kept();
        forgotten.extend(kept.sockets.insert(socket.into(), (now, extensions)));
        kept.order.push_back((now, socket.into()));
        let is_old = |ended: Instant| now.duration_since(ended) > max_age;
        while kept.order.front().is_some_and(|(ended, _)| is_old(*ended)) || kept.order.len() > MAX {
            let Some((ended, socket)) = kept.order.pop_front() else { break };
            if kept.sockets.get(&socket).is_some_and(|(of, _)| *of == ended) {
                forgotten.extend(kept.sockets.remove(&socket));
            }
        }
        drop(kept);
    }

    /// A socket comes back.
    pub(crate) fn take(&self, socket: &str) -> Option<TypeMap> {
        self.kept().sockets.remove(socket).map(|(_, extensions)| extensions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: u8) -> TypeMap {
        let mut values = TypeMap::default();
        drop(values.insert(number));
        values
    }

    #[test]
    fn they_are_taken_once_and_forgotten_when_they_are_too_old_or_too_many() {
        let (kept, start, age) = (Extensions::default(), Instant::now(), Duration::from_secs(120));
        let at = |seconds| start + Duration::from_secs(seconds);
        kept.keep("a", value(1), at(0), age);
        assert_eq!(kept.take("a").and_then(|values| values.get::<u8>()).as_deref(), Some(&1));
        assert!(kept.take("a").is_none());
        // It ended again: the older entry in the order is not this one's.
        kept.keep("a", value(2), at(60), age);
        kept.keep("b", value(3), at(121), age);
        assert!(kept.take("a").is_some());
        kept.keep("c", value(4), at(242), age);
        assert!(kept.take("b").is_none() && kept.take("c").is_some());
        for number in 0..=MAX {
            kept.keep(&number.to_string(), value(0), at(300), age);
        }
        assert!(kept.take("0").is_none() && kept.take("1").is_some());
        assert!(kept.kept().order.len() <= MAX);
    }
}
