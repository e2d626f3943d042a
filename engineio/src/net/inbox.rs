//! What reaches a shard from other threads.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::mpsc;

/// An order to a shard.
#[derive(Debug)]
pub(super) enum Command {
    /// End every session at its transport; stop once all are gone, or after this time.
    Shutdown { within: Duration },
}

/// The end that other threads hold.
#[derive(Debug, Clone)]
pub(super) struct Mailbox(mpsc::Sender<Command>);

/// The end that the shard holds.
#[derive(Debug)]
pub(super) struct Inbox(mpsc::Receiver<Command>);

pub(super) fn channel() -> (Mailbox, Inbox) {
    let (sender, receiver) = mpsc::channel(16);
    (Mailbox(sender), Inbox(receiver))
}

impl Mailbox {
    /// Never blocks. A shard that has ended, or has as many orders already, is shutting down anyway.
    pub(super) fn send(&self, command: Command) {
        let _ = self.0.try_send(command);
    }
}

impl Inbox {
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Command>> {
        self.0.poll_recv(cx)
    }
}
