//! SIGHUP: the configuration is read again, and what a running server can change of it counts from then on. A configuration that is
//! wrong changes nothing.

use std::sync::Arc;

use anyhow::Context as _;
use engineio::{ShardMessage, net::Handle};

use crate::{
    auth::Verifier,
    chat::{AliveCheck, Renewed, Shared},
    config::{Change, Config, ConfigError},
    engine,
    http::Api,
    logging,
    tls::{self, Tickets},
    webhooks::Webhooks,
};

/// A configuration, and what the files that it names hold.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) verifier: Verifier,
    pub(crate) tls: Option<tls::Served>,
}

/// Where the configuration is read again.
pub(crate) struct Source {
    /// Reads it as at the start, from its file, the variables and the command line.
    pub(crate) read: Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>,
    /// Those that certificates change under.
    pub(crate) tickets: Tickets,
}

impl Source {
    /// What a server that runs with `config` comes to by what there is now, and what changes with that.
    ///
    /// # Errors
    /// The configuration is wrong, or may not be served where this server listens. No file is made.
    fn load(&self, mut config: Config, old: &Verifier) -> anyhow::Result<(Loaded, Vec<Change>)> {
        let mut new = (self.read)()?;
        config.check_development(&new)?;
        if config.development {
            // It is no key of the configuration, and stays.
            new.auth.jwt_secret.clone_from(&config.auth.jwt_secret);
        }
        let changes = config.take_changes(&new);
        // What needs a restart counts as it is: the server still listens where it did.
        config.check_serving()?;
        let (verifier, tls) = (Verifier::load(&config.auth)?, tls::load(&new.tls, &self.tickets)?);
        let verifier = verifier.with_jwks(&config.auth, Some(old))?;
        Ok((Loaded { config, verifier, tls }, changes))
    }
}

/// Carries changes of the configuration to the shards.
pub(crate) struct Reloader {
    source: Arc<Source>,
    /// The configuration in use, as it was given.
    config: Config,
    tls: Option<tls::Served>,
    /// How many connections the process may have.
    connections: Option<usize>,
    shared: Arc<Shared>,
    api: Api,
    webhooks: Webhooks,
    shards: Handle,
}

impl Reloader {
    /// For a server that runs with this.
    pub(crate) fn new(
        source: Source,
        Loaded { config, tls, .. }: Loaded,
        connections: Option<usize>,
        (shared, api, webhooks): (Arc<Shared>, Api, Webhooks),
        shards: Handle,
    ) -> Self {
        Self { source: Arc::new(source), config, tls, connections, shared, api, webhooks, shards }
    }

    /// Reads the configuration and carries it out. One line of the log for each change, or one that says why there is none.
    pub(crate) async fn reload(&mut self) {
        if let Err(error) = self.try_reload().await {
            tracing::error!("not reloaded: {error:#}; the server goes on as it was");
        }
    }

    async fn try_reload(&mut self) -> anyhow::Result<()> {
        let (source, config, old) = (Arc::clone(&self.source), self.config.clone(), self.shared.verifier());
        // It reads files, and may wait for an issuer.
        let loading = tokio::task::spawn_blocking(move || source.load(config, &old));
        let (Loaded { config, verifier, tls }, changes) = loading.await.context("reading the configuration")??;
        // All that can fail comes before anything changes.
        self.shards.reconfigure(&engine::config(&config))?;
        // Of the two levels the one that writes more: a change of the level is to be found in the log too.
        let level = config.log.level;
        logging::set_level(level.max(self.config.log.level));
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
        self.shared.renew_verifier(verifier);
        self.api.renew(&config);
        self.webhooks.renew_secrets(&config.webhooks);
        logging::warn(&config.warnings());
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
        logging::set_level(level);
        Ok(())
    }
}
