//! What each key does, for the default configuration file. A test holds this list against the table of keys.

/// What the default configuration file says of a key.
#[derive(Debug)]
pub(super) struct Description {
    /// The key.
    pub(super) name: &'static str,
    /// What it does, one line each.
    pub(super) lines: &'static [&'static str],
    /// The form of its value, with the unit.
    pub(super) form: &'static str,
    /// A value for keys that are not set by default.
    pub(super) example: Option<&'static str>,
}

/// What there is to say of a section as a whole.
pub(super) fn section(name: &str) -> Option<&'static str> {
    Some(match name {
        "limits" => "What a peer may ask of the server. 0 switches a limit off, but not the two outbound_ ones.",
        "rooms" => "Who may enter which room.",
        "presence" => "userStatus: who is online.",
        "recovery" => "Clients that come back after their connection broke.",
        "typing" => "userTyping.",
        "auth" => "How tokens are checked. Without any key the server runs in development mode, on loopback only.",
        "store" => "Where the history is kept, and how much of it. See docs/store.md.",
        "engine" => "Engine.IO.",
        "http" => "Origins, proxies, and what is served beside the socket. See docs/proxies.md.",
        "tls" => "TLS of the server itself: both keys or neither.",
        "webhooks" => "An application that is told by HTTP what happens.",
        "shutdown" => "The end of the process.",
        "log" => "Logs, which go to standard error.",
        _ => return None,
    })
}

/// The description of this key.
pub(super) fn find(name: &str) -> Option<&'static Description> {
    DESCRIPTIONS.iter().find(|description| description.name == name)
}

const ADDRESS: &str = "address and port";
const BOOL: &str = "true or false";
const BYTES: &str = "bytes";
const CHARACTERS: &str = "characters";
const COUNT: &str = "a number";
const DURATION: &str = "a duration such as \"250ms\", \"5s\" or \"30m\"";
const FILE: &str = "a path";
const LIST: &str = "a list of texts";
const RATE: &str = "events per second";
const TEXT: &str = "a text";

const fn key(name: &'static str, form: &'static str, lines: &'static [&'static str]) -> Description {
    Description { name, lines, form, example: None }
}

const fn unset(
    name: &'static str,
    form: &'static str,
    example: &'static str,
    lines: &'static [&'static str],
) -> Description {
    Description { name, lines, form, example: Some(example) }
}

pub(super) static DESCRIPTIONS: &[Description] = &[
    key("listen", ADDRESS, &["Where the server listens. Port 0 takes a free one, which standard output names."]),
    key(
        "data_dir",
        FILE,
        &["Directory of everything the server keeps: the history, and in development mode the secret."],
    ),
    key(
        "workers",
        COUNT,
        &[
            "Shards: each is a thread with connections of its own. By default one for each core (here: of the machine that wrote this).",
        ],
    ),
    unset("tls.cert", FILE, "/etc/chat-server/tls.crt", &["PEM file of the certificate chain."]),
    unset("tls.key", FILE, "/etc/chat-server/tls.key", &["PEM file of the private key."]),
    key("limits.message_length", CHARACTERS, &["Length of `message`."]),
    key("limits.context_bytes", BYTES, &["Size of `context` as it was sent, without attachments."]),
    key(
        "limits.context_depth",
        COUNT,
        &["Depth of `context`: an object without nested values has depth 1. The parser itself allows 126."],
    ),
    key(
        "limits.attachments",
        COUNT,
        &["Attachments (binary values) of one message. At most 10; 0 means 10. Official clients decode no more."],
    ),
    key("limits.attachment_bytes", BYTES, &["Size of all attachments of one message together."]),
    key("limits.message_rate", RATE, &["Messages of one user."]),
    key(
        "limits.message_burst",
        COUNT,
        &[
            "Messages that a user may send at once, before limits.message_rate holds.",
            "0: no limit, and limits.message_rate does not hold either.",
        ],
    ),
    key(
        "limits.message_bytes_rate",
        "bytes per second",
        &["Messages of one user, with context and attachments. Without limits.message_rate there is no such limit."],
    ),
    key("limits.typing_rate", RATE, &["`typing` of one user."]),
    key("limits.question_rate", RATE, &["Each of `history`, `presence`, `join` and `leave` of one user."]),
    key(
        "limits.connect_user_rate",
        RATE,
        &["CONNECTs of one user, and within one connection. Without limits.sockets_per_user users have no such limit."],
    ),
    key(
        "limits.connect_rate",
        RATE,
        &[
            "New connections of one address that show a valid token. More get 503 and come back. Proxies: see http.trusted_proxies.",
        ],
    ),
    key("limits.sockets_per_ip", COUNT, &["Connections of one address that have shown a valid token."]),
    key(
        "limits.unproven_per_ip",
        COUNT,
        &["Connections of one address that have shown no valid token yet. The newest takes the place of the oldest."],
    ),
    key("limits.pending_per_ip", COUNT, &["TCP connections of one address that have not asked for a session yet."]),
    key("limits.sockets_per_user", COUNT, &["Sockets of one user."]),
    key(
        "limits.sockets_per_user_policy",
        "\"replace\" or \"refuse\"",
        &["When a user has as many sockets as it may: end the one heard of longest ago, or refuse the new one."],
    ),
    key("limits.rooms_per_socket", COUNT, &["Rooms that one socket may be in."]),
    key("limits.connect_timeout", DURATION, &["How long a connection may take to show a valid token."]),
    key(
        "limits.idle_timeout",
        DURATION,
        &["A socket without any event for so long is ended. Heartbeats do not count."],
    ),
    key("limits.strikes", COUNT, &["How many wrong events a user may send in a minute; one more ends the connection."]),
    key(
        "limits.outbound_soft",
        BYTES,
        &[
            "What may wait for one peer that reads slowly. Above this nothing more is read from it until it has caught up.",
        ],
    ),
    key(
        "limits.outbound_hard",
        BYTES,
        &["Above this the peer's connection ends, and the client comes back by itself."],
    ),
    key("limits.connections", COUNT, &["Connections of the whole process. 0: as many as file descriptors allow."]),
    key(
        "rooms.default_access",
        "\"open\" or \"none\"",
        &["What a token without a `rooms` claim opens: any room whose id the user knows, or none but the lobby."],
    ),
    key("rooms.lobby", BOOL, &["Whether every socket is in the room `lobby`."]),
    key(
        "presence.grace",
        DURATION,
        &["How long after its last socket a user is announced as offline, so that a reload is not."],
    ),
    key("presence.snapshot", COUNT, &["How many of those online a newcomer is told of."]),
    key(
        "presence.max_room",
        COUNT,
        &["Rooms with more sockets announce nobody, and have no `userTyping` unless it names them."],
    ),
    key(
        "recovery.max_disconnection",
        DURATION,
        &["For how long after its connection broke a client gets its socket and the missed messages back. 0s: never."],
    ),
    key("typing.timeout", DURATION, &["After this time without a word `typing` ends by itself."]),
    unset(
        "auth.jwt_secret",
        TEXT,
        "",
        &["The secret that signs and checks tokens (HS256 ...), 32 bytes or more. Better in a file of its own:"],
    ),
    unset(
        "auth.jwt_secret_file",
        FILE,
        "/etc/chat-server/jwt.secret",
        &["File whose content is auth.jwt_secret. Only the server's user should be able to read it."],
    ),
    unset(
        "auth.jwt_previous_secret",
        TEXT,
        "",
        &["Checks tokens beside auth.jwt_secret while a secret is replaced. Better in a file:"],
    ),
    unset(
        "auth.jwt_previous_secret_file",
        FILE,
        "/etc/chat-server/jwt.old",
        &["File whose content is auth.jwt_previous_secret."],
    ),
    key(
        "auth.allow_short_secret",
        BOOL,
        &["Whether a secret of less than 32 bytes, which may be guessed, may serve other machines."],
    ),
    key(
        "auth.jwt_public_key",
        LIST,
        &["PEM files of public keys that check tokens, such as \"/etc/chat-server/jwt.pem\"."],
    ),
    unset(
        "auth.jwks",
        "a path or a URL",
        "https://id.example.com/.well-known/jwks.json",
        &["JWKS whose keys check tokens."],
    ),
    key("auth.jwks_refresh", DURATION, &["How often the JWKS is read again. Never 0."]),
    key(
        "auth.algorithms",
        LIST,
        &["Algorithms that are accepted, whatever a token says. Empty: those that fit the keys."],
    ),
    unset("auth.issuer", TEXT, "https://id.example.com", &["The `iss` that tokens must have."]),
    key("auth.audience", LIST, &["The `aud` of a token must name one of these. Empty: it is not looked at."]),
    key("auth.leeway", DURATION, &["How far the clocks of the issuer and of this machine may differ."]),
    key("auth.require_exp", BOOL, &["Whether a token without an end (`exp`) is refused."]),
    key("auth.max_token_bytes", BYTES, &["The longest token that is looked at. Never 0."]),
    key(
        "store.kind",
        "\"sqlite\" or \"memory\"",
        &["In a file of data_dir, or in memory, where it is gone with the process."],
    ),
    key(
        "store.durability",
        "\"commit\", \"os\" or \"none\"",
        &[
            "What an acknowledged message survives: a loss of power (it is synced to the disk), the end of the process, or nothing.",
            "In memory it is \"none\".",
        ],
    ),
    key("store.max_age", DURATION, &["Older messages are forgotten. 0s: none is too old."]),
    key("store.max_count", COUNT, &["Messages kept: of each room in a file, of all rooms in memory. Never 0."]),
    key("store.page_cache", BYTES, &["How much of the file is kept in memory. Never 0."]),
    key(
        "engine.ping_interval",
        DURATION,
        &["Time between two heartbeats. The time-out of a proxy for idle connections must be longer."],
    ),
    key(
        "engine.ping_timeout",
        DURATION,
        &["How long a client may take to answer a heartbeat; then its connection ends."],
    ),
    key("engine.upgrade_timeout", DURATION, &["How long the change from long-polling to WebSocket may take."]),
    key("engine.max_payload", BYTES, &["The longest message or HTTP body of a client. Never 0."]),
    key(
        "engine.allow_eio3",
        BOOL,
        &[
            "Whether clients of Socket.IO 2 are served. Their tokens are in the query of the URL, which proxies write into logs.",
        ],
    ),
    key(
        "http.allow_origin",
        LIST,
        &[
            "Origins of pages that may connect, beside the server's own, such as \"https://app.example.com\". \"*\": all.",
        ],
    ),
    key("http.cors_credentials", BOOL, &["Whether pages of these origins may connect with cookies (withCredentials)."]),
    key(
        "http.hosts",
        LIST,
        &["Names that the server answers for, without ports. Empty: any; in development mode loopback names."],
    ),
    unset("http.api_key", LIST, "", &["Keys of the HTTP API, as \"name:secret\". Without one there is no API."]),
    unset("http.api_key_file", FILE, "/etc/chat-server/api-keys", &["File with more of them, one a line."]),
    key(
        "http.trusted_proxies",
        LIST,
        &["Addresses, networks and \"loopback\": what these proxies say about a client's address is believed."],
    ),
    key(
        "http.proxy_protocol",
        BOOL,
        &["Whether each connection of a trusted proxy begins with a header of the PROXY protocol."],
    ),
    key(
        "http.keep_alive",
        DURATION,
        &["How long a connection may be idle between two requests: longer than proxies keep it."],
    ),
    unset("http.admin_listen", ADDRESS, "127.0.0.1:3001", &["An address of its own for health, metrics and the API."]),
    key(
        "http.admin_hosts",
        LIST,
        &["Names with a dot that requests to that address may use, beside http.hosts: \"metrics.internal\"."],
    ),
    unset(
        "webhooks.url",
        TEXT,
        "https://app.example.com/chat",
        &["Address of the application that is told what happens."],
    ),
    unset("webhooks.secret", TEXT, "", &["Secret that signs what is told. `whsec_` and base64 stand for bytes."]),
    unset(
        "webhooks.secret_file",
        FILE,
        "/etc/chat-server/webhooks-secret",
        &["File whose content is `webhooks.secret`."],
    ),
    unset(
        "webhooks.previous_secret",
        TEXT,
        "",
        &["Signs beside webhooks.secret while a secret is replaced. Better in a file:"],
    ),
    unset(
        "webhooks.previous_secret_file",
        FILE,
        "/etc/chat-server/webhooks-old",
        &["File whose content is webhooks.previous_secret."],
    ),
    key("webhooks.events", LIST, &["What is told."]),
    key(
        "webhooks.queue",
        COUNT,
        &["Events that may wait to be sent. What comes when there are as many is dropped. Never 0."],
    ),
    key("webhooks.timeout", DURATION, &["Time that one request may take. Never 0."]),
    key("webhooks.give_up", DURATION, &["Time after which a request that does not arrive is given up."]),
    key("shutdown.timeout", DURATION, &["The longest time from the first signal to the end of the process."]),
    key("shutdown.drain", DURATION, &["How much of it connections have to end, once their clients are told."]),
    key("log.format", "\"text\" or \"json\"", &["Lines for people, or one JSON object a line."]),
    key(
        "log.level",
        "\"error\", \"warn\", \"info\", \"debug\", \"trace\" or \"off\"",
        &["The least important level that is written. \"debug\" tells of every connection."],
    ),
];
