//! [`Handle`]: how any other thread reaches the handlers of a running server.

use std::{
    fmt,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{command::Command, mailbox::PutError, registry::Registry, stats::ShardStats};
use crate::{Config, ConfigError, ShardMessage};

/// Reaches a running server from any thread: a background task, a store's thread, an HTTP handler. All clones reach the
/// same server.
///
/// A message goes to the handler of one shard, which gets it as
/// [`Handler::on_shard_message`](crate::Handler::on_shard_message) in its own turn. Messages that one thread sends to
/// one shard stay in order.
///
/// The queue in front of a shard is bounded (4 MiB, in which each message counts 4 KiB plus its
/// [weight](ShardMessage::with_weight)). When it is full, [`Handle::send`] waits and [`Handle::try_send`] refuses. If
/// the shard has ended, because the server was shut down or the shard broke, the error is [`ShardGone`].
///
/// ```
/// use engineio::{ConnKey, CloseReason, Config, Handler, Handshake, Message, Outbox, ShardMessage, net::{Reply, Server}};
///
/// #[derive(Default)]
/// struct Count(usize);
///
/// /// A question for a shard, and where its answer goes.
/// struct HowMany(Reply<usize>);
///
/// impl Handler for Count {
///     fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {
///         self.0 += 1;
///     }
///     fn on_message(&mut self, _: &mut dyn Outbox, _: ConnKey, _: Message<'_>) {}
///     fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {
///         self.0 -= 1;
///     }
///     fn on_shard_message(&mut self, _: &mut dyn Outbox, message: ShardMessage) {
///         if let Ok(HowMany(reply)) = message.downcast() {
///             reply.send(self.0);
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let running = Server::new(Config::default()).shards(2).serve(listener, Count::default)?;
/// let handle = running.handle();
/// let mut sessions = 0;
/// for shard in 0..handle.shards() {
///     sessions += handle.ask(shard, |reply| ShardMessage::new(HowMany(reply))).await?;
/// }
/// assert_eq!(sessions, 0);
/// handle.shutdown(std::time::Duration::ZERO);
/// running.join()?;
/// assert!(handle.ask(0, |reply| ShardMessage::new(HowMany(reply))).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Handle {
    registry: Arc<Registry>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("shards", &self.shards()).finish_non_exhaustive()
    }
}

/// The shard has ended, or no shard has this number: the message was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("shard {0} is gone")]
pub struct ShardGone(pub u16);

/// Why [`Handle::try_send`] did not send a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The shard has too much to do; try again later. Holds the message.
    #[error("the shard has too much to do")]
    Full(ShardMessage),
    /// The shard has ended.
    #[error(transparent)]
    Gone(#[from] ShardGone),
}

/// Sends the answer to [`Handle::ask`]. If it is dropped without an answer, the asking side gets [`ShardGone`].
#[derive(Debug)]
pub struct Reply<R>(oneshot::Sender<R>);

impl<R> Reply<R> {
    /// Sends the answer. If the asking side is gone, the answer is dropped.
    pub fn send(self, answer: R) {
        let _ = self.0.send(answer);
    }

    /// A reply that nobody waits for: for tests of handlers, whose messages may have one in them.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn to_nobody() -> Self {
        Self(oneshot::channel().0)
    }
}

impl Handle {
    pub(in crate::net) const fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// How many shards the server has; they are numbered from 0.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.registry.shards()
    }

    /// Whether this shard has not ended.
    #[cfg(feature = "tower")]
    pub(in crate::net) fn serves(&self, shard: u16) -> bool {
        self.registry.connections.serves(shard)
    }

    /// Sends a message to a shard's handler. Waits while the shard's queue is full.
    ///
    /// # Errors
    /// [`ShardGone`].
    pub async fn send(&self, shard: u16, message: ShardMessage) -> Result<(), ShardGone> {
        self.put(shard, Command::Message(message)).await
    }

    /// [`Handle::send`] for a thread that may block. Not for a handler: on the shard's own thread it would wait for itself.
    ///
    /// # Errors
    /// [`ShardGone`].
    pub fn send_blocking(&self, shard: u16, message: ShardMessage) -> Result<(), ShardGone> {
        let waker: Waker = Arc::new(Unpark(thread::current())).into();
        let mut sending = pin!(self.send(shard, message));
        loop {
            match sending.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Sends a message to a shard's handler unless the shard's queue is full.
    ///
    /// # Errors
    /// [`TrySendError`] when it was not sent.
    pub fn try_send(&self, shard: u16, message: ShardMessage) -> Result<(), TrySendError> {
        let mailbox = self.registry.mailbox(shard).ok_or(ShardGone(shard))?;
        match mailbox.try_put(Command::Message(message)) {
            Ok(()) => Ok(()),
            Err(PutError::Full(Command::Message(message))) => Err(TrySendError::Full(message)),
            Err(_) => Err(ShardGone(shard).into()),
        }
    }

    /// Sends every shard the message that `make` makes for it. Waits while a shard's queue is full.
    ///
    /// # Errors
    /// [`ShardGone`] with the first shard that has ended. The other shards have been sent their messages.
    pub async fn send_all(&self, mut make: impl FnMut(u16) -> ShardMessage) -> Result<(), ShardGone> {
        let mut result = Ok(());
        for shard in 0..self.shards() {
            result = result.and(self.send(shard, make(shard)).await);
        }
        result
    }

    /// Sends a shard's handler a message that asks for an answer, and waits for the answer.
    ///
    /// # Errors
    /// [`ShardGone`] when the shard has ended, or its handler dropped the [`Reply`].
    pub async fn ask<R>(&self, shard: u16, message: impl FnOnce(Reply<R>) -> ShardMessage) -> Result<R, ShardGone> {
        let (reply, answer) = oneshot::channel();
        self.send(shard, message(Reply(reply))).await?;
        answer.await.map_err(|_| ShardGone(shard))
    }

    /// What a shard has counted, for metrics. Numbers that need a look at every session are at most 100 ms old.
    ///
    /// # Errors
    /// [`ShardGone`] when the shard has ended.
    pub async fn stats(&self, shard: u16) -> Result<ShardStats, ShardGone> {
        let (answer, stats) = oneshot::channel();
        self.put(shard, Command::Stats(answer)).await?;
        stats.await.map_err(|_| ShardGone(shard))
    }

    /// Stops accepting connections and ends every session by closing its transport, so that clients reconnect by
    /// themselves. Each shard stops once all sessions are gone or `within` has passed.
    pub fn shutdown(&self, within: Duration) {
        self.registry.shut_down(within);
    }

    /// Ends the server gradually, so that its clients do not all reconnect at the same moment. New sessions are refused with status
    /// 503 from now on; requests of open ones are served. Each shard ends its sessions one after another, evenly over this
    /// time. The server then shuts down, also before that time once no session is left. See [`Handle::shutdown`]; the
    /// transports have `close_timeout`.
    ///
    /// [`Handle::shutdown`] can be called meanwhile, to end the rest at once.
    pub fn drain(&self, over: Duration) {
        self.registry.drain(over);
    }

    /// Takes over from `config` what a running server can change: `origins`, `hosts`, `cors`, `trusted_proxies`, `setting_names`,
    /// `outbound_soft`, `outbound_hard`, `max_unaccepted`, `max_sessions` and `max_pending`. Everything else stays. No connection
    /// ends over it. Requests of long-polling over a connection that is open already may be judged by the old settings until it
    /// closes.
    ///
    /// # Errors
    /// The [`ConfigError`] of [`Config::validate`]. Then nothing has changed.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        config.validate()?;
        self.registry.reconfigure(config);
        Ok(())
    }

    /// Connections that begin from now on get this configuration, such as a new certificate. Those that are there keep theirs. A server
    /// that was started without [`Server::tls`](crate::net::Server::tls) takes no notice.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, config: Arc<rustls::ServerConfig>) {
        if let Some(tls) = &self.registry.tls {
            tls.replace(config);
        }
    }

    /// Puts a command into a shard's mailbox. Waits while that is full.
    pub(in crate::net) async fn put(&self, shard: u16, mut command: Command) -> Result<(), ShardGone> {
        let mailbox = self.registry.mailbox(shard).ok_or(ShardGone(shard))?;
        loop {
            let mut room = pin!(mailbox.room());
            // Registered before the attempt, so that a notification right after it is not missed.
            room.as_mut().enable();
            match mailbox.try_put(command) {
                Ok(()) => return Ok(()),
                Err(PutError::Closed) => return Err(ShardGone(shard)),
                Err(PutError::Full(refused)) => command = refused,
            }
            room.await;
        }
    }
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
