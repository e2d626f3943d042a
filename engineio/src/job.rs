//! [`Job`]: work that runs outside a shard's turn, so that it does not hold up the shard's connections.
//!
//! A handler starts a job with [`Outbox::start_job`](crate::Outbox::start_job) and goes on at once. The result comes
//! back as an event, [`Handler::on_job_done`](crate::Handler::on_job_done), on the shard that started the job. The core
//! only describes the work; the code that drives the handler (`net`, or a test) runs it.

use std::{fmt, pin::Pin};

use crate::ShardMessage;

/// The work of a [`Job`].
pub enum Work {
    /// A call that may block or compute: it runs on a thread that serves no connections.
    Blocking(Box<dyn FnOnce() -> ShardMessage + Send>),
    /// A future that waits, for a network service for example. It is polled on the shard's own thread and must not
    /// block.
    Future(Pin<Box<dyn Future<Output = ShardMessage> + Send>>),
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocking(_) => "Blocking",
            Self::Future(_) => "Future",
        })
    }
}

/// A description of work. See the module.
#[derive(Debug)]
pub struct Job(Work);

impl Job {
    /// A call that may block or compute for long. Its return value is the result.
    #[must_use]
    pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(Work::Blocking(Box::new(move || ShardMessage::new(work()))))
    }

    /// A future that mostly waits. Its output is the result.
    #[must_use]
    pub fn future<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Work::Future(Box::pin(async move { ShardMessage::new(work.await) })))
    }

    /// The work, for the code that runs it.
    #[must_use]
    pub fn into_work(self) -> Work {
        self.0
    }
}

/// For code that runs jobs: it can turn work that has not run yet back into a job.
impl From<Work> for Job {
    fn from(work: Work) -> Self {
        Self(work)
    }
}

/// A job that a shard has started. No two jobs of one shard have the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

impl JobId {
    /// The id with this number. For code that runs jobs.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// The job was not started, because [`Config::max_jobs`](crate::Config::max_jobs) of the shard are running already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many jobs are under way")]
pub struct TooManyJobs;

/// The job has no result, because its work panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job panicked")]
pub struct JobPanicked;

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn both_kinds_of_work_end_in_a_message_with_the_result() {
        let Work::Blocking(work) = Job::blocking(|| 7_u32).into_work() else { panic!("blocking") };
        assert_eq!(work().downcast::<u32>().unwrap(), 7);
        let Work::Future(mut work) = Job::future(async { 8_u32 }).into_work() else { panic!("a future") };
        let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("ready") };
        assert_eq!(result.downcast::<u32>().unwrap(), 8);
    }
}
