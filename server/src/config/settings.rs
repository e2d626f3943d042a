//! [`Config`]: the settings, typed, with their defaults. Where they come from and what is checked is left to the other files.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::api_key::ApiKey;
use super::proxies::Proxy;
use super::secret::Secret;
use super::url::Url;

/// The effective configuration. [`Config::default`] holds the documented defaults.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Directory of everything the server keeps, the development secret included.
    pub(crate) data_dir: PathBuf,
    /// Number of shards; one for each core by default.
    pub(crate) workers: usize,
    /// TLS certificate and key.
    pub(crate) tls: Tls,
    /// What a peer may ask of the server.
    pub(crate) limits: Limits,
    /// Who may enter which room.
    pub(crate) rooms: Rooms,
    /// `userStatus`.
    pub(crate) presence: Presence,
    /// Connection state recovery.
    pub(crate) recovery: Recovery,
    /// `userTyping`.
    pub(crate) typing: Typing,
    /// How tokens are checked.
    pub(crate) auth: Auth,
    /// Where the history is kept, and how much of it.
    pub(crate) store: Store,
    /// Engine.IO.
    pub(crate) engine: Engine,
    /// What stands beside the socket.
    pub(crate) http: Http,
    /// Whom the server tells what happens.
    pub(crate) webhooks: Webhooks,
    /// The end of the process.
    pub(crate) shutdown: Shutdown,
    /// Logging.
    pub(crate) log: Log,
    /// No key: true when neither a secret nor a public key was configured, so that the development secret signs and checks the tokens.
    pub(crate) development: bool,
    /// No key: how many connections the process may have, by `limits.connections` and the machine's limit of descriptors; `None` is no
    /// limit.
    pub(crate) places: Option<usize>,
    /// No key: what deserves a warning about where the values come from, one line each. See [`Config::warnings`] for all.
    pub(crate) warnings: Vec<String>,
}

/// `tls.`: both or neither.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    /// PEM file of the certificate chain.
    pub(crate) cert: Option<PathBuf>,
    /// PEM file of the private key.
    pub(crate) key: Option<PathBuf>,
}

/// `limits.`: 0 switches a limit off, save the two `outbound_`, which are never 0.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Characters (Unicode scalar values) in `message`.
    pub(crate) message_length: usize,
    /// Bytes of `context` as sent, attachments apart.
    pub(crate) context_bytes: usize,
    /// Depth of `context`; an object without nested values has depth 1.
    pub(crate) context_depth: usize,
    /// Attachments in one `context`.
    pub(crate) attachments: usize,
    /// Bytes of all attachments of one `context` together.
    pub(crate) attachment_bytes: usize,
    /// Messages a second and user.
    pub(crate) message_rate: f64,
    /// Messages a user may send at once before the rate holds. Any number: then there is no rate.
    pub(crate) message_burst: u32,
    /// Bytes of messages a second and user: `message`, `context` and attachments as sent. Without a `message_rate` there is none.
    pub(crate) message_bytes_rate: f64,
    /// `typing` events a second and user.
    pub(crate) typing_rate: f64,
    /// Events a second and user of each of these: `history`, `presence`, `join`, `leave`.
    pub(crate) question_rate: f64,
    /// CONNECT packets a second, of each user and within each connection. Without `sockets_per_user` users have none.
    pub(crate) connect_user_rate: f64,
    /// New connections a second and address that show a valid token. As many may come at once as the address may have.
    pub(crate) connect_rate: f64,
    /// Connections open at once from one address that have shown a valid token.
    pub(crate) sockets_per_ip: usize,
    /// Connections open at once from one address that have not. The newest takes the place of the oldest.
    pub(crate) unproven_per_ip: usize,
    /// TCP connections of one address on which no request of a session has come.
    pub(crate) pending_per_ip: usize,
    /// Sockets open at once of one user.
    pub(crate) sockets_per_user: usize,
    /// What a CONNECT beyond [`Limits::sockets_per_user`] gets.
    pub(crate) sockets_per_user_policy: SocketsPolicy,
    /// Rooms one socket may be in.
    pub(crate) rooms_per_socket: usize,
    /// Time a connection has to send a valid CONNECT.
    pub(crate) connect_timeout: Duration,
    /// Time without an event of a socket after which it is closed.
    pub(crate) idle_timeout: Duration,
    /// Strikes within 60 s after which a socket is disconnected.
    pub(crate) strikes: u32,
    /// Queued bytes above which we stop reading from a peer. Never 0.
    pub(crate) outbound_soft: usize,
    /// Queued bytes above which a peer is closed. Never 0, never less than `outbound_soft`.
    pub(crate) outbound_hard: usize,
    /// Connections open at once in the whole process.
    pub(crate) connections: usize,
}

/// `rooms.`
#[derive(Debug, Clone)]
pub(crate) struct Rooms {
    /// What a token without a `rooms` claim may enter.
    pub(crate) default_access: RoomAccess,
    /// Whether every socket is in the room `lobby`.
    pub(crate) lobby: bool,
}

/// `presence.`
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    /// Time between a user's last socket and the announcement that the user is offline.
    pub(crate) grace: Duration,
    /// How many of those online a newcomer is told of.
    pub(crate) snapshot: usize,
    /// Members above which a room announces nobody.
    pub(crate) max_room: usize,
}

/// `recovery.`
#[derive(Debug, Clone)]
pub(crate) struct Recovery {
    /// For how long after its connection broke a client gets its socket back; zero: never.
    pub(crate) max_disconnection: Duration,
}

/// `typing.`
#[derive(Debug, Clone)]
pub(crate) struct Typing {
    /// Time after which `typing: true` ends by itself. Never zero.
    pub(crate) timeout: Duration,
}

/// `auth.`
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    /// Secret that signs and checks tokens; in development mode the development secret, put there by `dev`.
    pub(crate) jwt_secret: Option<Secret>,
    /// File whose content is `jwt_secret`: a command line can be read by every user of the machine.
    pub(crate) jwt_secret_file: Option<PathBuf>,
    /// Secret that still checks tokens while they are replaced.
    pub(crate) jwt_previous_secret: Option<Secret>,
    /// File whose content is `jwt_previous_secret`.
    pub(crate) jwt_previous_secret_file: Option<PathBuf>,
    /// Whether a secret of less than 32 bytes may be used on an address that others can reach.
    pub(crate) allow_short_secret: bool,
    /// PEM files, each with one public key or several.
    pub(crate) jwt_public_key: Vec<PathBuf>,
    /// File or URL of a JWKS.
    pub(crate) jwks: Option<Url>,
    /// Time after which the JWKS is fetched again. Never zero.
    pub(crate) jwks_refresh: Duration,
    /// The algorithms accepted; empty: HS256 with a secret, and with a public key what fits its type. The first one for a secret
    /// signs.
    pub(crate) algorithms: Vec<Algorithm>,
    /// The `iss` a token must carry.
    pub(crate) issuer: Option<String>,
    /// A token's `aud` must hold one of these; empty: `aud` is not looked at.
    pub(crate) audience: Vec<String>,
    /// Difference of clocks allowed on `exp` and `nbf`.
    pub(crate) leeway: Duration,
    /// Whether a token without `exp` is refused.
    pub(crate) require_exp: bool,
    /// Bytes of the longest token that is looked at. Never 0; `engine.max_payload` holds too.
    pub(crate) max_token_bytes: usize,
}

/// `store.`
#[derive(Debug, Clone)]
pub(crate) struct Store {
    /// Where messages are kept.
    pub(crate) kind: StoreKind,
    /// What an acknowledgement promises.
    pub(crate) durability: Durability,
    /// Age above which a message is forgotten; zero: no message is too old.
    pub(crate) max_age: Duration,
    /// Messages kept, in memory of all rooms, in a file of each room; the oldest go first. Never 0.
    pub(crate) max_count: usize,
    /// Bytes of the file that are kept in memory, of all connections to it together.
    pub(crate) page_cache: usize,
}

/// `engine.`: none of these is ever zero.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    /// Time between two pings.
    pub(crate) ping_interval: Duration,
    /// Time a peer has to answer a ping.
    pub(crate) ping_timeout: Duration,
    /// Time an upgrade may take.
    pub(crate) upgrade_timeout: Duration,
    /// Bytes of one payload or message.
    pub(crate) max_payload: usize,
    /// Whether clients of Engine.IO v3 are served.
    pub(crate) allow_eio3: bool,
}

/// `http.`
#[derive(Debug, Clone)]
pub(crate) struct Http {
    /// Origins allowed beside the server's own; `*`: any.
    pub(crate) allow_origin: Vec<String>,
    /// Whether pages of other origins may send cookies along (`withCredentials`).
    pub(crate) cors_credentials: bool,
    /// Hosts that requests may name, without ports; empty: any, but in development mode loopback names only.
    pub(crate) hosts: Vec<String>,
    /// Keys of the HTTP API; without one there is no API.
    pub(crate) api_key: Vec<ApiKey>,
    /// File with more of them, one a line: a command line can be read by every user of the machine.
    pub(crate) api_key_file: Option<PathBuf>,
    /// Proxies whose forwarding headers are believed, and which have no limits of their own.
    pub(crate) trusted_proxies: Vec<Proxy>,
    /// Whether trusted proxies put a header of the PROXY protocol in front of each connection.
    pub(crate) proxy_protocol: bool,
    /// Time a connection may be idle between two requests. Never zero.
    pub(crate) keep_alive: Duration,
    /// Address of its own for API, metrics and health, which `listen` does not serve then.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Hosts that requests to that address may name, without ports, beside `hosts`, addresses and names without a dot.
    pub(crate) admin_hosts: Vec<String>,
}

/// `webhooks.`: without an address there are none.
#[derive(Debug, Clone)]
pub(crate) struct Webhooks {
    /// Address of the application that is told.
    pub(crate) url: Option<Url>,
    /// Secret that signs what is told.
    pub(crate) secret: Option<Secret>,
    /// File whose content is `secret`: a command line can be read by every user of the machine.
    pub(crate) secret_file: Option<PathBuf>,
    /// Secret that signs it beside the other one, while that is replaced.
    pub(crate) previous_secret: Option<Secret>,
    /// File whose content is `previous_secret`.
    pub(crate) previous_secret_file: Option<PathBuf>,
    /// What is told.
    pub(crate) events: Vec<WebhookEvent>,
    /// Events that may wait to be sent; what comes when there are as many is dropped. Never 0.
    pub(crate) queue: usize,
    /// Time that one request may take. Never zero.
    pub(crate) timeout: Duration,
    /// Time after which a request that does not arrive is given up.
    pub(crate) give_up: Duration,
}

/// `shutdown.`
#[derive(Debug, Clone)]
pub(crate) struct Shutdown {
    /// The longest time from the first signal to the end of the process.
    pub(crate) timeout: Duration,
    /// How much of it connections have to end, once the server has told their clients.
    pub(crate) drain: Duration,
}

/// `log.`
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// Form of a line.
    pub(crate) format: LogFormat,
    /// The least important level that is written.
    pub(crate) level: LogLevel,
}

/// What a CONNECT gets whose user has as many sockets as one may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketsPolicy {
    /// It is accepted, and the user's socket that was heard of longest ago is disconnected.
    Replace,
    /// It is refused.
    Refuse,
}

/// What webhooks tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookEvent {
    /// A user has a socket, and had none.
    UserConnected,
    /// A user has had no socket for `presence.grace`.
    UserDisconnected,
    /// A message was stored.
    MessageStored,
}

/// What a token without a `rooms` claim may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoomAccess {
    /// Any room whose id the user knows.
    Open,
    /// No room but the lobby.
    None,
}

/// Where messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// In a file of the data directory.
    Sqlite,
    /// In memory: gone with the process.
    Memory,
}

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The message is on the disk, and survives a loss of power.
    Commit,
    /// The operating system has the message: it survives the end of the process.
    Os,
    /// The message may be lost with the process.
    None,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important level that is written. The greater one writes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    /// Nothing is written.
    Off,
    /// Faults only.
    Error,
    /// And what looks wrong.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And every connection.
    Debug,
    /// Everything.
    Trace,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3000)),
            data_dir: PathBuf::from("./data"),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            tls: Tls::default(),
            limits: Limits::default(),
            rooms: Rooms { default_access: RoomAccess::Open, lobby: true },
            presence: Presence { grace: Duration::from_secs(2), snapshot: 100, max_room: 1000 },
            recovery: Recovery { max_disconnection: Duration::from_secs(120) },
            typing: Typing { timeout: Duration::from_secs(10) },
            auth: Auth::default(),
            store: Store {
                kind: StoreKind::Sqlite,
                durability: Durability::Commit,
                max_age: Duration::from_secs(30 * 24 * 3600),
                max_count: 1_000_000,
                page_cache: 32 << 20,
            },
            engine: Engine {
                ping_interval: Duration::from_secs(25),
                ping_timeout: Duration::from_secs(20),
                upgrade_timeout: Duration::from_secs(10),
                max_payload: 1_000_000,
                allow_eio3: false,
            },
            http: Http::default(),
            webhooks: Webhooks::default(),
            shutdown: Shutdown { timeout: Duration::from_secs(10), drain: Duration::from_secs(3) },
            log: Log { format: LogFormat::Text, level: LogLevel::Info },
            development: true,
            places: None,
            warnings: Vec::new(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            allow_origin: Vec::new(),
            cors_credentials: false,
            hosts: Vec::new(),
            api_key: Vec::new(),
            api_key_file: None,
            trusted_proxies: vec![Proxy::Loopback],
            proxy_protocol: false,
            // Longer than nginx (60 s) and the balancers of large clouds (60 s) keep theirs.
            keep_alive: Duration::from_secs(75),
            admin_listen: None,
            admin_hosts: Vec::new(),
        }
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            url: None,
            secret: None,
            secret_file: None,
            previous_secret: None,
            previous_secret_file: None,
            events: vec![WebhookEvent::UserConnected, WebhookEvent::UserDisconnected, WebhookEvent::MessageStored],
            queue: 10_000,
            timeout: Duration::from_secs(10),
            // A deploy of the receiver that goes wrong takes this long to be noticed and undone.
            give_up: Duration::from_secs(3600),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_length: 4096,
            context_bytes: 4096,
            context_depth: 8,
            attachments: 4,
            attachment_bytes: 262_144,
            message_rate: 20.0,
            message_burst: 40,
            message_bytes_rate: 262_144.0,
            typing_rate: 10.0,
            question_rate: 10.0,
            connect_user_rate: 1.0,
            connect_rate: 100.0,
            sockets_per_ip: 1000,
            // At 10,000 handshakes a second each has 0.4 s to show its token.
            unproven_per_ip: 4096,
            // A WebSocket is one for a few milliseconds, a request without a session for as long as its answer takes.
            pending_per_ip: 256,
            sockets_per_user: 10,
            sockets_per_user_policy: SocketsPolicy::Replace,
            rooms_per_socket: 100,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30 * 60),
            strikes: 20,
            outbound_soft: 65_536,
            outbound_hard: 1_048_576,
            connections: 0,
        }
    }
}

impl Auth {
    /// Whether there is anything that can check a token.
    pub(crate) fn has_key(&self) -> bool {
        self.jwt_secret.is_some() || !self.jwt_public_key.is_empty() || self.jwks.is_some()
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            jwt_secret: None,
            jwt_secret_file: None,
            jwt_previous_secret: None,
            jwt_previous_secret_file: None,
            allow_short_secret: false,
            jwt_public_key: Vec::new(),
            jwks: None,
            jwks_refresh: Duration::from_secs(600),
            algorithms: Vec::new(),
            issuer: None,
            audience: Vec::new(),
            leeway: Duration::from_secs(5),
            require_exp: true,
            max_token_bytes: 65_536,
        }
    }
}
