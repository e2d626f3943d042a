//! Webhooks: an address of the application's is told who connects and disconnects, and which messages are stored. Off by default.
//!
//! A shard puts an event into a bounded queue and goes on; one thread sends what is in it, in its order. What does not fit is dropped
//! and counted: the chat never waits for an application.
//!
//! | file | what it does |
//! |---|---|
//! | `event` | what is told, as JSON |
//! | `queue` | what waits to be sent |
//! | `sender` | the thread: batches, attempts, pauses |
//! | `signature` | how the receiver knows that it is told the truth |

mod event;
mod queue;
mod sender;
mod signature;

use std::{sync::Arc, thread};

pub(crate) use event::Event;
use queue::Queue;
pub(crate) use queue::WebhookCounts;
use sender::Sender;
use signature::Signer;

use crate::config::{self, WebhookEvent};

/// The way to the thread that sends. Clones share it; without an address there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Webhooks(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    queue: Arc<Queue>,
    events: Vec<WebhookEvent>,
    signer: Signer,
}

impl Webhooks {
    /// Starts the thread, if the configuration names an address.
    ///
    /// # Errors
    /// There is no thread, or no certificate authority to know the receiver by.
    pub(crate) fn start(config: &config::Webhooks) -> Result<Self, String> {
        let Some(url) = &config.url else { return Ok(Self::default()) };
        let (queue, signer) = (Arc::new(Queue::new(config.queue)), Signer::new(config));
        let sender = Sender::new(config, url.expose().to_owned(), signer.clone(), Arc::clone(&queue))?;
        let spawned = thread::Builder::new().name("webhooks".to_owned()).spawn(move || sender.run());
        spawned.map_err(|error| format!("no thread for webhooks: {error}"))?;
        Ok(Self(Some(Arc::new(Shared { queue, events: config.events.clone(), signer }))))
    }

    /// The secrets of this configuration sign from now on.
    pub(crate) fn renew_secrets(&self, config: &config::Webhooks) {
        if let Some(shared) = &self.0 {
            shared.signer.renew(config);
        }
    }

    /// Tells something. What `make` makes is only made where it is wanted.
    pub(crate) fn tell(&self, kind: WebhookEvent, make: impl FnOnce() -> Event) {
        if let Some(shared) = &self.0
            && shared.events.contains(&kind)
        {
            shared.queue.push(make());
        }
    }

    /// What has become of the events; `None` where there are no webhooks.
    pub(crate) fn counts(&self) -> Option<WebhookCounts> {
        self.0.as_ref().map(|shared| shared.queue.counts())
    }

    /// Takes no more events, and waits until those that are there are sent or an attempt has failed, at most so long.
    pub(crate) fn close(&self, within: std::time::Duration) {
        if let Some(shared) = &self.0 {
            let left = shared.queue.close(within);
            if left > 0 {
                tracing::warn!(events = left, "webhooks: the process ends before these are sent");
            }
        }
    }
}
