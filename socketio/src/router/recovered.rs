//! [`Extensions`]: what authorisations brought for sockets that may come back. A client that is recovered is not asked again, so its
//! handlers find what they found before.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::type_map::TypeMap;
use crate::recovery::Options;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Extensions(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By the id of the socket.
    sockets: HashMap<Box<str>, (u64, TypeMap)>,
    /// With their numbers, in the order in which they ended. One that came back and ended again stands here twice.
    order: VecDeque<(u64, Instant, Box<str>)>,
    last_number: u64,
}

impl Extensions {
    /// No handler of the application runs while this is locked.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A socket ended, and may come back. As many are remembered as the core saves.
    pub(crate) fn keep(&self, socket: &str, extensions: TypeMap, now: Instant, options: &Options) {
        let (max_age, max) = (options.max_disconnection, options.sessions);
        // Dropping these runs code of the application, so that waits until nothing is locked.
        let mut forgotten = Vec::new();
        let mut kept = self.kept();
        kept.last_number += 1;
        let number = kept.last_number;
        forgotten.extend(kept.sockets.insert(socket.into(), (number, extensions)));
        kept.order.push_back((number, now, socket.into()));
        let is_old = |ended: Instant| now.duration_since(ended) > max_age;
        while kept.order.front().is_some_and(|(_, ended, _)| is_old(*ended)) || kept.sockets.len() > max {
            let Some((number, _, socket)) = kept.order.pop_front() else { break };
            if kept.sockets.get(&socket).is_some_and(|(of, _)| *of == number) {
                forgotten.extend(kept.sockets.remove(&socket));
            }
        }
        // A client that comes and goes must neither fill the order nor count for more than one.
        if kept.order.len() > 2 * kept.sockets.len() + 64 {
            let Kept { sockets, order, .. } = &mut *kept;
            order.retain(|(number, _, socket)| sockets.get(socket).is_some_and(|(of, _)| of == number));
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
    use std::time::Duration;

    use super::*;

    fn value(number: u8) -> TypeMap {
        let mut values = TypeMap::default();
        drop(values.insert(number));
        values
    }

    #[test]
    fn they_are_taken_once_and_forgotten_when_they_are_too_old_or_too_many() {
        let (kept, start, options) =
            (Extensions::default(), Instant::now(), &Options { sessions: 100, ..Options::default() });
        let at = |seconds| start + Duration::from_secs(seconds);
        kept.keep("a", value(1), at(0), options);
        assert_eq!(kept.take("a").and_then(|values| values.get::<u8>()).as_deref(), Some(&1));
        assert!(kept.take("a").is_none());
        // It ended again: the older entry in the order is not this one's.
        kept.keep("a", value(2), at(60), options);
        kept.keep("b", value(3), at(121), options);
        assert!(kept.take("a").is_some());
        kept.keep("c", value(4), at(242), options);
        assert!(kept.take("b").is_none() && kept.take("c").is_some());
        for number in 0..=100 {
            kept.keep(&number.to_string(), value(0), at(300), options);
        }
        assert!(kept.take("0").is_none() && kept.take("1").is_some());
        assert!(kept.kept().order.len() <= 100);
    }

    #[test]
    fn a_client_that_comes_and_goes_makes_nobody_forgotten() {
        let (kept, now, options) =
            (Extensions::default(), Instant::now(), &Options { sessions: 100, ..Options::default() });
        kept.keep("a", value(1), now, options);
        for _ in 0..10_000 {
            kept.keep("b", value(2), now, options);
            assert!(kept.take("b").is_some());
        }
        assert!(kept.kept().order.len() < 100);
        assert!(kept.take("a").is_some());
    }
}
