//! How long a connection may take for the head of a request: `head_timeout`, counted from when the last response was
//! made, or from when the stream last accepted a blocked part of it.
//!
//! hyper has the same limit, with a tokio timer that is set again for every request. Here it is one timer for each
//! connection, which is checked only when it fires: a request only notes the time.

use std::{cell::Cell, pin::pin, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Whether a connection's next head is due, as its service and its stream report.
#[derive(Debug)]
pub(super) struct HeadTimeout {
    /// Since when a head is due; `None` while a request is served.
    since: Cell<Option<Instant>>,
    /// Part of a response is not sent: the peer may not have seen it, so no head is due yet.
    blocked: Cell<bool>,
    /// A request was served, and the last one has no body that may still come.
    free: Cell<bool>,
}

impl HeadTimeout {
    /// For a connection whose first head has been due since then.
    pub(super) fn since(since: std::time::Instant) -> Self {
        let since = Cell::new(Some(Instant::from_std(since)));
        Self { since, blocked: Cell::new(false), free: Cell::new(false) }
    }

    /// A head came, of a request with or without a body.
    pub(super) fn end(&self, has_body: bool) {
        self.since.set(None);
        self.free.set(!has_body);
    }

    /// Since when the connection has been between two requests, with its last response sent and no part of a body still
    /// to come.
    pub(super) fn free_since(&self) -> Option<std::time::Instant> {
        self.since.get().filter(|_| self.free.get() && !self.blocked.get()).map(Instant::into_std)
    }

    /// The response to the request was made.
    pub(super) fn begin(&self) {
        self.since.set(Some(Instant::now()));
    }

    /// The stream does not accept a response, or does again.
    pub(super) fn set_blocked(&self, blocked: bool) {
        if self.blocked.replace(blocked) && !blocked && self.since.get().is_some() {
            self.begin();
        }
    }

    /// Completes when a head has been due for `limit`.
    pub(super) async fn exceeded(&self, limit: Duration) {
        let mut sleep = pin!(sleep_until(self.deadline(limit)));
        loop {
            sleep.as_mut().await;
            let deadline = self.deadline(limit);
            if deadline <= Instant::now() {
                return;
            }
            sleep.as_mut().reset(deadline);
        }
    }

    /// The earliest time at which the limit may be exceeded, in the present state.
    fn deadline(&self, limit: Duration) -> Instant {
        self.since.get().filter(|_| !self.blocked.get()).unwrap_or_else(Instant::now) + limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    const LIMIT: Duration = Duration::from_secs(10);
    const MS: Duration = Duration::from_millis(1);

    /// Whether the limit is exceeded within this time from now.
    async fn ends(exceeded: &mut (impl Future<Output = ()> + Unpin), within: Duration) -> bool {
        timeout(within, exceeded).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_counts_from_the_last_response_and_not_within_a_request() {
        let head = HeadTimeout::since(Instant::now().into_std());
        let mut exceeded = pin!(head.exceeded(LIMIT));
        advance(9 * LIMIT / 10).await;
        head.end(false);
        assert!(!ends(&mut exceeded, 5 * LIMIT).await, "a poll may wait");
        head.begin();
        assert!(!ends(&mut exceeded, LIMIT - 2 * MS).await);
        head.end(false);
        head.begin();
        assert!(!ends(&mut exceeded, LIMIT - 2 * MS).await);
        assert!(ends(&mut exceeded, 4 * MS).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_is_due_from_the_beginning() {
        let head = HeadTimeout::since(Instant::now().into_std());
        let mut exceeded = pin!(head.exceeded(LIMIT));
        assert!(!ends(&mut exceeded, LIMIT - 2 * MS).await);
        assert!(ends(&mut exceeded, 4 * MS).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_free_after_a_request_without_a_body_whose_response_is_out() {
        let head = HeadTimeout::since(Instant::now().into_std());
        assert_eq!(head.free_since(), None, "no request was served");
        for has_body in [false, true] {
            head.end(has_body);
            assert_eq!(head.free_since(), None, "one is served");
            head.begin();
            assert_eq!(head.free_since().is_some(), !has_body);
            head.set_blocked(true);
            assert_eq!(head.free_since(), None, "its response is not out");
            head.set_blocked(false);
            assert_eq!(head.free_since().is_some(), !has_body);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_head_is_due_while_a_peer_slowly_reads_a_response() {
        let head = HeadTimeout::since(Instant::now().into_std());
        let mut exceeded = pin!(head.exceeded(LIMIT));
        head.begin();
        head.set_blocked(true);
        assert!(!ends(&mut exceeded, 3 * LIMIT).await);
        head.set_blocked(false);
        assert!(!ends(&mut exceeded, LIMIT - 2 * MS).await);
        assert!(ends(&mut exceeded, 4 * MS).await);
        // Blocked while the next request is already served (it was pipelined): no head is due.
        head.end(false);
        head.set_blocked(true);
        head.set_blocked(false);
        assert!(head.since.get().is_none());
    }
}
