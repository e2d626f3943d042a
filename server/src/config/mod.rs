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
//! | `value` | reads and prints one value |
//! | `secret`, `url` | bytes that are never printed, and their file; addresses, of which parts are never printed |
//! | `proxies`, `api_key` | trusted proxies; keys of the HTTP API |
//! | `check` | judges values together |
//! | `changes` | what of another configuration a running server takes over |
//! | `descriptions` | what each key does, in words |
//! | `render` | prints the configuration as TOML, and the default configuration file |
//! | `error` | faults, as one line |

mod api_key;
mod changes;
mod check;
mod descriptions;
mod error;
mod keys;
mod proxies;
mod render;
mod secret;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod url;
mod value;

use std::path::Path;

use check::Wrong;

pub(crate) use api_key::ApiKey;
pub(crate) use changes::Change;
pub(crate) use error::{ConfigError, Source};
pub(crate) use render::default_file;
pub(crate) use secret::Secret;
pub(crate) use settings::{
    Auth, Config, Durability, Limits, Log, LogFormat, LogLevel, RoomAccess, Shutdown, SocketsPolicy, Store, StoreKind,
    Tls, WebhookEvent, Webhooks,
};
pub(crate) use sources::{Assignment, Environment};
pub(crate) use url::Url;

/// Gathers all sources and checks the result. `file` is the value of `--config`; `CHAT_CONFIG` stands in for it.
///
/// # Errors
/// The first thing wrong, with its key, source and reason.
pub(crate) fn load(
    file: Option<&Path>,
    arguments: Vec<Assignment>,
    environment: Environment,
) -> Result<Config, ConfigError> {
    let mut gathered = sources::gather(file, arguments, environment)?;
    let mut config = Config { warnings: std::mem::take(&mut gathered.warnings), ..Config::default() };
    for (key, given) in &mut gathered.values {
        let fail = |reason: String| ConfigError::at(key.name, &given.source, reason);
        // Nobody sees the line break that a file brought along, and every token would have a wrong signature.
        let from_variable = matches!(given.source, Source::Variable(_));
        if (from_variable || key.is_secret()) && given.raw.cut_line_break() {
            let warning =
                format!("{} ({}): the line break at its end is not taken for a part of it", key.name, given.source);
            config.warnings.push(warning);
        }
        (key.slot)(&mut config).set(&given.raw).map_err(fail)?;
    }
    let wrong = |Wrong { key, reason }| match gathered.source_of(key) {
        Some(source) => ConfigError::at(key, source, reason),
        None => ConfigError::new(key, reason),
    };
    read_secret_files(&mut config).map_err(wrong)?;
    if config.store.kind == StoreKind::Memory {
        if gathered.source_of("store.durability").is_none() {
            config.store.durability = Durability::None;
        }
        check::memory(&config).map_err(wrong)?;
    }
    check::whole(&config).map_err(wrong)?;
    // Of a default nobody expects anything.
    for (key, reason) in check::idle_limits(&config.limits) {
        if let Some(source) = gathered.source_of(key) {
            config.warnings.push(format!("{key} ({source}) {reason}"));
        }
    }
    config.development = !config.auth.has_key();
    Ok(config)
}

/// Secrets that stand in the command line.
pub(crate) struct Exposed<'a> {
    /// The values that are secret, or hold one.
    pub(crate) secrets: Vec<&'a str>,
    /// A warning for each.
    pub(crate) warnings: Vec<String>,
}

/// The secrets in the command line.
pub(crate) fn exposed(arguments: &[Assignment]) -> Exposed<'_> {
    let is_secret = |Assignment { key, text, .. }: &&Assignment| {
        keys::find(key).is_some_and(|key| key.is_secret() || (key.is_url() && Url::new(text.as_str()).hides()))
    };
    let warning = |Assignment { key, source, .. }: &Assignment| {
        format!(
            "{key} ({source}): every user of this machine can read a command line until it is hidden; better a file or a variable"
        )
    };
    let exposed = arguments.iter().filter(is_secret);
    let (secrets, warnings) = exposed.map(|given| (given.text.as_str(), warning(given))).unzip();
    Exposed { secrets, warnings }
}

/// Reads the secrets that are kept in files of their own.
fn read_secret_files(config: &mut Config) -> Result<(), Wrong> {
    let Auth { jwt_secret, jwt_secret_file, jwt_previous_secret, jwt_previous_secret_file, .. } = &mut config.auth;
    let Webhooks { secret, secret_file, previous_secret, previous_secret_file, .. } = &mut config.webhooks;
    for (key, instead_of, path, secret) in [
        ("auth.jwt_secret_file", "auth.jwt_secret", jwt_secret_file, jwt_secret),
        ("auth.jwt_previous_secret_file", "auth.jwt_previous_secret", jwt_previous_secret_file, jwt_previous_secret),
        ("webhooks.secret_file", "webhooks.secret", secret_file, secret),
        ("webhooks.previous_secret_file", "webhooks.previous_secret", previous_secret_file, previous_secret),
    ] {
        let Some(path) = path else { continue };
        if secret.is_some() {
            return Err(Wrong { key, reason: format!("given beside {instead_of}; one of them must go") });
        }
        let (read, warnings) = secret::read_file(path).map_err(|reason| Wrong { key, reason })?;
        *secret = Some(read);
        config.warnings.extend(warnings.into_iter().map(|warning| format!("{key}: {warning}")));
    }
    read_api_keys(config)
}

/// Adds the API keys that are kept in a file of their own, one a line.
fn read_api_keys(config: &mut Config) -> Result<(), Wrong> {
    let Some(path) = &config.http.api_key_file else { return Ok(()) };
    let wrong = |reason: String| Wrong { key: "http.api_key_file", reason };
    let (read, warnings) = secret::read_file(path).map_err(wrong)?;
    let text = std::str::from_utf8(read.expose()).map_err(|_| wrong("is no text".to_owned()))?;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        config.http.api_key.push(line.parse().map_err(wrong)?);
    }
    // Lines end as lines do.
    let warnings = warnings.into_iter().filter(|warning| *warning != secret::LINE_BREAK);
    config.warnings.extend(warnings.map(|warning| format!("http.api_key_file: {warning}")));
    Ok(())
}
