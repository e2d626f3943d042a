//! [`Sender`]: the thread that sends. One request at a time, so that the receiver gets events in their order; one that fails is sent
//! again, after pauses that grow.

use std::{
    io::{self, Read as _},
    sync::Arc,
    time::{Duration, Instant},
};

use ureq::Agent;

use super::{event::Event, queue::Queue, signature::Signer};
use crate::{
    clock::{Timestamps, wall_clock},
    config, http_client,
};

/// The pause after the first failure, and the longest. Each is twice the one before, give or take a quarter: receivers that were down
/// are not to be met by all their senders at once.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest body of an answer that is read, in bytes. It says nothing to us, but a connection can be used again only behind it.
const MAX_ANSWER: u64 = 16 * 1024;

/// How often the log says that nothing arrives.
const REPEAT: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Sender {
    agent: Agent,
    /// It may hold a secret.
    url: String,
    signer: Signer,
    queue: Arc<Queue>,
    /// After this time without success a batch is given up.
    give_up: Duration,
}

/// Tells those who wait for the end, whatever the end is.
struct EndGuard<'a>(&'a Queue);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Sender {
    pub(super) fn new(
        config: &config::Webhooks,
        url: String,
        signer: Signer,
        queue: Arc<Queue>,
    ) -> Result<Self, String> {
        let agent = http_client::agent(config.timeout, url.starts_with("https:"))?;
        Ok(Self { agent, url, signer, queue, give_up: config.give_up })
    }

    /// Sends until the queue is closed and empty, or an attempt fails after it was closed.
    pub(super) fn run(self) {
        let _guard = EndGuard(&self.queue);
        let (mut timestamps, mut told) = (Timestamps::default(), None);
        while let Some(batch) = self.queue.take() {
            let body = body(&batch, &mut timestamps);
            drop(batch);
            match self.deliver(&body, &mut told) {
                Some(is_sent) => self.queue.settle(is_sent),
                None => return,
            }
        }
    }

    /// Sends a body until it arrives; `false` when it is given up, `None` when the process ends before.
    fn deliver(&self, body: &[u8], told: &mut Option<Instant>) -> Option<bool> {
        let (id, begun, mut pause) = (delivery_id(), Instant::now(), FIRST_PAUSE);
        loop {
            let Err(reason) = self.attempt(&id, body) else {
                if told.take().is_some() {
                    tracing::info!("webhooks arrive again");
                }
                return Some(true);
            };
            self.queue.count_failure();
            if told.is_none_or(|told| told.elapsed() >= REPEAT) {
                tracing::warn!(reason, "webhooks do not arrive; trying again");
                *told = Some(Instant::now());
            }
            if begun.elapsed() >= self.give_up {
                tracing::warn!(reason, "webhooks: a request is given up");
                return Some(false);
            }
            if self.queue.pause(spread(pause)) {
                return None;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sends it once.
    fn attempt(&self, id: &str, body: &[u8]) -> Result<(), String> {
        // Of this attempt: a receiver refuses what is old.
        let seconds = wall_clock().as_secs();
        let request = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", self.signer.sign(id, seconds, body));
        let response = request.send(body).map_err(|error| error.to_string())?;
        let status = response.status();
        // The status is what counts, whatever becomes of the body. The agent's time-out holds for it too.
        let _ = io::copy(&mut response.into_body().into_reader().take(MAX_ANSWER), &mut io::sink());
        if status.is_success() { Ok(()) } else { Err(format!("the answer is {status}")) }
    }
}

/// The body of a request.
fn body(batch: &[Event], timestamps: &mut Timestamps) -> Vec<u8> {
    let mut body = br#"{"events":["#.to_vec();
    for (number, event) in batch.iter().enumerate() {
        if number > 0 {
            body.push(b',');
        }
        event.write(timestamps, &mut body);
    }
    body.extend_from_slice(b"]}");
    body
}

/// The same in all attempts, so that the receiver knows what it has had.
fn delivery_id() -> String {
    let mut random = [0; 10];
    // Without entropy ids of one millisecond could be equal.
    let _ = getrandom::fill(&mut random);
    let millis = u64::try_from(wall_clock().as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
}

/// A pause, a quarter longer or shorter.
fn spread(pause: Duration) -> Duration {
    let mut random = [0; 1];
    let _ = getrandom::fill(&mut random);
    pause.mul_f64(0.75 + f64::from(random[0]) / 512.0)
}
