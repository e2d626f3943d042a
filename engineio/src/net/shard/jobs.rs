//! [`Jobs`]: the work that a shard's handler runs outside its turns ([`crate::job`]).
//!
//! A blocking call runs on a thread of tokio's blocking pool, a future on the shard's own thread. Either way the result
//! comes back through the shard's mailbox. So it gets a turn of its own, and counts towards the mailbox's limit.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Poll,
};

use super::super::shards::{command::Command, registry::Registry};
use crate::{
    Job, JobId, ShardMessage,
    job::{JobPanicked, TooManyJobs, Work},
};

/// A shard's running jobs. See the module.
#[derive(Debug, Default)]
pub(in crate::net) struct Jobs {
    started: u64,
    under_way: usize,
}

impl Jobs {
    /// Starts a job of this shard, unless `max` jobs are running.
    pub(in crate::net) fn start(
        &mut self,
        job: Job,
        max: usize,
        shard: u16,
        registry: &Arc<Registry>,
    ) -> Result<JobId, TooManyJobs> {
        if self.under_way >= max {
            return Err(TooManyJobs);
        }
        self.under_way += 1;
        self.started += 1;
        let id = JobId::new(self.started);
        let registry = Arc::clone(registry);
        let done = move |result| {
            if let Some(mailbox) = registry.mailbox(shard) {
                // A shard that has ended needs no result.
                let _ = mailbox.put(Command::JobDone(id, result));
            }
        };
        match job.into_work() {
            Work::Blocking(work) => drop(tokio::task::spawn_blocking(move || {
                done(catch_unwind(AssertUnwindSafe(work)).map_err(|_| JobPanicked));
            })),
            Work::Future(mut work) => drop(tokio::task::spawn_local(async move {
                let guarded = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(result)) => Poll::Ready(Ok::<ShardMessage, _>(result)),
                    Err(_) => Poll::Ready(Err(JobPanicked)),
                });
                done(guarded.await);
            })),
        }
        Ok(id)
    }

    /// The result of a job has come.
    pub(in crate::net) const fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }
}
