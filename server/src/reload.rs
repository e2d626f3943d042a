//! SIGHUP: the configuration is read again, and what a running server can change of it counts from then on. A configuration that is
//! wrong changes nothing.

use std::sync::Arc;

use anyhow::Context as _;
use engineio::{ShardMessage, net::Handle};

use crate::{
    auth::Verifier,
    chat::{AliveCheck, Renewed, Shared},
    config::{Change, Config},
    engine,
    http::Api,
    logging, tls,
};

/// A configuration, and what the files that it names hold.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) verifier: Verifier,
    pub(crate) tls: Option<tls::Served>,
}

/// Reads the configuration as at the start, from its file, the variables and the command line.
pub(crate) type Read = Box<dyn Fn() -> anyhow::Result<Loaded> + Send + Sync>;

/// Carries changes of the configuration to the shards.
pub(crate) struct Reloader {
    read: Arc<Read>,
    /// The configuration in use, as it was given.
    config: Config,
    tls: Option<tls::Served>,
    /// How many connections the process may have.
    connections: Option<usize>,
    shared: Arc<Shared>,
    api: Api,
    shards: Handle,
}

impl Reloader {
    /// For a server that runs with this.
    pub(crate) fn new(
        read: Read,
        Loaded { config, tls, .. }: Loaded,
        connections: Option<usize>,
        (shared, api): (Arc<Shared>, Api),
        shards: Handle,
    ) -> Self {
        Self { read: Arc::new(read), config, tls, connections, shared, api, shards }
    }

    /// Reads the configuration and carries it out. One line of the log for each change, or one that says why there is none.
    pub(crate) async fn reload(&mut self) {
        if let Err(error) = self.try_reload().await {
            tracing::error!("not reloaded: {error:#}; the server goes on as it was");
        }
    }

    async fn try_reload(&mut self) -> anyhow::Result<()> {
        let (read, old) = (Arc::clone(&self.read), self.shared.verifier());
        // It reads files, and may wait for an issuer.
        let loading = tokio::task::spawn_blocking(move || {
            let Loaded { config, verifier, tls } = read()?;
            config.check_serving()?;
            let verifier = verifier.with_jwks(&config.auth, Some(&old))?;
            anyhow::Ok(Loaded { config, verifier, tls })
        });
        let Loaded { config: new, verifier, tls } = loading.await.context("reading the configuration")??;
        let mut config = self.config.clone();
        let changes = config.take_changes(&new);
        // All that can fail comes before anything changes.
        self.shards.reconfigure(&engine::config(&config))?;
        let mut lines = changes.len();
        for change in changes {
            match change {
                Change::Made(line) => tracing::info!("{line}"),
                Change::NeedsRestart(key) => tracing::warn!("{key}: needs a restart"),
            }
        }
        if verifier.has_other_files(&self.shared.verifier()) {
            tracing::info!("auth.jwt_public_key: the keys in its files changed");
            lines += 1;
        }
        if let (Some(old), Some(new)) = (&self.tls, tls) {
            if !new.has_same_certificate(old) {
                tracing::info!("tls.cert: the certificate in its file changed");
                lines += 1;
            }
            self.shards.set_tls(Arc::clone(&new.config));
            self.tls = Some(new);
        }
        logging::set_level(config.log.level);
        self.shared.renew_verifier(verifier);
        self.api.renew(&config);
        logging::warn(&config.warnings);
        self.config = config.clone();
        let renewed = Renewed(Arc::new(engine::effective(config, self.connections)));
        self.shared.renew(&renewed.0);
        // A shard that has ended needs no configuration.
        let _ = self.shards.send_all(|_| ShardMessage::new(renewed.clone())).await;
        // Whoever reads that it is reloaded is to find it so: a shard that answers has dealt with what came before.
        for shard in 0..self.shards.shards() {
            let _ = self.shards.ask(shard, |reply| ShardMessage::new(AliveCheck(reply))).await;
        }
        tracing::info!(changes = lines, "reloaded");
        Ok(())
    }
}
