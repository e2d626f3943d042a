//! SIGHUP of the real binary: what counts from then on, what the log says, and what becomes of connections.

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::PathBuf,
    process::{ChildStderr, Command},
    sync::mpsc::{Receiver, channel},
};

use support::{Client, PATIENCE, Server, run, token_by};
use tempfile::TempDir;

const OLD: &str = "the old secret, of thirty-two bytes or more";
const API_KEY: &str = "the-secret-of-the-operators-programs";
const NEW: &str = "the new secret, of thirty-two bytes or more";

/// A server with a configuration file, and its log.
struct Reloading {
    server: Server,
    directory: TempDir,
    lines: Receiver<String>,
}

impl Reloading {
    fn start(configuration: &str) -> Self {
        Self::start_at("127.0.0.1:0", configuration)
    }

    /// On an address; on that of the configuration, if this is empty.
    fn start_at(address: &str, configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chat.toml");
        fs::write(&path, configuration).unwrap();
        let mut server = Server::start_with_file_at(address, &path);
        let lines = follow(server.process.stderr.take().unwrap());
        Self { server, directory, lines }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("chat.toml")
    }

    /// Sends SIGHUP; the lines of the log until it is dealt with.
    fn hangup(&self) -> Vec<String> {
        while self.lines.try_recv().is_ok() {}
        let pid = self.server.process.id().to_string();
        assert!(Command::new("kill").args(["-s", "HUP", &pid]).status().unwrap().success());
        let mut lines = Vec::new();
        loop {
            lines.push(self.lines.recv_timeout(PATIENCE).expect("nothing was reloaded"));
            let last = lines.last().unwrap();
            if last.contains("reloaded") {
                return lines;
            }
        }
    }

    /// Reloads with this configuration.
    fn reload(&self, configuration: &str) -> String {
        fs::write(self.file(), configuration).unwrap();
        self.hangup().join("\n")
    }

    /// Reloads with a configuration that is refused, for this reason.
    fn refuses(&self, configuration: &str, reason: &str) {
        let log = self.reload(configuration);
        assert!(log.contains("ERROR") && log.contains("not reloaded: ") && log.contains(reason), "{log}");
        // Beside what the start may still have to say.
        assert_eq!(log.lines().filter(|line| line.contains("chat_server::reload")).count(), 1, "{log}");
    }

    /// The answer to a CONNECT with a token that is signed with this secret.
    async fn try_connect(&self, secret: &str) -> (Client, String) {
        self.try_token(&token_by(secret, "alice")).await
    }

    /// The answer to a CONNECT with this token.
    async fn try_token(&self, token: &str) -> (Client, String) {
        let mut client = self.server.open().await;
        client.send(&format!(r#"40{{"token":"{token}"}}"#)).await;
        let answer = client.until("4").await;
        (client, answer)
    }

    fn handshake(&self, origin: &str) -> String {
        self.handshake_with(&format!("Host: a\r\nOrigin: {origin}"))
    }

    fn handshake_with(&self, headers: &str) -> String {
        self.request("GET /socket.io/?EIO=4&transport=polling", headers, "")
    }

    /// The answer to a request: method and path, a header, a body.
    fn ask(&self, request: &str, header: &str, body: &str) -> String {
        self.request(request, &format!("Host: a\r\n{header}"), body)
    }

    /// Likewise, with all headers but those of the body.
    fn request(&self, request: &str, headers: &str, body: &str) -> String {
        let mut stream = std::net::TcpStream::connect(&self.server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{request} HTTP/1.1\r\n{headers}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
            Connection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// Keys of issuers, and tokens that are signed with them; they last until 2100.
struct Fixtures(serde_json::Value);

impl Fixtures {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/tests/tokens/tokens.json");
        Self(serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
    }

    fn pem(&self, key: &str) -> &str {
        self.0["keys"][key]["pem"].as_str().unwrap()
    }

    /// A JWKS of one key.
    fn set(&self, key: &str) -> String {
        let mut jwk = self.0["keys"][key]["jwk"].clone();
        jwk["kid"] = key.into();
        serde_json::json!({ "keys": [jwk] }).to_string()
    }

    /// A token by this key that names it.
    fn token(&self, key: &str) -> &str {
        let tokens = self.0["tokens"].as_array().unwrap();
        tokens.iter().find(|token| token["kid"] == key).unwrap()["token"].as_str().unwrap()
    }
}

/// The lines of a log, as they come.
fn follow(log: ChildStderr) -> Receiver<String> {
    let (lines, followed) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    followed
}

#[test]
fn secrets_are_replaced_without_a_connection_ending() {
    run(async {
        let server = Reloading::start(&format!("[auth]\njwt_secret = \"{OLD}\"\n"));
        let (mut living, answer) = server.try_connect(OLD).await;
        assert!(answer.starts_with("40"), "{answer}");
        assert!(server.try_connect(NEW).await.1.contains("token_invalid"));
        let log = server.reload(&format!("[auth]\njwt_secret = \"{NEW}\"\njwt_previous_secret = \"{OLD}\"\n"));
        assert!(log.contains("auth.jwt_secret: changed") && log.contains("auth.jwt_previous_secret: set"), "{log}");
        assert!(!log.contains("of thirty-two bytes"), "{log}");
        for secret in [OLD, NEW] {
            assert!(server.try_connect(secret).await.1.starts_with("40"), "{secret}");
        }
        let log = server.reload(&format!("[auth]\njwt_secret = \"{NEW}\"\n"));
        assert!(log.contains("auth.jwt_previous_secret: no longer set"), "{log}");
        assert!(server.try_connect(OLD).await.1.contains("token_invalid"));
        living.send(r#"421["message",{"message":"still here"}]"#).await;
        living.until(r#"431[{"ok":true"#).await;
    });
}

#[test]
fn limits_count_for_connections_that_are_there_already() {
    run(async {
        let auth = format!("[auth]\njwt_secret = \"{OLD}\"\n");
        let server = Reloading::start(&auth);
        let (mut client, _) = server.try_connect(OLD).await;
        client.send(r#"421["message",{"message":"12345"}]"#).await;
        client.until(r#"431[{"ok":true"#).await;
        let log = server.reload(&format!("{auth}[limits]\nmessage_length = 4\ntyping_rate = 1\n"));
        assert!(log.contains("limits.message_length: 4096 is now 4"), "{log}");
        assert!(log.contains("limits.typing_rate: 10 is now 1"), "{log}");
        client.send(r#"422["message",{"message":"12345"}]"#).await;
        assert!(client.until("432").await.contains("message_too_long"));
        // Back to the default, by taking it out.
        server.reload(&auth);
        client.send(r#"423["message",{"message":"12345"}]"#).await;
        client.until(r#"433[{"ok":true"#).await;
        server.reload(&format!("{auth}[limits]\nidle_timeout = \"1ms\"\n"));
        assert!(client.until("42[\"error\"").await.contains("idle_timeout"), "it was idle for so long already");
    });
}

#[test]
fn keys_of_the_api_are_revoked_and_given() {
    let configuration = |keys: &str| format!("[auth]\njwt_secret = \"{OLD}\"\n[http]\napi_key = [{keys}]\n");
    let [ops, app] = ["ops:the-secret-of-the-operators-programs", "app:the-secret-of-the-applications-server"];
    let server = Reloading::start(&configuration(&format!("\"{ops}\", \"{app}\"")));
    let ask = |key: &str| {
        let secret = key.split_once(':').unwrap().1;
        let answer = server.ask("GET /api/rooms", &format!("Authorization: Bearer {secret}"), "");
        answer.get(9..12).unwrap().to_owned()
    };
    assert_eq!([ask(ops), ask(app)], ["200", "200"]);
    let log = server.reload(&configuration(&format!("\"{app}\"")));
    assert!(log.contains("http.api_key: changed") && !log.contains("the-secret"), "{log}");
    assert_eq!([ask(ops), ask(app)], ["401", "200"]);
    server.reload(&configuration(""));
    assert_eq!([ask(ops), ask(app)], ["404", "404"]);
    server.reload(&configuration(&format!("\"{ops}\"")));
    assert_eq!([ask(ops), ask(app)], ["200", "401"]);
}

#[test]
fn limits_count_for_the_api_and_the_page_too() {
    let configuration = |length: usize| {
        format!(
            "limits.message_length = {length}\n[auth]\njwt_secret = \"{OLD}\"\n[http]\napi_key = \"ops:{API_KEY}\"\n"
        )
    };
    let server = Reloading::start(&configuration(100));
    let send = || {
        let key = format!("Authorization: Bearer {API_KEY}");
        server.ask("POST /api/messages", &key, r#"{"userId":"alice","message":"twenty characters..."}"#)
    };
    let settings = || server.ask("GET /page/settings.json", "Accept: */*", "");
    assert!(send().contains(" 200 ") && settings().contains(r#""messageLength":100"#));
    server.reload(&configuration(10));
    assert!(send().contains("message_too_long"), "{}", send());
    assert!(settings().contains(r#""messageLength":10}"#), "{}", settings());
}

#[test]
fn origins_change_for_new_connections() {
    let auth = format!("[auth]\njwt_secret = \"{OLD}\"\n");
    let server = Reloading::start(&auth);
    assert!(server.handshake("https://a.example").starts_with("HTTP/1.1 403"));
    let log = server.reload(&format!("{auth}[http]\nallow_origin = [\"https://a.example\"]\n"));
    assert!(log.contains(r#"http.allow_origin: [] is now ["https://a.example"]"#), "{log}");
    let answer = server.handshake("https://a.example").to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.contains("allow-origin: https://a.example"), "{answer}");
    assert!(server.handshake("https://b.example").starts_with("HTTP/1.1 403"));
}

#[test]
fn what_needs_a_restart_is_named_and_what_is_wrong_changes_nothing() {
    run(async {
        let auth = format!("[auth]\njwt_secret = \"{OLD}\"\n");
        let server = Reloading::start(&auth);
        let log = server.reload(&format!(
            "{auth}[engine]\nping_interval = \"1s\"\n[store]\nmax_age = \"1d\"\n[limits]\nstrikes = 7\nconnect_timeout = \"1s\"\n"
        ));
        for line in [
            "WARN",
            "engine.ping_interval: needs a restart",
            "store.max_age: needs a restart",
            "limits.connect_timeout: needs a restart",
            "limits.strikes: 20 is now 7",
            "changes=4",
        ] {
            assert!(log.contains(line), "{line}: {log}");
        }
        for (wrong, reason) in [
            (format!("[auth]\njwt_secret = \"{NEW}\"\n[limits]\nstrikes = \"many\"\n"), "limits.strikes (file"),
            (format!("[auth]\njwt_secret = \"{NEW}\"\n[auth\n"), "not valid TOML, line 3"),
            (format!("[auth]\njwt_secret = \"{NEW}\"\njwt_public_key = \"/nowhere\"\n"), "/nowhere cannot be read"),
            (format!("[auth]\njwt_secret = \"{NEW}\"\njwks = \"ftp://x\"\n"), "auth.jwks: a file"),
        ] {
            server.refuses(&wrong, reason);
            assert!(server.try_connect(OLD).await.1.starts_with("40"));
        }
        let log = server.reload(&format!("{auth}[log]\nlevel = \"debug\"\n"));
        assert!(log.contains("log.level: \"info\" is now \"debug\""), "{log}");
        assert!(server.try_connect(NEW).await.1.contains("token_invalid"));
        let debug = std::iter::from_fn(|| server.lines.recv_timeout(PATIENCE).ok())
            .find(|line| line.contains("CONNECT refused"));
        assert!(debug.is_some_and(|line| line.contains("DEBUG")));
        let log = server.reload(&format!("{auth}[log]\nlevel = \"info\"\n"));
        assert!(log.contains("changes=1"), "{log}");
        assert!(server.hangup().join("\n").contains("changes=0"));
    });
}

#[test]
fn development_mode_neither_begins_nor_ends_with_a_reload() {
    run(async {
        let configuration = format!("[auth]\njwt_secret = \"{OLD}\"\n");
        let server = Reloading::start(&configuration);
        for half in ["", "[limits]\nstrikes = 7\n"] {
            server.refuses(half, "auth.jwt_secret: no key is set any more");
            assert!(server.try_connect(OLD).await.1.starts_with("40"));
            assert!(server.handshake("http://localhost:5173").starts_with("HTTP/1.1 403"));
        }
        let data = server.server.data.as_ref().unwrap();
        assert!(!data.path().join("development.secret").exists(), "a secret was made");
        assert!(server.reload(&configuration).contains("changes=0"));

        let server = Reloading::start("");
        server.refuses(&configuration, "auth.jwt_secret: a key is set now");
        assert!(server.try_connect(OLD).await.1.contains("token_invalid"));
        let data = server.server.data.as_ref().unwrap();
        let secret = fs::read_to_string(data.path().join("development.secret")).unwrap();
        assert!(server.reload("[limits]\nstrikes = 7\n").contains("limits.strikes: 20 is now 7"));
        assert!(server.try_connect(secret.trim()).await.1.starts_with("40"));
    });
}

#[test]
fn what_may_be_served_is_judged_by_where_the_server_listens() {
    let configuration =
        |listen: &str, secret: &str| format!("listen = \"{listen}\"\n[auth]\njwt_secret = \"{secret}\"\n");
    let server = Reloading::start_at("", &configuration("0.0.0.0:0", OLD));
    // The new address needs a restart.
    server.refuses(&configuration("127.0.0.1:0", "short"), "auth.jwt_secret: shorter than 32 bytes");
    server.refuses("", "auth.jwt_secret: no key is set any more");
    assert!(server.reload(&configuration("127.0.0.1:0", NEW)).contains("listen: needs a restart"));
    let server = Reloading::start_at("", &configuration("127.0.0.1:0", "short"));
    assert!(server.reload(&configuration("0.0.0.0:0", "short2")).contains("auth.jwt_secret: changed"));
}

#[test]
fn a_change_of_the_level_is_logged_at_the_more_verbose_one() {
    let configuration = |level: &str| format!("[auth]\njwt_secret = \"{OLD}\"\n[log]\nlevel = \"{level}\"\n");
    let server = Reloading::start(&configuration("error"));
    for (level, line) in [
        ("info", r#"log.level: "error" is now "info""#),
        ("off", r#"log.level: "info" is now "off""#),
        ("info", r#"log.level: "off" is now "info""#),
        ("warn", r#"log.level: "info" is now "warn""#),
    ] {
        let log = server.reload(&configuration(level));
        assert!(log.contains(line) && log.contains("changes=1"), "{log}");
    }
}

#[test]
fn hosts_and_proxies_change_for_new_connections() {
    let auth = format!("[auth]\njwt_secret = \"{OLD}\"\n");
    let server = Reloading::start(&auth);
    let status = |headers: &str| server.handshake_with(headers)[9..12].to_owned();
    let [one, other] = ["Host: a.example", "Host: b.example"];
    assert_eq!([status(one), status(other)], ["200", "200"]);
    let log = server.reload(&format!("{auth}[http]\nhosts = [\"b.example\"]\n"));
    assert!(log.contains(r#"http.hosts: [] is now ["b.example"]"#), "{log}");
    assert_eq!([status(one), status(other)], ["403", "200"]);
    server.reload(&auth);
    assert_eq!([status(one), status(other)], ["200", "200"]);
    // A proxy on this machine says under which name the client knows the server: the page's origin is its own.
    let forwarded = "Host: a\r\nOrigin: http://a.example\r\nX-Forwarded-Host: a.example";
    assert_eq!(status(forwarded), "200");
    let log = server.reload(&format!("{auth}[http]\ntrusted_proxies = []\n"));
    assert!(log.contains(r#"http.trusted_proxies: ["loopback"] is now []"#), "{log}");
    assert_eq!(status(forwarded), "403");
    server.reload(&auth);
    assert_eq!(status(forwarded), "200");
}

#[test]
fn keys_in_files_and_of_issuers_are_replaced() {
    run(async {
        let (fixtures, directory) = (Fixtures::read(), tempfile::tempdir().unwrap());
        let [rsa, p256] = ["rsa", "p256"].map(|key| fixtures.token(key));
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let pem = write("key.pem", fixtures.pem("rsa"));
        let server = Reloading::start(&format!("[auth]\njwt_public_key = [\"{pem}\"]\n"));
        assert!(server.try_token(rsa).await.1.starts_with("40"));
        write("key.pem", fixtures.pem("p256"));
        let log = server.hangup().join("\n");
        assert!(
            log.contains("auth.jwt_public_key: the keys in its files changed") && log.contains("changes=1"),
            "{log}"
        );
        assert!(server.try_token(p256).await.1.starts_with("40"));
        assert!(server.try_token(rsa).await.1.contains("token_invalid"));

        let set = write("set.json", &fixtures.set("rsa"));
        let log = server.reload(&format!("[auth]\njwks = \"{set}\"\n"));
        assert!(log.contains("auth.jwks: (not set) is now"), "{log}");
        assert!(server.try_token(rsa).await.1.starts_with("40"));
        let other = write("other.json", &fixtures.set("p256"));
        server.reload(&format!("[auth]\njwks = \"{other}\"\n"));
        assert!(server.try_token(p256).await.1.starts_with("40"));
        assert!(server.try_token(rsa).await.1.contains("token_invalid"));
        // Nobody is at the new address yet: the old keys stay. What is secret about it is not in the log.
        let log = server.reload("[auth]\njwks = \"http://user:hunter2@127.0.0.1:1/keys?key=hunter2\"\n");
        assert!(log.contains(r#"is now "http://(hidden)@127.0.0.1:1/keys?(hidden)""#), "{log}");
        assert!(log.contains("the last keys stay") && !log.contains("hunter2"), "{log}");
        assert!(server.try_token(p256).await.1.starts_with("40"));
    });
}
