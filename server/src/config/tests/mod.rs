//! Sources, precedence, every key both ways, and what is refused with which words.

mod default_file;
mod secrets;

use std::collections::BTreeSet;
use std::fs;

use super::keys::KEYS;
use super::*;

fn set(pairs: &[(&str, &str)]) -> Vec<Assignment> {
    let assignment = |(key, text): &(&str, &str)| Assignment {
        key: (*key).to_owned(),
        text: (*text).to_owned(),
        source: Source::Set,
    };
    pairs.iter().map(assignment).collect()
}

fn variables(pairs: &[(&str, &str)]) -> Environment {
    Environment(pairs.iter().map(|(name, value)| (name.into(), value.into())).collect())
}

fn load_set(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load(None, set(pairs), Environment::default())
}

fn load_file(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.toml");
    fs::write(&path, text).unwrap();
    load(Some(&path), Vec::new(), Environment::default())
}

fn error_of(result: Result<Config, ConfigError>) -> String {
    let error = result.map(|config| config.to_toml()).unwrap_err().to_string();
    assert!(!error.contains('\n'), "one line: {error}");
    error
}

#[test]
fn the_keys_are_those_of_the_documentation() {
    let documented = "listen data_dir workers tls.cert tls.key \
        limits.message_length limits.context_bytes limits.context_depth limits.attachments limits.attachment_bytes \
        limits.message_rate limits.message_burst limits.message_bytes_rate limits.typing_rate limits.question_rate \
        limits.connect_user_rate limits.connect_rate limits.sockets_per_ip limits.unproven_per_ip limits.pending_per_ip \
        limits.sockets_per_user \
        limits.sockets_per_user_policy limits.rooms_per_socket limits.connect_timeout limits.idle_timeout limits.strikes \
        limits.outbound_soft limits.outbound_hard limits.connections rooms.default_access rooms.lobby presence.grace \
        presence.snapshot presence.max_room recovery.max_disconnection typing.timeout auth.jwt_secret \
        auth.jwt_secret_file auth.jwt_previous_secret \
        auth.jwt_previous_secret_file auth.allow_short_secret auth.jwt_public_key auth.jwks auth.jwks_refresh auth.algorithms auth.issuer \
        auth.audience auth.leeway auth.require_exp auth.max_token_bytes store.kind store.durability \
        store.max_age store.max_count store.page_cache engine.ping_interval engine.ping_timeout engine.upgrade_timeout engine.max_payload \
        engine.allow_eio3 http.allow_origin http.cors_credentials http.hosts http.api_key http.api_key_file http.trusted_proxies http.proxy_protocol http.keep_alive http.admin_listen http.admin_hosts webhooks.url webhooks.secret webhooks.secret_file webhooks.previous_secret webhooks.previous_secret_file webhooks.events webhooks.queue webhooks.timeout webhooks.give_up shutdown.timeout \
        shutdown.drain log.format log.level";
    let keys: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(keys, documented.split_whitespace().collect::<Vec<_>>());
    let slots: Vec<usize> = KEYS
        .iter()
        .map(|key| {
            let mut config = Config::default();
            let slot: *const () = std::ptr::from_mut((key.slot)(&mut config)).cast();
            slot.addr() - (&raw const config).addr()
        })
        .collect();
    let different: BTreeSet<usize> = slots.iter().copied().collect();
    assert_eq!(different.len(), slots.len(), "no two keys share a slot");
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let expected = r#"
        listen = "127.0.0.1:3000" data_dir = "./data" workers = CORES
        message_length = 4096 context_bytes = 4096 context_depth = 8 attachments = 4 attachment_bytes = 262144
        message_rate = 20 message_burst = 40 message_bytes_rate = 262144 typing_rate = 10 question_rate = 10
        connect_user_rate = 1 connect_rate = 100 sockets_per_ip = 1000 unproven_per_ip = 4096 pending_per_ip = 256 sockets_per_user = 10
        sockets_per_user_policy = "replace" rooms_per_socket = 100 connect_timeout = "5s" idle_timeout = "30m" strikes = 20
        outbound_soft = 65536 outbound_hard = 1048576 connections = 0
        default_access = "open" lobby = true grace = "2s" snapshot = 100 max_room = 1000 max_disconnection = "2m"
        timeout = "10s"
        allow_short_secret = false jwt_public_key = [] jwks_refresh = "10m" algorithms = [] audience = [] leeway = "5s" require_exp = true
        max_token_bytes = 65536
        kind = "sqlite" durability = "commit" max_age = "30d" max_count = 1000000
        page_cache = 33554432
        ping_interval = "25s" ping_timeout = "20s" upgrade_timeout = "10s" max_payload = 1000000 allow_eio3 = false
        allow_origin = [] cors_credentials = false hosts = [] trusted_proxies = ["loopback"] proxy_protocol = false keep_alive = "75s" admin_hosts = [] events = ["user.connected", "user.disconnected", "message.stored"] queue = 10000 timeout = "10s" give_up = "1h" timeout = "10s" drain = "3s" format = "text" level = "info""#;
    let cores = std::thread::available_parallelism().unwrap().to_string();
    let printed = load_set(&[]).unwrap().to_toml();
    let values: Vec<&str> = printed.lines().filter(|line| line.contains(" = ")).collect();
    assert_eq!(values.join(" "), expected.split_whitespace().collect::<Vec<_>>().join(" ").replace("CORES", &cores));
}

/// A value other than the default for every key that takes one, as `--set` would have it.
const OTHERS: &[(&str, &str)] = &[
    ("listen", "[::1]:0"),
    ("data_dir", "/var/lib/chat"),
    ("workers", "3"),
    ("limits.message_length", "1"),
    ("limits.context_bytes", "2"),
    ("limits.context_depth", "3"),
    ("limits.attachments", "5"),
    ("limits.attachment_bytes", "6"),
    ("limits.message_rate", "0.5"),
    ("limits.message_burst", "7"),
    ("limits.message_bytes_rate", "7.5"),
    ("limits.typing_rate", "8.25"),
    ("limits.question_rate", "8.5"),
    ("limits.connect_user_rate", "8.75"),
    ("limits.connect_rate", "9"),
    ("limits.sockets_per_ip", "10"),
    ("limits.unproven_per_ip", "28"),
    ("limits.pending_per_ip", "27"),
    ("limits.sockets_per_user", "11"),
    ("limits.sockets_per_user_policy", "refuse"),
    ("limits.rooms_per_socket", "12"),
    ("limits.connect_timeout", "250ms"),
    ("limits.idle_timeout", "0"),
    ("limits.strikes", "13"),
    ("limits.outbound_soft", "14"),
    ("limits.outbound_hard", "15"),
    ("limits.connections", "16"),
    ("rooms.default_access", "none"),
    ("rooms.lobby", "false"),
    ("presence.grace", "1500ms"),
    ("presence.snapshot", "17"),
    ("presence.max_room", "18"),
    ("recovery.max_disconnection", "\"90s\""),
    ("typing.timeout", "1h 30m"),
    ("auth.algorithms", "HS512,HS384"),
    ("auth.issuer", "https://issuer.example"),
    ("auth.audience", "chat, talk"),
    ("auth.leeway", "0s"),
    ("auth.require_exp", "false"),
    ("auth.max_token_bytes", "21"),
    ("auth.allow_short_secret", "true"),
    ("store.max_age", "7d"),
    ("store.max_count", "19"),
    ("store.page_cache", "65536"),
    ("engine.ping_interval", "1s"),
    ("engine.ping_timeout", "2s"),
    ("engine.upgrade_timeout", "3s"),
    ("engine.max_payload", "20"),
    ("http.allow_origin", r#"["https://a.example", "http://b:8080"]"#),
    ("http.cors_credentials", "true"),
    ("http.hosts", "chat.example,[::1]"),
    ("http.admin_hosts", "metrics.example"),
    ("http.trusted_proxies", "loopback, 10.0.0.0/8, 2001:db8::1"),
    ("http.proxy_protocol", "true"),
    ("http.keep_alive", "90s"),
    ("webhooks.events", "message.stored"),
    ("webhooks.queue", "7"),
    ("webhooks.timeout", "7s"),
    ("webhooks.give_up", "0s"),
    ("shutdown.timeout", "4s"),
    ("shutdown.drain", "2500ms"),
    ("log.format", "json"),
    ("log.level", "off"),
];

#[test]
fn every_key_is_set_printed_and_fed_back() {
    let from_set = load_set(OTHERS).unwrap().to_toml();
    let defaults = Config::default().to_toml();
    let differing = from_set.lines().zip(defaults.lines()).filter(|(one, other)| one != other).count();
    assert_eq!(differing, OTHERS.len(), "{from_set}");

    let pairs: Vec<(String, &str)> = OTHERS
        .iter()
        .map(|(name, text)| (KEYS.iter().find(|key| key.name == *name).unwrap().variable(), *text))
        .collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    assert_eq!(load(None, Vec::new(), variables(&pairs)).unwrap().to_toml(), from_set);
    assert_eq!(load_file(&from_set).unwrap().to_toml(), from_set);
    assert_eq!(load_file(&defaults).unwrap().to_toml(), defaults);
}

#[test]
fn limits_are_switched_off_by_zero_but_the_outbound_ones() {
    let limits = KEYS.iter().filter(|key| key.name.starts_with("limits.") && !key.name.ends_with("_policy"));
    for key in limits {
        let result = load_set(&[(key.name, "0")]);
        if key.name.starts_with("limits.outbound_") {
            assert_eq!(
                error_of(result),
                format!("{} (--set): 0 is not allowed: nothing may grow without bound", key.name)
            );
        } else {
            assert!(result.is_ok(), "{}", key.name);
        }
    }
    for key in ["limits.connect_timeout", "limits.idle_timeout"] {
        assert!(load_set(&[(key, "0s")]).is_ok(), "{key}");
    }
}

#[test]
fn a_limit_that_was_set_and_does_nothing_is_warned_of() {
    for (pairs, warned) in [
        (&[("limits.message_rate", "0")][..], None),
        (&[("limits.sockets_per_user", "0")], None),
        (&[("limits.message_rate", "0"), ("limits.message_bytes_rate", "0")], None),
        (
            &[("limits.message_rate", "0"), ("limits.message_bytes_rate", "5")],
            Some("limits.message_bytes_rate (--set) has"),
        ),
        (
            &[("limits.message_burst", "0"), ("limits.message_rate", "5")],
            Some("limits.message_rate (--set) has no effect on"),
        ),
        (
            &[("limits.sockets_per_user", "0"), ("limits.connect_user_rate", "5")],
            Some("limits.connect_user_rate (--set) counts"),
        ),
    ] {
        let warnings = load_set(pairs).unwrap().warnings();
        assert_eq!(warnings.len(), usize::from(warned.is_some()), "{pairs:?}: {warnings:?}");
        assert!(warned.is_none_or(|warned| warnings[0].starts_with(warned)), "{warnings:?}");
    }
}

#[test]
fn the_command_line_beats_variables_and_variables_beat_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.toml");
    fs::write(&path, "[limits]\nstrikes = 1\nmessage_burst = 1\nrooms_per_socket = 1\n").unwrap();
    let environment = variables(&[("CHAT_LIMITS__STRIKES", "2"), ("CHAT_LIMITS__MESSAGE_BURST", "2")]);
    let config = load(Some(&path), set(&[("limits.strikes", "3")]), environment).unwrap();
    let limits = config.limits;
    assert_eq!((limits.strikes, limits.message_burst, limits.rooms_per_socket), (3, 2, 1));

    let named = variables(&[("CHAT_CONFIG", path.to_str().unwrap())]);
    assert_eq!(load(None, Vec::new(), named).unwrap().limits.strikes, 1);
    let beaten = variables(&[("CHAT_CONFIG", "/nowhere/chat.toml")]);
    assert_eq!(load(Some(&path), Vec::new(), beaten.clone()).unwrap().limits.strikes, 1);
    let error = error_of(load(None, Vec::new(), beaten));
    assert!(error.starts_with("\"/nowhere/chat.toml\" (named by CHAT_CONFIG): No such file"), "{error}");
}

#[test]
fn one_key_given_both_ways_is_an_error() {
    let flag =
        |text: &str| Assignment { key: "listen".to_owned(), text: text.to_owned(), source: Source::Flag("--listen") };
    let mut both = set(&[("listen", "127.0.0.1:1")]);
    both.push(flag("127.0.0.1:1"));
    assert_eq!(error_of(load(None, both, Environment::default())), "listen: given both by --set and by --listen");
    let twice = load_set(&[("limits.strikes", "1"), ("limits.strikes", "1")]);
    assert_eq!(error_of(twice), "limits.strikes: given twice by --set");
    let error = error_of(load(None, vec![flag("a"), flag("b")], Environment::default()));
    assert_eq!(error, "listen: given twice by --listen");
}

#[test]
fn unknown_keys_and_variables() {
    for (key, expected) in [
        ("nope", "nope (--set): unknown key"),
        ("limits", "limits (--set): unknown key"),
        ("limits.", "limits. (--set): unknown key"),
        ("", " (--set): unknown key"),
        ("message_rate", "message_rate (--set): unknown key; did you mean limits.message_rate?"),
        ("auth.jwt-secret", "auth.jwt-secret (--set): unknown key; did you mean auth.jwt_secret?"),
        ("LISTEN", "LISTEN (--set): unknown key"),
    ] {
        assert_eq!(error_of(load_set(&[(key, "hunter2")])), expected);
    }
    for (text, expected) in [
        ("nope = 1", "nope ("),
        ("[limits]\nnope = 1", "limits.nope ("),
        ("[nope]", "nope ("),
        ("[limits.inner]\nstrikes = 1", "limits.inner ("),
        ("listen = { address = 1 }", "listen ("),
        ("limits = 1", "limits ("),
        ("[[limits]]\nstrikes = 1", "limits ("),
    ] {
        let error = error_of(load_file(text));
        assert!(error.starts_with(expected) && error.contains("(file "), "{text:?}: {error}");
    }
    let error = error_of(load(None, Vec::new(), variables(&[("CHAT_LIMITS__NOPE", "hunter2")])));
    assert_eq!(error, "limits.nope (variable CHAT_LIMITS__NOPE): unknown key");
    let error = error_of(load(None, Vec::new(), variables(&[("CHAT_limits__strikes", "1")])));
    assert!(error.starts_with("limits.strikes (variable CHAT_limits__strikes): unknown key"), "{error}");
    let config = load(
        None,
        Vec::new(),
        variables(&[("CHAT_NOPE", "hunter2"), ("PATH", "/bin"), ("OTHER__X", "1"), ("CHAT", "1")]),
    );
    assert_eq!(config.unwrap().warnings(), ["variable CHAT_NOPE sets no key and is ignored"]);
}

#[test]
fn text_is_toml_or_else_a_plain_string() {
    let secret = |text: &str| load_set(&[("auth.jwt_secret", text)]).unwrap().auth.jwt_secret.unwrap();
    for (text, expected) in [
        ("plain", "plain"),
        ("\"quoted\"", "quoted"),
        ("'literal'", "literal"),
        ("12345", "12345"),
        ("1e5", "1e5"),
        ("true", "true"),
        ("2026-01-01", "2026-01-01"),
        ("[1, 2]", "[1, 2]"),
        ("a=b", "a=b"),
        ("with space", "with space"),
        ("x\nlisten = 1", "x\nlisten = 1"),
        ("\"open", "\"open"),
    ] {
        assert_eq!(secret(text), Secret::new(expected), "{text:?}");
    }
    let origins = |text: &str| load_set(&[("http.allow_origin", text)]).unwrap().http.allow_origin;
    assert_eq!(origins("http://a,http://b"), ["http://a", "http://b"]);
    assert_eq!(origins("http://a, http://b,"), ["http://a", "http://b"]);
    assert_eq!(origins("[\"http://a\"]"), ["http://a"]);
    assert_eq!(origins("*"), ["*"]);
    assert_eq!(origins("[]"), [""; 0]);
    assert_eq!(origins(""), [""; 0]);
    let listen = |text: &str| load_set(&[("listen", text)]).unwrap().listen.to_string();
    assert_eq!(listen("localhost:80"), "127.0.0.1:80");
    assert_eq!(listen("[::1]:80"), "[::1]:80");
}

#[test]
fn values_that_do_not_fit() {
    for (key, texts) in [
        ("listen", &["", "127.0.0.1", ":3000", "3000", "127.0.0.1:70000", "example.com:80", "localhost:x"][..]),
        ("data_dir", &[""]),
        ("limits.message_length", &["-1", "1.5", "many", "\"5\"", "true", "", "5 6", "9999999999999999999"]),
        ("limits.strikes", &["-1", "4294967296", "x"]),
        ("limits.message_rate", &["-1", "-0.1", "nan", "inf", "-inf", "1e300", "1e-300", "fast", "\"20\""]),
        ("limits.idle_timeout", &["5", "5x", "", "-5s", "true", "1.5", "101y", "99999999999999999999s"]),
        ("rooms.default_access", &["", "Open", "all"]),
        ("rooms.lobby", &["yes", "1", "\"true\"", ""]),
        ("typing.timeout", &["0", "0s", "1us"]),
        ("auth.algorithms", &["HS1", "hs256", "none", "[1]", "HS256,none"]),
        ("auth.jwt_secret", &["", "\"\"", "-----BEGIN PUBLIC KEY-----"]),
        ("auth.issuer", &[""]),
        ("auth.audience", &["[1]", "[\"\"]"]),
        ("store.kind", &["redis", "", "Memory"]),
        ("store.durability", &["fsync"]),
        ("auth.max_token_bytes", &["0", "-1", "64K"]),
        ("auth.jwt_secret_file", &["", "/nowhere/secret", "/", "/dev/null", "/dev/zero"]),
        ("store.max_count", &["0"]),
        ("engine.ping_interval", &["0s"]),
        ("engine.ping_timeout", &["0s"]),
        ("engine.upgrade_timeout", &["0s", "999us"]),
        ("engine.max_payload", &["0"]),
        ("http.keep_alive", &["0s", "75"]),
        ("http.hosts", &["chat.example:3000", "http://a", "a b", "[", "::1", "[1]", "[\"\"]"]),
        ("http.admin_hosts", &["chat.example:3000"]),
        ("http.trusted_proxies", &["localhost", "10.0.0.0/33", "[1]", "10.0.0.1,x"]),
        ("engine.allow_eio3", &["1"]),
        (
            "http.allow_origin",
            &[
                "http://a/",
                "a.example",
                "http://",
                "://a",
                "http://a/x",
                "http://u@a",
                "ht tp://a",
                "[1]",
                "NULL",
                "null/",
                "file:///",
                "file:",
            ],
        ),
        ("log.format", &["xml"]),
        ("log.level", &["verbose", "INFO"]),
    ] {
        for text in texts {
            let error = error_of(load_set(&[(key, text)]));
            assert!(error.starts_with(&format!("{key} (--set): ")), "{key}={text}: {error}");
        }
    }
    let error = error_of(load_set(&[("limits.outbound_soft", "2000000")]));
    assert_eq!(error, "limits.outbound_hard: 1048576 is less than limits.outbound_soft, 2000000");
    for workers in ["0", "1025"] {
        assert_eq!(error_of(load_set(&[("workers", workers)])), "workers (--set): must be 1 to 1024");
    }
    let error = error_of(load_set(&[("auth.jwt_previous_secret", "hunter2")]));
    assert_eq!(error, "auth.jwt_previous_secret (--set): needs auth.jwt_secret beside it");
    let error = error_of(load_set(&[("limits.idle_timeout", "5")]));
    assert_eq!(error, "limits.idle_timeout (--set): expected a duration such as \"5s\", \"250ms\" or \"30m\", got 5");
}

#[test]
fn credentials_need_origins_that_are_named() {
    for origins in ["*", r#"["https://a.example", "*"]"#] {
        let error = error_of(load_set(&[("http.allow_origin", origins), ("http.cors_credentials", "true")]));
        assert!(error.starts_with("http.cors_credentials (--set): cannot go with \"*\""), "{error}");
        assert!(error.contains("list the origins"), "it says what to do: {error}");
    }
    for (origins, doubts) in [("", 0), ("https://a.example,file://", 0), ("https://a.example,null", 1)] {
        let config = load_set(&[("http.allow_origin", origins), ("http.cors_credentials", "true")]).unwrap();
        assert_eq!(config.warnings().len(), doubts, "{origins}: {:?}", config.warnings());
    }
    for origins in ["*", "null", "file://", "null,file://,https://a.example"] {
        let config = load_set(&[("http.allow_origin", origins)]).unwrap();
        assert_eq!((config.http.allow_origin.join(","), config.warnings().len()), (origins.to_owned(), 0));
    }
}

#[test]
fn a_token_longer_than_a_packet_may_be_deserves_a_warning() {
    for (token, payload, doubts) in [("65536", "1000000", 0), ("999", "1000", 0), ("1000", "1000", 1)] {
        let config = load_set(&[("auth.max_token_bytes", token), ("engine.max_payload", payload)]).unwrap();
        let warnings = config.warnings();
        assert_eq!(
            warnings.iter().filter(|warning| warning.contains("auth.max_token_bytes")).count(),
            doubts,
            "{token}"
        );
    }
}

#[test]
fn the_admin_port_is_another_one() {
    let listen = |admin| load_set(&[("listen", "127.0.0.1:3000"), ("http.admin_listen", admin)]);
    assert!(listen("127.0.0.1:3001").is_ok());
    assert_eq!(error_of(listen("127.0.0.1:3000")), "http.admin_listen (--set): must differ from listen");
    assert!(load_set(&[("listen", "127.0.0.1:0"), ("http.admin_listen", "127.0.0.1:0")]).is_ok());
}

#[test]
fn memory_promises_no_durability() {
    let durability = |keys: &[(&str, &str)]| load_set(keys).map(|config| config.store.durability);
    assert_eq!(durability(&[]).unwrap(), Durability::Commit);
    assert_eq!(durability(&[("store.kind", "memory")]).unwrap(), Durability::None);
    assert_eq!(durability(&[("store.kind", "memory"), ("store.durability", "none")]).unwrap(), Durability::None);
    let error = error_of(load_set(&[("store.kind", "memory"), ("store.durability", "os")]));
    assert_eq!(
        error,
        "store.durability (--set): a store in memory keeps nothing; use \"none\", or store.kind = \"sqlite\""
    );
}

#[test]
fn files_that_cannot_be_read() {
    let error = error_of(load_file("listen = \"127.0.0.1:1\"\n\n[auth]\njwt_secret = hunter2\n"));
    assert!(error.contains("not valid TOML, line 4: ") && !error.contains("hunter2"), "{error}");
    let error = error_of(load_file("[auth]\njwt_secret = 12345\n"));
    assert!(error.ends_with("expected a string, got integer"), "{error}");
    let error = error_of(load_file("listen = 1\nlisten = 2\n"));
    assert!(error.contains("line 2"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let error = error_of(load(Some(directory.path()), Vec::new(), Environment::default()));
    assert!(error.contains("named by --config"), "{error}");
}

#[test]
fn a_running_server_takes_over_what_it_can() {
    let mut config = load_set(&[("auth.jwt_secret", "hunter2"), ("limits.strikes", "5")]).unwrap();
    let same = config.clone();
    assert_eq!(config.take_changes(&same), []);
    let new = load_set(&[
        ("auth.jwt_secret", "hunter3"),
        ("auth.issuer", "me"),
        ("listen", "127.0.0.1:9"),
        ("workers", "7"),
        ("limits.strikes", "0"),
        ("limits.connect_timeout", "1s"),
        ("log.level", "debug"),
        ("log.format", "json"),
    ]);
    let new = new.unwrap();
    let made = |line: &str| Change::Made(line.to_owned());
    assert_eq!(
        config.take_changes(&new),
        [
            Change::NeedsRestart("listen"),
            Change::NeedsRestart("workers"),
            Change::NeedsRestart("limits.connect_timeout"),
            made("limits.strikes: 5 is now 0"),
            made("auth.jwt_secret: changed"),
            made("auth.issuer: (not set) is now \"me\""),
            Change::NeedsRestart("log.format"),
            made("log.level: \"info\" is now \"debug\""),
        ]
    );
    assert_eq!((config.limits.strikes, config.listen, config.log.level), (0, same.listen, LogLevel::Debug));
    assert_eq!((config.auth.jwt_secret, config.log.format), (new.auth.jwt_secret, LogFormat::Text));
}
