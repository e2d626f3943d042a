//! How long a connection may take for the head of a request: `head_timeout`, counted from its first byte. Until then the
//! connection is idle, which it may be for `keep_alive`, counted from when the last response was made, or from when the
//! stream last accepted a blocked part of it.
//!
//! hyper has a limit for heads too, with a tokio timer that is set again for every request. Here it is one timer for
//! each connection, which is set again only when it fires or a head begins: a request only notes the time.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::super::shards::peer::Peer;

/// How long a connection may wait for a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For the rest of a head that has begun.
    pub(super) head: Duration,
    /// For a head that has not begun.
    pub(super) keep_alive: Duration,
}

/// Whether a connection's next head is due, as its service and its stream report.
#[derive(Debug)]
pub(super) struct HeadTimeout {
    limits: Limits,
    /// Since when the connection has been idle, or a head has been due; `None` while a request is served.
    since: Cell<Option<Instant>>,
    /// Bytes of the next head have come.
    begun: Cell<bool>,
    /// Part of a response is not sent: the peer may not have seen it, so no head is due yet.
    blocked: Cell<bool>,
    /// A request was served, and the last one has no body that may still come.
    free: Cell<bool>,
    peer: Peer,
}

impl HeadTimeout {
    /// For a connection with bytes of a head that has been due since then.
    pub(super) fn new(limits: Limits, since: std::time::Instant, peer: Peer) -> Self {
        let since = Cell::new(Some(Instant::from_std(since)));
        Self { limits, since, begun: Cell::new(true), blocked: Cell::new(false), free: Cell::new(false), peer }
    }

    /// A head came, of a request with or without a body.
    pub(super) fn end(&self, has_body: bool) {
        self.peer.busy();
        self.since.set(None);
        self.begun.set(false);
        self.free.set(!has_body);
    }

    /// Bytes were read from the stream.
    pub(super) fn on_read(&self) {
        // While a request with a body is served, they are the body.
        if self.begun.get() || (self.since.get().is_none() && !self.free.get()) {
            return;
        }
        self.begun.set(true);
        if self.since.get().is_some() {
            self.since.set(Some(Instant::now()));
        }
    }

    /// Since when the connection has been between two requests, with its last response sent and no part of a body still
    /// to come.
    pub(super) fn free_since(&self) -> Option<std::time::Instant> {
        self.since.get().filter(|_| self.free.get() && !self.blocked.get()).map(Instant::into_std)
    }

    /// The response to the request was made.
    pub(super) fn begin(&self) {
        let now = Instant::now();
        self.since.set(Some(now));
        self.peer.idle(now.into_std());
    }

    /// The stream does not accept a response, or does again.
    pub(super) fn set_blocked(&self, blocked: bool) {
        if self.blocked.replace(blocked) && !blocked && self.since.get().is_some() {
            self.begin();
        }
    }

    /// Ready when the connection has waited for a head for too long; `sleep` is the timer for that.
    pub(super) fn poll_exceeded(&self, mut sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        let sooner = self.deadline();
        // A head has begun since the timer was set.
        if sooner < sleep.deadline() {
            sleep.as_mut().reset(sooner);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            let deadline = self.deadline();
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }

    /// The earliest time at which the limit may be exceeded, in the present state.
    pub(super) fn deadline(&self) -> Instant {
        let Limits { head, keep_alive } = self.limits;
        match self.since.get().filter(|_| !self.blocked.get()) {
            Some(since) if self.begun.get() => since + head,
            Some(since) => since + keep_alive,
            None => Instant::now() + keep_alive,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use tokio::time::{advance, sleep_until, timeout};

    const LIMIT: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);
    const MS: Duration = Duration::from_millis(1);

    fn begun() -> HeadTimeout {
        let peer = Peer::new(([127, 0, 0, 1], 1).into(), None);
        HeadTimeout::new(Limits { head: LIMIT, keep_alive: IDLE }, Instant::now().into_std(), peer)
    }

    /// Whether the limit is exceeded within this time from now.
    async fn ends(head: &HeadTimeout, mut sleep: Pin<&mut Sleep>, within: Duration) -> bool {
        timeout(within, std::future::poll_fn(|cx| head.poll_exceeded(sleep.as_mut(), cx))).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_due_from_its_first_byte_and_an_idle_connection_is_kept_longer() {
        let head = begun();
        let mut sleep = pin!(sleep_until(head.deadline()));
        head.end(false);
        head.begin();
        assert!(!ends(&head, sleep.as_mut(), IDLE - 2 * MS).await, "idle");
        head.end(false);
        head.begin();
        assert!(!ends(&head, sleep.as_mut(), IDLE / 2).await, "idle");
        head.on_read();
        assert!(!ends(&head, sleep.as_mut(), LIMIT / 2).await);
        // A head that comes byte by byte has no more time.
        head.on_read();
        assert!(!ends(&head, sleep.as_mut(), LIMIT / 2 - 2 * MS).await);
        assert!(ends(&head, sleep.as_mut(), 4 * MS).await);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_come_while_a_request_is_served_are_the_next_head_or_its_body() {
        for (has_body, limit) in [(false, LIMIT), (true, IDLE)] {
            let head = begun();
            let mut sleep = pin!(sleep_until(head.deadline()));
            head.end(has_body);
            head.on_read();
            head.begin();
            assert!(!ends(&head, sleep.as_mut(), limit - 2 * MS).await, "{has_body}");
            assert!(ends(&head, sleep.as_mut(), 4 * MS).await, "{has_body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_counts_from_the_last_response_and_not_within_a_request() {
        let head = begun();
        let mut sleep = pin!(sleep_until(head.deadline()));
        advance(9 * LIMIT / 10).await;
        head.end(false);
        assert!(!ends(&head, sleep.as_mut(), 5 * IDLE).await, "a poll may wait");
        head.begin();
        assert!(!ends(&head, sleep.as_mut(), IDLE - 2 * MS).await);
        head.end(false);
        head.begin();
        assert!(!ends(&head, sleep.as_mut(), IDLE - 2 * MS).await);
        assert!(ends(&head, sleep.as_mut(), 4 * MS).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_is_due_from_the_beginning() {
        let head = begun();
        let mut sleep = pin!(sleep_until(head.deadline()));
        assert!(!ends(&head, sleep.as_mut(), LIMIT - 2 * MS).await);
        assert!(ends(&head, sleep.as_mut(), 4 * MS).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_free_after_a_request_without_a_body_whose_response_is_out() {
        let head = begun();
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
        let head = begun();
        let mut sleep = pin!(sleep_until(head.deadline()));
        head.begin();
        head.set_blocked(true);
        assert!(!ends(&head, sleep.as_mut(), 3 * LIMIT).await);
        head.set_blocked(false);
        assert!(!ends(&head, sleep.as_mut(), LIMIT - 2 * MS).await);
        assert!(ends(&head, sleep.as_mut(), 4 * MS).await);
        // Blocked while the next request is already served (it was pipelined): no head is due.
        head.end(false);
        head.set_blocked(true);
        head.set_blocked(false);
        assert!(head.since.get().is_none());
    }
}
