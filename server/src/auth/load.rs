//! The keys of a configuration.

use std::{fs, sync::Arc, time::Duration};

use anyhow::Context as _;

use super::{Verifier, claims, jwks::Jwks, jwks_source::JwksSource, key::Key, pem};
use crate::config::{Auth, ConfigError};

/// Bytes of the longest PEM file.
const MAX_PEM: u64 = 1024 * 1024;

/// How long a start waits for the keys of an issuer. Without them clients are told to come back, which is no harm.
const FIRST_FETCH: Duration = Duration::from_secs(2);

impl Verifier {
    /// Secrets and rules of the configuration. Without a secret in it every token is refused.
    pub(crate) fn new(auth: &Auth) -> Self {
        let secrets = [&auth.jwt_secret, &auth.jwt_previous_secret].into_iter().flatten();
        Self {
            keys: secrets.map(|secret| Key::secret(secret, &auth.algorithms)).collect(),
            jwks: None,
            pinned: auth.algorithms.clone(),
            max_bytes: auth.max_token_bytes,
            rules: claims::Rules {
                issuer: auth.issuer.clone(),
                audience: auth.audience.clone(),
                leeway: auth.leeway,
                require_exp: auth.require_exp,
            },
        }
    }

    /// Secrets, rules and keys in PEM files of the configuration: all but what an issuer publishes.
    ///
    /// # Errors
    /// A file cannot be read, or a key in it cannot be used.
    pub(crate) fn load(auth: &Auth) -> Result<Self, ConfigError> {
        let mut verifier = Self::new(auth);
        for path in &auth.jwt_public_key {
            let fail = |reason: String| ConfigError::new("auth.jwt_public_key", format!("{} {reason}", path.display()));
            let text = fs::metadata(path)
                .and_then(|file| {
                    if file.len() > MAX_PEM { Err(std::io::ErrorKind::FileTooLarge.into()) } else { fs::read(path) }
                })
                .map_err(|error| fail(format!("cannot be read: {error}")))?;
            for key in pem::keys(&text).map_err(fail)? {
                let key = key.pinned(&auth.algorithms);
                if key.algorithms().is_empty() {
                    return Err(fail("holds a key for which auth.algorithms names no algorithm".to_owned()));
                }
                verifier.keys.push(key);
            }
        }
        jwks_source(auth)?;
        Ok(verifier)
    }

    /// Whether the keys in PEM files are others.
    pub(crate) fn has_other_files(&self, old: &Self) -> bool {
        let files = |verifier: &Self| verifier.keys.iter().filter(|key| !key.is_secret()).cloned().collect::<Vec<_>>();
        let (own, old) = (files(self), files(old));
        own.len() != old.len() || !own.iter().zip(&old).all(|(own, old)| own.is_same(old))
    }

    /// The same, and the keys that the configuration's issuer publishes. They are kept fresh from now on. Those of `old`
    /// stay until then. Waits a little for the first ones.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn with_jwks(mut self, auth: &Auth, old: Option<&Self>) -> anyhow::Result<Self> {
        let Some(source) = jwks_source(auth)? else { return Ok(self) };
        let old = old.and_then(|old| old.jwks.as_ref());
        self.jwks = Some(match old {
            Some(jwks) if jwks.is_of(&source) => {
                jwks.renew(auth.jwks_refresh);
                Arc::clone(jwks)
            }
            old => {
                let jwks = Jwks::start(source, auth.jwks_refresh, old.map(|old| &**old)).context("auth.jwks")?;
                jwks.wait_for_first(FIRST_FETCH);
                Arc::new(jwks)
            }
        });
        Ok(self)
    }
}

fn jwks_source(auth: &Auth) -> Result<Option<JwksSource>, ConfigError> {
    let source = auth.jwks.as_ref().map(JwksSource::parse).transpose();
    source.map_err(|reason| ConfigError::new("auth.jwks", reason))
}
