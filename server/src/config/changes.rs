//! What differs between two configurations, and which of it a running server takes over.

use super::{
    keys::{KEYS, Key},
    settings::Config,
    value::Shown,
};

/// Sections and keys that a running server takes over.
const RELOADED: [&str; 10] = [
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
    /// Takes over what a running server can of `new`, and says what has changed.
    pub(crate) fn take_changes(&mut self, new: &Self) -> Vec<Change> {
        let (mut new, mut changes) = (new.clone(), Vec::new());
        let turns_tls = self.tls.cert.is_some() != new.tls.cert.is_some();
        for key in KEYS {
            let slot = (key.slot)(self);
            let (before, other) = (slot.shown(), (key.slot)(&mut new));
            if slot.is_equal(other) {
                continue;
            }
            if !key.is_reloaded() || (turns_tls && key.name.starts_with("tls.")) {
                changes.push(Change::NeedsRestart(key.name));
                continue;
            }
            let after = other.shown();
            slot.take_from(other);
            changes.push(Change::Made(describe(key.name, &before, &after)));
        }
        self.development = new.development;
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
        (before, after) => format!("{name}: {before} is now {after}"),
    }
}
