//! What differs between two configurations, and which of it a running server takes over.

use super::{
    error::ConfigError,
    keys::{KEYS, Key},
    settings::Config,
    value::Shown,
};

/// Sections and keys that a running server takes over.
const RELOADED: [&str; 12] = [
    "auth.",
    // And the file of more keys.
    "http.api_key",
    "http.allow_origin",
    "http.cors_credentials",
    "http.hosts",
    "http.admin_hosts",
    "http.trusted_proxies",
    "limits.",
    "log.level",
    "tls.",
    "webhooks.previous_secret",
    "webhooks.secret",
];

/// Keys of these sections that it does not.
const NOT_RELOADED: [&str; 1] = ["limits.connect_timeout"];

/// A key that has another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It counts from now on. In words for the log, which name no secret.
    Made(String),
    /// It counts after a restart; until then the old value does.
    NeedsRestart(&'static str),
}

impl Key {
    /// Whether a running server takes over another value.
    fn is_reloaded(&self) -> bool {
        RELOADED.iter().any(|start| self.name.starts_with(start)) && !NOT_RELOADED.contains(&self.name)
    }
}

impl Config {
    /// Refuses what would make of a running server another kind of server: one that takes tokens that anybody can make, or one
    /// that takes them no longer. A configuration file that is empty, or half written, asks for that.
    ///
    /// # Errors
    /// `new` has no key and this one has, or the other way round.
    pub(crate) fn check_development(&self, new: &Self) -> Result<(), ConfigError> {
        let reason = match (self.development, new.development) {
            (false, true) => "no key is set any more (nor auth.jwt_public_key, nor auth.jwks)",
            (true, false) => "a key is set now",
            _ => return Ok(()),
        };
        Err(ConfigError::new(
            "auth.jwt_secret",
            format!("{reason}; development mode begins and ends with a restart only"),
        ))
    }

    /// Takes over what a running server can of `new`, and says what has changed. Both are in development mode, or neither.
    pub(crate) fn take_changes(&mut self, new: &Self) -> Vec<Change> {
        let (mut new, mut changes) = (new.clone(), Vec::new());
        let turns_tls = self.tls.cert.is_some() != new.tls.cert.is_some();
        // A secret belongs to a receiver.
        let is_other_receiver = self.webhooks.url != new.webhooks.url;
        let waits = |name: &str| {
            (turns_tls && name.starts_with("tls.")) || (is_other_receiver && name.starts_with("webhooks."))
        };
        for key in KEYS {
            let slot = (key.slot)(self);
            let (before, other) = (slot.shown(), (key.slot)(&mut new));
            if slot.is_equal(other) {
                continue;
            }
            if !key.is_reloaded() || waits(key.name) {
                changes.push(Change::NeedsRestart(key.name));
                continue;
            }
            let after = other.shown();
            slot.take_from(other);
            changes.push(Change::Made(describe(key.name, &before, &after)));
        }
        self.warnings = new.warnings;
        changes
    }
}

fn describe(name: &str, before: &Shown, after: &Shown) -> String {
    let is_secret = [before, after].contains(&&Shown::Hidden);
    match (before, after) {
        (Shown::Unset, _) if is_secret => format!("{name}: set"),
        (_, Shown::Unset) if is_secret => format!("{name}: no longer set"),
        _ if is_secret => format!("{name}: changed"),
        (before @ Shown::Partly(_), after) if before == after => {
            format!("{name}: {after}, changed in a part that is hidden")
        }
        (before, after) => format!("{name}: {before} is now {after}"),
    }
}
