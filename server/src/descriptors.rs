//! File descriptors: each connection takes one, and the process needs a few for itself.

use rustix::process::{Resource, getrlimit, setrlimit};

/// What the process needs apart from connections and workers: standard streams, files, the listener, signals.
const OWN: usize = 32;

/// What each worker needs: its reactor, and what wakes it.
const PER_WORKER: usize = 8;

/// Raises the soft limit of descriptors to the hard one, and says so in the log. Returns how many connections the process
/// may have; `None` if descriptors are not limited.
pub(crate) fn raise(workers: usize) -> Option<usize> {
    let mut limit = getrlimit(Resource::Nofile);
    let (before, hard) = (limit.current, limit.maximum);
    limit.current = hard;
    if before != hard
        && let Err(error) = setrlimit(Resource::Nofile, limit)
    {
        tracing::warn!(%error, "the soft limit of file descriptors cannot be raised");
        limit.current = before;
    }
    let Some(count) = limit.current.map(|count| usize::try_from(count).unwrap_or(usize::MAX)) else {
        tracing::info!("file descriptors are not limited");
        return None;
    };
    let connections = connections(count, workers);
    tracing::info!(descriptors = count, connections, "file descriptors, and the connections that they allow");
    Some(connections)
}

/// The connections that so many descriptors allow.
fn connections(descriptors: usize, workers: usize) -> usize {
    // With a very low limit half of it must do.
    descriptors.saturating_sub(OWN + PER_WORKER * workers).max(descriptors / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept() {
        assert_eq!(connections(1024, 2), 976);
        assert_eq!(connections(64, 4), 32);
        assert_eq!(connections(0, 1), 1);
    }
}
