//! The configuration: every key with its default, typed, checked before the first socket opens.
//!
//! A key comes from a TOML file, from a `CHAT_` variable, from `--set` or from a flag. What the keys do is left to the modules
//! that read them.
//!
//! | file | what it does |
//! |---|---|
//! | `settings` | the typed settings and their defaults |
//! | `keys` | the one table of all keys |
//! | `sources` | gathers the values, and decides which one wins |
//! | `value`, `secret` | reads and prints one value; a text that is never printed |
//! | `proxies` | trusted proxies |
//! | `check` | judges values together |
//! | `render` | prints the configuration as TOML |
//! | `error` | faults, as one line |

mod check;
mod error;
mod keys;
mod proxies;
mod render;
mod secret;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod value;

use std::path::Path;

pub(crate) use error::{ConfigError, Source};
pub(crate) use secret::Secret;
pub(crate) use settings::{Auth, Config, Limits, Log, LogFormat, LogLevel, RoomAccess, Shutdown};
pub(crate) use sources::{Assignment, Environment};

/// Gathers all sources and checks the result. `file` is the value of `--config`; `CHAT_CONFIG` stands in for it.
///
/// # Errors
/// The first thing wrong, with its key, source and reason.
pub(crate) fn load(
    file: Option<&Path>,
    arguments: Vec<Assignment>,
    environment: Environment,
) -> Result<Config, ConfigError> {
    let gathered = sources::gather(file, arguments, environment)?;
    let mut config = Config::default();
    for (key, given) in &gathered.values {
        let fail = |reason: String| ConfigError::at(key.name, &given.source, reason);
        check::available(key.name, &given.raw).map_err(fail)?;
        (key.slot)(&mut config).set(&given.raw).map_err(fail)?;
    }
    check::whole(&config).map_err(|wrong| match gathered.source_of(wrong.key) {
        Some(source) => ConfigError::at(wrong.key, source, wrong.reason),
        None => ConfigError::new(wrong.key, wrong.reason),
    })?;
    config.development = config.auth.jwt_secret.is_none();
    config.warnings = gathered.warnings;
    config.warnings.extend(check::doubts(&config));
    Ok(config)
}
