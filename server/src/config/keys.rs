//! The one table of all keys: name and slot in [`Config`]. Reading, printing and the names of variables follow from it.

use super::settings::Config;
use super::value::Setting;

/// One key of the configuration.
pub(super) struct Key {
    /// As written in the file and after `--set`.
    pub(super) name: &'static str,
    /// Where its value is in the configuration.
    pub(super) slot: fn(&mut Config) -> &mut dyn Setting,
}

impl Key {
    /// The variable that sets it: `CHAT_LIMITS__MESSAGE_RATE` for `limits.message_rate`.
    pub(super) fn variable(&self) -> String {
        format!("CHAT_{}", self.name.to_ascii_uppercase().replace('.', "__"))
    }

    /// Whether a part of its value may be one that is never printed.
    pub(super) fn is_url(&self) -> bool {
        URLS.contains(&self.name)
    }

    /// Whether its value is never printed.
    pub(super) fn is_secret(&self) -> bool {
        SECRETS.contains(&self.name)
    }
}

/// The keys whose values may hold a secret.
const URLS: [&str; 2] = ["auth.jwks", "webhooks.url"];

/// The keys whose values are never printed.
const SECRETS: [&str; 5] =
    ["auth.jwt_secret", "auth.jwt_previous_secret", "http.api_key", "webhooks.secret", "webhooks.previous_secret"];

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Why `name` is refused, with the key that was probably meant.
pub(super) fn unknown(name: &str) -> String {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().replace(['_', '-'], "");
    match KEYS.iter().find(|key| last(key.name) == last(name)) {
        Some(key) => format!("unknown key; did you mean {}?", key.name),
        None => "unknown key".to_owned(),
    }
}

const fn key(name: &'static str, slot: fn(&mut Config) -> &mut dyn Setting) -> Key {
    Key { name, slot }
}

/// In the order in which `chat-server config` prints them.
pub(super) static KEYS: &[Key] = &[
    key("listen", |c| &mut c.listen),
    key("data_dir", |c| &mut c.data_dir),
    key("workers", |c| &mut c.workers),
    key("tls.cert", |c| &mut c.tls.cert),
    key("tls.key", |c| &mut c.tls.key),
    key("limits.message_length", |c| &mut c.limits.message_length),
    key("limits.context_bytes", |c| &mut c.limits.context_bytes),
    key("limits.context_depth", |c| &mut c.limits.context_depth),
    key("limits.attachments", |c| &mut c.limits.attachments),
    key("limits.attachment_bytes", |c| &mut c.limits.attachment_bytes),
    key("limits.message_rate", |c| &mut c.limits.message_rate),
    key("limits.message_burst", |c| &mut c.limits.message_burst),
    key("limits.message_bytes_rate", |c| &mut c.limits.message_bytes_rate),
    key("limits.typing_rate", |c| &mut c.limits.typing_rate),
    key("limits.question_rate", |c| &mut c.limits.question_rate),
    key("limits.connect_user_rate", |c| &mut c.limits.connect_user_rate),
    key("limits.connect_rate", |c| &mut c.limits.connect_rate),
    key("limits.sockets_per_ip", |c| &mut c.limits.sockets_per_ip),
    key("limits.unproven_per_ip", |c| &mut c.limits.unproven_per_ip),
    key("limits.pending_per_ip", |c| &mut c.limits.pending_per_ip),
    key("limits.sockets_per_user", |c| &mut c.limits.sockets_per_user),
    key("limits.sockets_per_user_policy", |c| &mut c.limits.sockets_per_user_policy),
    key("limits.rooms_per_socket", |c| &mut c.limits.rooms_per_socket),
    key("limits.connect_timeout", |c| &mut c.limits.connect_timeout),
    key("limits.idle_timeout", |c| &mut c.limits.idle_timeout),
    key("limits.strikes", |c| &mut c.limits.strikes),
    key("limits.outbound_soft", |c| &mut c.limits.outbound_soft),
    key("limits.outbound_hard", |c| &mut c.limits.outbound_hard),
    key("limits.connections", |c| &mut c.limits.connections),
    key("rooms.default_access", |c| &mut c.rooms.default_access),
    key("rooms.lobby", |c| &mut c.rooms.lobby),
    key("presence.grace", |c| &mut c.presence.grace),
    key("presence.snapshot", |c| &mut c.presence.snapshot),
    key("presence.max_room", |c| &mut c.presence.max_room),
    key("recovery.max_disconnection", |c| &mut c.recovery.max_disconnection),
    key("typing.timeout", |c| &mut c.typing.timeout),
    key("auth.jwt_secret", |c| &mut c.auth.jwt_secret),
    key("auth.jwt_secret_file", |c| &mut c.auth.jwt_secret_file),
    key("auth.jwt_previous_secret", |c| &mut c.auth.jwt_previous_secret),
    key("auth.jwt_previous_secret_file", |c| &mut c.auth.jwt_previous_secret_file),
    key("auth.allow_short_secret", |c| &mut c.auth.allow_short_secret),
    key("auth.jwt_public_key", |c| &mut c.auth.jwt_public_key),
    key("auth.jwks", |c| &mut c.auth.jwks),
    key("auth.jwks_refresh", |c| &mut c.auth.jwks_refresh),
    key("auth.algorithms", |c| &mut c.auth.algorithms),
    key("auth.issuer", |c| &mut c.auth.issuer),
    key("auth.audience", |c| &mut c.auth.audience),
    key("auth.leeway", |c| &mut c.auth.leeway),
    key("auth.require_exp", |c| &mut c.auth.require_exp),
    key("auth.max_token_bytes", |c| &mut c.auth.max_token_bytes),
    key("store.kind", |c| &mut c.store.kind),
    key("store.durability", |c| &mut c.store.durability),
    key("store.max_age", |c| &mut c.store.max_age),
    key("store.max_count", |c| &mut c.store.max_count),
    key("store.page_cache", |c| &mut c.store.page_cache),
    key("engine.ping_interval", |c| &mut c.engine.ping_interval),
    key("engine.ping_timeout", |c| &mut c.engine.ping_timeout),
    key("engine.upgrade_timeout", |c| &mut c.engine.upgrade_timeout),
    key("engine.max_payload", |c| &mut c.engine.max_payload),
    key("engine.allow_eio3", |c| &mut c.engine.allow_eio3),
    key("http.allow_origin", |c| &mut c.http.allow_origin),
    key("http.cors_credentials", |c| &mut c.http.cors_credentials),
    key("http.hosts", |c| &mut c.http.hosts),
    key("http.api_key", |c| &mut c.http.api_key),
    key("http.api_key_file", |c| &mut c.http.api_key_file),
    key("http.trusted_proxies", |c| &mut c.http.trusted_proxies),
    key("http.proxy_protocol", |c| &mut c.http.proxy_protocol),
    key("http.keep_alive", |c| &mut c.http.keep_alive),
    key("http.admin_listen", |c| &mut c.http.admin_listen),
    key("http.admin_hosts", |c| &mut c.http.admin_hosts),
    key("webhooks.url", |c| &mut c.webhooks.url),
    key("webhooks.secret", |c| &mut c.webhooks.secret),
    key("webhooks.secret_file", |c| &mut c.webhooks.secret_file),
    key("webhooks.previous_secret", |c| &mut c.webhooks.previous_secret),
    key("webhooks.previous_secret_file", |c| &mut c.webhooks.previous_secret_file),
    key("webhooks.events", |c| &mut c.webhooks.events),
    key("webhooks.queue", |c| &mut c.webhooks.queue),
    key("webhooks.timeout", |c| &mut c.webhooks.timeout),
    key("webhooks.give_up", |c| &mut c.webhooks.give_up),
    key("shutdown.timeout", |c| &mut c.shutdown.timeout),
    key("shutdown.drain", |c| &mut c.shutdown.drain),
    key("log.format", |c| &mut c.log.format),
    key("log.level", |c| &mut c.log.level),
];
