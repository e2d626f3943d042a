//! What no single value shows: values that do not fit together.

use std::{net::SocketAddr, time::Duration};

use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::error::ConfigError;
use super::secret::Secret;
use super::settings::{Auth, Config, Durability, Http, Limits, Webhooks};

/// The most attachments of one packet, as in the official parsers.
const MAX_ATTACHMENTS: usize = 10;

/// The most workers: more than any machine has cores, and far fewer than the two bytes of a sid can name.
const MAX_WORKERS: usize = 1024;

/// A key that does not fit.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) key: &'static str,
    pub(super) reason: String,
}

/// Judges the whole configuration.
pub(super) fn whole(config: &Config) -> Result<(), Wrong> {
    not_zero(config)?;
    if !(1..=MAX_WORKERS).contains(&config.workers) {
        return Err(Wrong { key: "workers", reason: format!("must be 1 to {MAX_WORKERS}") });
    }
    tls(config)?;
    secrets(config)?;
    algorithms(config)?;
    api_keys(config)?;
    webhooks(&config.webhooks)?;
    if config.http.admin_listen == Some(config.listen) && config.listen.port() != 0 {
        return Err(Wrong { key: "http.admin_listen", reason: "must differ from listen".to_owned() });
    }
    if config.limits.attachments > MAX_ATTACHMENTS {
        let reason = format!("must be at most {MAX_ATTACHMENTS}: official clients decode no more");
        return Err(Wrong { key: "limits.attachments", reason });
    }
    if config.limits.outbound_hard < config.limits.outbound_soft {
        let reason = format!(
            "{} is less than limits.outbound_soft, {}",
            config.limits.outbound_hard, config.limits.outbound_soft
        );
        return Err(Wrong { key: "limits.outbound_hard", reason });
    }
    origins(config)
}

/// Judges what is promised of a store in memory.
pub(super) fn memory(config: &Config) -> Result<(), Wrong> {
    if config.store.durability == Durability::None {
        return Ok(());
    }
    let reason = "a store in memory keeps nothing; use \"none\", or store.kind = \"sqlite\"";
    Err(Wrong { key: "store.durability", reason: reason.to_owned() })
}

fn origins(config: &Config) -> Result<(), Wrong> {
    let http = &config.http;
    if let Some(origin) = http.allow_origin.iter().find(|origin| !is_origin(origin)) {
        let reason = format!(
            "{origin:?} is no origin; write scheme, host and port without a path, such as \"https://chat.example\", or \"null\", \
             \"file://\" or \"*\""
        );
        return Err(Wrong { key: "http.allow_origin", reason });
    }
    // Browsers refuse `*` together with credentials; to name whoever asks instead would lend every site the user's cookies.
    if http.cors_credentials && http.allow_origin.iter().any(|origin| origin == "*") {
        let reason =
            "cannot go with \"*\" in http.allow_origin; list the origins of your pages there, or set this to false";
        return Err(Wrong { key: "http.cors_credentials", reason: reason.to_owned() });
    }
    for (key, hosts) in [("http.hosts", &http.hosts), ("http.admin_hosts", &http.admin_hosts)] {
        if let Some(host) = hosts.iter().find(|host| !is_host(host)) {
            let reason =
                format!("{host:?} is no host; write a name or an address without a port, such as \"chat.example\"");
            return Err(Wrong { key, reason });
        }
    }
    Ok(())
}

/// Whether this is a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => engineio::http::host::is_valid(text.as_bytes()) && !text.contains(':'),
    }
}

fn not_zero(config: &Config) -> Result<(), Wrong> {
    let sizes = [
        ("limits.outbound_soft", config.limits.outbound_soft),
        ("limits.outbound_hard", config.limits.outbound_hard),
        ("store.max_count", config.store.max_count),
        ("store.page_cache", config.store.page_cache),
        ("engine.max_payload", config.engine.max_payload),
        ("auth.max_token_bytes", config.auth.max_token_bytes),
        ("webhooks.queue", config.webhooks.queue),
    ];
    if let Some((key, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
        return Err(Wrong { key, reason: "0 is not allowed: nothing may grow without bound".to_owned() });
    }
    let durations = [
        ("typing.timeout", config.typing.timeout),
        ("engine.ping_interval", config.engine.ping_interval),
        ("engine.ping_timeout", config.engine.ping_timeout),
        ("engine.upgrade_timeout", config.engine.upgrade_timeout),
        ("http.keep_alive", config.http.keep_alive),
        ("auth.jwks_refresh", config.auth.jwks_refresh),
        ("webhooks.timeout", config.webhooks.timeout),
    ];
    // The handshake carries milliseconds: what is shorter would appear there as 0.
    if let Some((key, _)) = durations.into_iter().find(|(_, duration)| *duration < Duration::from_millis(1)) {
        return Err(Wrong { key, reason: "must be at least 1ms".to_owned() });
    }
    Ok(())
}

fn secrets(config: &Config) -> Result<(), Wrong> {
    let auth = &config.auth;
    if auth.jwt_secret.is_none() && auth.jwt_previous_secret.is_some() {
        return Err(Wrong { key: "auth.jwt_previous_secret", reason: "needs auth.jwt_secret beside it".to_owned() });
    }
    let keys = [("auth.jwt_secret", &auth.jwt_secret), ("auth.jwt_previous_secret", &auth.jwt_previous_secret)];
    for (key, secret) in keys {
        // A public key is no secret: whoever reads it could sign tokens with it (RFC 8725 section 2.1).
        if secret.as_ref().is_some_and(|secret| secret.expose().trim_ascii_start().starts_with(b"-----BEGIN ")) {
            return Err(Wrong { key, reason: "is a PEM key, not a secret".to_owned() });
        }
    }
    Ok(())
}

fn tls(config: &Config) -> Result<(), Wrong> {
    let (cert, key) = (config.tls.cert.is_some(), config.tls.key.is_some());
    match (cert, key) {
        (true, false) => Err(Wrong { key: "tls.cert", reason: "needs tls.key beside it".to_owned() }),
        (false, true) => Err(Wrong { key: "tls.key", reason: "needs tls.cert beside it".to_owned() }),
        _ => Ok(()),
    }
}

/// Judges the pinned algorithms beside the keys.
fn algorithms(config: &Config) -> Result<(), Wrong> {
    let auth = &config.auth;
    if auth.algorithms.is_empty() {
        return Ok(());
    }
    let is_hmac = |algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
    let wrong = |key| {
        let reason = format!("names no algorithm for {key}, which could never be used then; leave it out, or add one");
        Err(Wrong { key: "auth.algorithms", reason })
    };
    // In development mode there is a secret as well.
    if (auth.jwt_secret.is_some() || !auth.has_key()) && !auth.algorithms.iter().any(is_hmac) {
        return wrong("auth.jwt_secret");
    }
    if auth.algorithms.iter().all(is_hmac) {
        if !auth.jwt_public_key.is_empty() {
            return wrong("auth.jwt_public_key");
        }
        if auth.jwks.is_some() {
            return wrong("auth.jwks");
        }
    }
    Ok(())
}

fn is_origin(text: &str) -> bool {
    // What pages send that have no server of their own: opened from a file, in a frame without rights, in a device.
    if ["*", "null", "file://"].contains(&text) {
        return true;
    }
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let host_fits = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !"/?#@*\"\\".contains(c));
    scheme_fits && host_fits
}

/// RFC 7518 section 3.2: a secret as long as the hash at least, which is 32 bytes for HS256.
const SECRET_BYTES: usize = 32;

fn is_short(secret: &Secret) -> bool {
    secret.expose().len() < SECRET_BYTES
}

/// The first secret of tokens that is so short that it may be guessed.
fn short_token_secret(auth: &Auth) -> Option<&'static str> {
    let keys = [("auth.jwt_secret", &auth.jwt_secret), ("auth.jwt_previous_secret", &auth.jwt_previous_secret)];
    keys.into_iter().find(|(_, secret)| secret.as_ref().is_some_and(is_short)).map(|(key, _)| key)
}

/// Likewise, of the API.
fn short_api_key(http: &Http) -> Option<&'static str> {
    http.api_key.iter().any(|key| is_short(&key.secret)).then_some("http.api_key")
}

fn api_keys(config: &Config) -> Result<(), Wrong> {
    let keys = &config.http.api_key;
    let twice = keys.iter().enumerate().find(|(at, key)| keys[..*at].iter().any(|other| other.name == key.name));
    match twice {
        Some((_, key)) => {
            let reason = format!("two keys are named {:?}; the log says by its name who did what", key.name);
            Err(Wrong { key: "http.api_key", reason })
        }
        None => Ok(()),
    }
}

fn webhooks(config: &Webhooks) -> Result<(), Wrong> {
    if config.secret.is_none() && config.previous_secret.is_some() {
        return Err(Wrong { key: "webhooks.previous_secret", reason: "needs webhooks.secret beside it".to_owned() });
    }
    for (key, secret) in [("webhooks.secret", &config.secret), ("webhooks.previous_secret", &config.previous_secret)] {
        if secret.as_ref().is_some_and(|secret| secret.of_webhooks().is_none()) {
            return Err(Wrong { key, reason: "begins with whsec_, but what follows is no base64".to_owned() });
        }
    }
    let Some(url) = &config.url else { return Ok(()) };
    let wrong = |reason: &str| Wrong { key: "webhooks.url", reason: reason.to_owned() };
    let parsed: http::Uri = url.expose().parse().map_err(|_| wrong("is no URL"))?;
    let authority = parsed.authority().filter(|_| matches!(parsed.scheme_str(), Some("http" | "https")));
    let authority = authority.ok_or_else(|| wrong("must be an http:// or https:// URL"))?;
    // The configuration is printed.
    if authority.as_str().contains('@') {
        return Err(wrong("must not hold a password; the receiver knows this server by the signature"));
    }
    if config.secret.is_none() {
        let reason = "not set, and webhooks.url is: what is told is signed with it".to_owned();
        return Err(Wrong { key: "webhooks.secret", reason });
    }
    Ok(())
}

/// What holds but deserves a warning.
fn doubts(config: &Config) -> Vec<String> {
    let mut doubts = Vec::new();
    if let Some(key) = short_token_secret(&config.auth).or_else(|| short_api_key(&config.http)) {
        doubts.push(format!("{key} is shorter than {SECRET_BYTES} bytes and may be guessed"));
    }
    let webhooks = &config.webhooks;
    if webhooks.secret.as_ref().is_some_and(is_short) {
        doubts.push(format!("webhooks.secret is shorter than {SECRET_BYTES} bytes and may be guessed"));
    }
    if config.auth.max_token_bytes >= config.engine.max_payload {
        let doubt =
            "auth.max_token_bytes is not below engine.max_payload, which ends a connection that sends so long a token";
        doubts.push(doubt.to_owned());
    }
    if config.http.cors_credentials && config.http.allow_origin.iter().any(|origin| origin == "null") {
        let doubt = "http.allow_origin lists null, which a page of any site can be: with http.cors_credentials each may use the \
                     cookies of its visitors";
        doubts.push(doubt.to_owned());
    }
    if config.auth.jwks.as_ref().is_some_and(|jwks| jwks.expose().starts_with("http://")) {
        let doubt = "auth.jwks is fetched without TLS: whoever is between this server and the issuer can make tokens of any user";
        doubts.push(doubt.to_owned());
    }
    doubts
}

/// Limits that were set, and do nothing, or less than it seems, because another one is 0: which ones, and in which words.
pub(super) fn idle_limits(limits: &Limits) -> Vec<(&'static str, &'static str)> {
    let mut idle = Vec::new();
    if limits.message_bytes_rate > 0.0 && limits.message_rate == 0.0 {
        idle.push(("limits.message_bytes_rate", "has no effect, because limits.message_rate is 0"));
    }
    if limits.message_rate > 0.0 && limits.message_burst == 0 {
        idle.push((
            "limits.message_rate",
            "has no effect on the number of messages, because limits.message_burst is 0",
        ));
    }
    if limits.connect_user_rate > 0.0 && limits.sockets_per_user == 0 {
        idle.push((
            "limits.connect_user_rate",
            "counts within each connection only, because limits.sockets_per_user is 0",
        ));
    }
    idle
}

impl Config {
    /// What deserves a warning, one line each, to be logged once nothing can refuse to start any more, so that a refusal is one
    /// line.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.iter().cloned().chain(doubts(self)).collect()
    }

    /// Refuses what may not be served: tokens or keys of the API that anybody can make, on an address that others can reach.
    ///
    /// # Errors
    /// `listen` is no loopback address, and no key is configured, or a secret that may be guessed; or this is so of the address of
    /// the API, which may be `http.admin_listen`, and a key of the API.
    pub(crate) fn check_serving(&self) -> Result<(), ConfigError> {
        let is_open = |address: SocketAddr| !address.ip().to_canonical().is_loopback();
        if self.development && is_open(self.listen) {
            let reason = format!(
                "not set: without a key the server runs in development mode, only on a loopback address, not on {}",
                self.listen
            );
            return Err(ConfigError::new("auth.jwt_secret", reason));
        }
        let api_address = self.http.admin_listen.unwrap_or(self.listen);
        let guessed = [
            (short_token_secret(&self.auth), self.listen, "act as any user"),
            (short_api_key(&self.http), api_address, "use the API"),
        ];
        for (key, address, can) in guessed {
            if let Some(key) = key.filter(|_| is_open(address) && !self.auth.allow_short_secret) {
                let reason = format!(
                    "shorter than {SECRET_BYTES} bytes: whoever guesses it can {can}; take a longer one to listen on {address}, \
                     or set auth.allow_short_secret = true"
                );
                return Err(ConfigError::new(key, reason));
            }
        }
        Ok(())
    }
}
