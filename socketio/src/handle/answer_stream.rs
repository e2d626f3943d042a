//! [`AnswerStream`]: the answers to a broadcast, as they come.

use std::{collections::VecDeque, future::poll_fn, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::waiting::{Asking, send_each};
use crate::adapter::{Answer, Answers};

/// What [`AnswerStream::next`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerProgress {
    /// All shards and servers that were asked have said how many sockets they sent the event to: this many together. It
    /// comes once, before or after the first answers; not at all, if somebody is missing.
    Recipients(usize),
    /// A socket answered.
    Answer(Answer),
}

/// The answers to a broadcast, as they come ([`Emitter::stream_answers`](super::Emitter::stream_answers)).
#[derive(Debug)]
pub struct AnswerStream {
    asking: Asking<Answers>,
    deadline: Option<Instant>,
    ready: VecDeque<AnswerProgress>,
    told_recipients: bool,
}

impl AnswerStream {
    /// Sends the question. A shard that cannot be sent it in time is missing.
    pub(super) async fn start(mut asking: Asking<Answers>) -> Self {
        let deadline = deadline(asking.timeout);
        asking.collector.wake_for_each();
        let sending = send_each(&asking.engine, std::mem::take(&mut asking.messages));
        // Whom it did not reach is missing.
        let _ = until(deadline, sending).await;
        Self { asking, deadline, ready: VecDeque::new(), told_recipients: false }
    }

    /// Waits for the next answer. `None`: there are no more, because all have answered or the time is up. It may be dropped while it
    /// waits, and called again.
    pub async fn next(&mut self) -> Option<AnswerProgress> {
        loop {
            if let Some(progress) = self.ready.pop_front() {
                return Some(progress);
            }
            let Self { asking, deadline, told_recipients, .. } = self;
            let poll = poll_fn(|context| asking.collector.poll_answers(context, *told_recipients));
            let (recipients, answers) = until(*deadline, poll).await??;
            self.told_recipients |= recipients.is_some();
            self.ready.extend(recipients.map(AnswerProgress::Recipients));
            self.ready.extend(answers.into_iter().map(AnswerProgress::Answer));
        }
    }

    /// Who did not answer, and who is missing, as far as known now; and the answers that [`AnswerStream::next`] did not return.
    #[must_use]
    pub fn finish(self) -> Answers {
        let mut rest = self.asking.collector.take();
        let waiting = self.ready.into_iter().filter_map(|progress| match progress {
            AnswerProgress::Answer(answer) => Some(answer),
            AnswerProgress::Recipients(_) => None,
        });
        rest.answers = waiting.chain(rest.answers).collect();
        rest
    }
}

fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

async fn until<R>(deadline: Option<Instant>, future: impl Future<Output = R>) -> Option<R> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
