//! What the engine and Socket.IO are told of the configuration.

use std::time::Duration;

use engineio::{
    OpenPacket, SettingNames,
    http::{Cors, CorsOrigins, Hosts, Origins},
};
use socketio::recovery::Recovery;

use crate::config::{Config, Limits};

/// The largest message of a client whose token was not accepted yet, unless tokens may be longer.
const MAX_UNACCEPTED: usize = 64 * 1024;

/// What a CONNECT has apart from its token.
const CONNECT: usize = 1024;

/// How many connections without a valid token one address may have, where the process may have so many connections: a quarter of
/// all places at most, so that one address does not take those of everybody.
fn unproven(limits: &Limits, places: Option<usize>) -> usize {
    let quarter = places.map_or(usize::MAX, |places| (places / 4).max(1));
    match limits.unproven_per_ip {
        // Switched off.
        0 => 0,
        limit => limit.min(quarter),
    }
}

/// The configuration with what the machine allows of it: so many connections.
pub(crate) fn effective(mut config: Config, connections: Option<usize>) -> Config {
    config.places =
        [Some(config.limits.connections).filter(|count| *count > 0), connections].into_iter().flatten().min();
    config.limits.unproven_per_ip = unproven(&config.limits, config.places);
    config
}

/// The settings of the engine.
pub(crate) fn config(config: &Config) -> engineio::Config {
    let mut engine = engineio::Config::default();
    engine.path = "/socket.io/".to_owned();
    engine.ping_interval = config.engine.ping_interval;
    engine.ping_timeout = config.engine.ping_timeout;
    engine.upgrade_timeout = config.engine.upgrade_timeout;
    engine.max_payload = config.engine.max_payload;
    engine.allow_eio3 = config.engine.allow_eio3;
    engine.max_unaccepted = MAX_UNACCEPTED.max(config.auth.max_token_bytes.saturating_add(CONNECT));
    engine.outbound_soft = config.limits.outbound_soft;
    engine.outbound_hard = config.limits.outbound_hard;
    engine.hosts = match config.http.hosts.as_slice() {
        [] if config.development => Hosts::Listed { hosts: Vec::new(), loopback: true },
        [] => Hosts::Any,
        hosts => Hosts::Listed { hosts: hosts.to_vec(), loopback: config.development },
    };
    engine.setting_names =
        SettingNames { origins: "http.allow_origin", hosts: "http.hosts", allow_eio3: "engine.allow_eio3" };
    engine.trusted_proxies = config.http.trusted_proxies.iter().flat_map(|proxy| proxy.networks()).collect();
    engine.proxy_protocol = config.http.proxy_protocol;
    engine.keep_alive = config.http.keep_alive;
    engine.max_sessions = config.limits.connections;
    engine.max_pending = config.limits.pending_per_ip;
    engine.open_packet = OpenPacket::WithAnswer;
    if config.http.allow_origin.iter().any(|origin| origin == "*") {
        engine.origins = Origins::Any;
        engine.cors = Some(Cors::default());
    } else {
        engine.origins =
            Origins::Listed { origins: config.http.allow_origin.clone(), own: true, loopback: config.development };
        // Who may talk to the server may read its answers.
        let mut cors = Cors::with_origins(CorsOrigins::Reflect);
        cors.credentials = config.http.cors_credentials;
        engine.cors = Some(cors);
    }
    engine
}

/// The settings of Socket.IO.
pub(crate) fn socketio_config(config: &Config) -> socketio::Config {
    let mut socketio = socketio::Config::default();
    socketio.connect_timeout = match config.limits.connect_timeout {
        // Switched off: longer than any process lives, and far from overflowing the clock.
        Duration::ZERO => Duration::from_secs(100 * 365 * 24 * 3600),
        timeout => timeout,
    };
    socketio.packet.attachment_bytes = config.engine.max_payload;
    socketio.recovery = (!config.recovery.max_disconnection.is_zero()).then(Recovery::by_application);
    socketio
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_the_places_of_all() {
        let unproven = |unproven_per_ip, connections, descriptors| {
            let limits = Limits { unproven_per_ip, connections, ..Limits::default() };
            effective(Config { limits, ..Config::default() }, descriptors).limits.unproven_per_ip
        };
        assert_eq!(unproven(100, 0, None), 100);
        assert_eq!(unproven(100, 0, Some(200)), 50);
        assert_eq!(unproven(100, 40, Some(200)), 10);
        assert_eq!(unproven(100, 2, None), 1);
        assert_eq!(unproven(0, 2, Some(200)), 0);
    }
}
