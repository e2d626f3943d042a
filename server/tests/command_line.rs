//! The real binary: what it prints where, and the code it ends with.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The binary in an empty directory, without any `CHAT_` variable of the machine.
fn binary(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    command.current_dir(directory).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    binary(directory.path()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The output failed with `code`, printed nothing, and said what is wrong in one line, which is returned.
fn one_line(output: &Output, code: i32) -> &str {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert_eq!(text(&output.stdout), "");
    assert!(line.starts_with("error: ") && line.ends_with('\n') && line.lines().count() == 1, "{line}");
    line
}

fn payload(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A server that is stopped whatever becomes of the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn faults_are_one_line_and_code_2() {
    for (arguments, expected) in [
        (&["--listn", "x"][..], "--listn"),
        (&["nope"], "nope"),
        (&["--listen"], "--listen"),
        (&["--listen", "a", "--listen", "b"], "--listen"),
        (&["token"], "--sub"),
        (&["token", "--sub", "a", "--expires", "soon"], "--expires"),
        (&["token", "--sub", ""], "--sub: "),
        (&["token", "--sub", "a\nb"], "--sub: "),
        (&["token", "--sub", "a", "--rooms", "a,,b"], "--rooms: "),
        (&["token", "--sub", "a", "--name", "\u{7}"], "--name: "),
        (&["token", "--sub", "a", "--expires", "9999999999y"], "--expires"),
        (&["token", "--sub", "a", "--expires", "0s", "--set", "auth.leeway=0s"], "token_expired"),
        (&["--set", "limits.message_rate"], "--set: "),
        (&["--set", "nope=1"], "nope (--set): "),
        (&["--set", "no\npe=1"], "no pe (--set): "),
        (&["--set", "limits.strikes=x"], "limits.strikes (--set): "),
        (&["--listen", "here"], "listen (--listen): "),
        (&["serve", "--listen", "here"], "listen (--listen): "),
        (
            &["--listen", "127.0.0.1:0", "serve", "--set", "listen=127.0.0.1:0"],
            "listen: given both by --listen and by --set",
        ),
        (&["--config", "a", "serve", "--config", "b"], "--config: given twice"),
        (&["--config", "nowhere.toml"], "nowhere.toml"),
        (&["config", "--set", "limits.outbound_hard=0"], "limits.outbound_hard (--set): "),
        (&["--workers", "0"], "workers (--workers): must be 1 to 1024"),
        (&["--jwks", "ftp://x"], "auth.jwks: a file, an https://"),
        (&["--jwt-public-key", "/nowhere/x"], "auth.jwt_public_key: /nowhere/x cannot be read: "),
        (&["--api-key", "ops:"], "http.api_key (--api-key): the secret of"),
        (&["--api-key", "a:x,a:y"], "http.api_key (--api-key): two keys are named"),
        (&["--set", "http.api_key_file=nowhere"], "http.api_key_file (--set): cannot read nowhere: "),
        (&["--set", "webhooks.url=ftp://a"], "webhooks.url (--set): must be an http"),
        (&["--set", "webhooks.url=https://a"], "webhooks.secret: not set"),
        (&["--set", "webhooks.secret=whsec_notbase64!!"], "webhooks.secret (--set): begins with whsec_, but"),
        (&["--set", "webhooks.secret=whsec_"], "webhooks.secret (--set): begins with whsec_, but"),
        (&["--set", "webhooks.previous_secret=x"], "webhooks.previous_secret (--set): needs webhooks.secret"),
        (&["--tls-cert", "x"], "tls.cert (--tls-cert): needs tls.key beside it"),
        (&["--tls-key", "x"], "tls.key (--tls-key): needs tls.cert beside it"),
        (&["--tls-cert", "/nowhere/x", "--tls-key", "y"], "tls.cert: /nowhere/x cannot be read: "),
        (&["--allow-origin", "a/"], "http.allow_origin (--allow-origin): "),
        (&["--log", "xml"], "log.format (--log): "),
        (&["--log-level", "loud"], "log.level (--log-level): "),
        (&["--listen", "0.0.0.0:0"], "auth.jwt_secret: not set"),
        (&["--listen", "0.0.0.0:0", "--jwt-secret", "short"], "auth.jwt_secret: shorter than 32 bytes"),
        (&["--jwt-secret-file", "nowhere"], "auth.jwt_secret_file (--jwt-secret-file): cannot read nowhere: "),
        (&["--jwt-secret-file", "a", "--jwt-secret", "b"], "auth.jwt_secret_file (--jwt-secret-file): given beside"),
        (&["--data-dir", "/dev/null/data"], "data_dir: "),
    ] {
        let output = run(arguments);
        let line = one_line(&output, 2);
        assert!(line.contains(expected), "{arguments:?}: {line}");
    }
}

#[test]
fn config_refuses_what_serve_refuses() {
    for arguments in [
        &["--listen", "0.0.0.0:0"][..],
        &["--listen", "0.0.0.0:0", "--jwt-secret", "short"],
        &["--api-key", "ops:short", "--set", "http.admin_listen=0.0.0.0:0"],
        &["--set", "auth.jwt_public_key=nowhere"],
        &["--tls-cert", "nowhere", "--tls-key", "nowhere"],
    ] {
        let [served, judged] = ["serve", "config"].map(|action| run(&[arguments, &[action]].concat()));
        assert_eq!(one_line(&served, 2), one_line(&judged, 2), "{arguments:?}");
    }
}

#[test]
fn no_fault_repeats_a_secret() {
    for arguments in [
        &["--set", "hunter2"][..],
        &["--set", "auth.jwt_secrt=hunter2"],
        &["--jwt-secrt=hunter2"],
        &["--api-key", "hunter2 hunter2"],
        &["--api-key", "a:hunter2,a:hunter2"],
        &["--set", "webhooks.url=https://hunter2@a", "--set", "webhooks.secret=hunter2"],
        &["--jwt-secret", "hunter2", "--set", "auth.jwt_secret=hunter2"],
        &["--jwt-secret", "-----BEGIN hunter2"],
        &["--jwks", "https://user:hunter2@?key=hunter2"],
        &["--jwks", "https:/user:hunter2@a.example/?x=http://"],
        &["--jwks", "hunter2://a.example"],
        &["--jwks", "https://a:hunter2@a b"],
        &["--set", "auth.jwks=['https://hunter2@a.example', 7]", "--set", "auth.jwks=https://hunter2@a.example"],
        &["--set", "webhooks.url=a?hunter2", "--set", "webhooks.secret=hunter2"],
    ] {
        let output = run(arguments);
        let line = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[test]
fn help_and_version() {
    for (arguments, expected) in [
        (&["--help"][..], "chat-server config"),
        (&["-h"], "--jwt-secret"),
        (&["serve", "--help"], "--listen"),
        (&["token", "--help"], "--expires"),
        (&["--version"], concat!("chat-server ", env!("CARGO_PKG_VERSION"))),
    ] {
        let output = run(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
        assert!(text(&output.stdout).contains(expected), "{arguments:?}");
    }
}

#[test]
fn config_prints_what_it_would_take_back() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("in.toml"), "[limits]\nstrikes = 1\nmessage_burst = 1\n").unwrap();
    let jwks = ["--jwks", "https://user:hunter2@id.example/keys?key=hunter2"];
    let output = binary(directory.path())
        .args(["--config", "in.toml", "config", "--set", "limits.strikes=3", "--jwt-secret", "hunter2"])
        .args(jwks)
        .env("CHAT_LIMITS__MESSAGE_BURST", "2")
        .env("CHAT_NOPE", "1")
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(printed.contains("\nstrikes = 3\n") && printed.contains("\nmessage_burst = 2\n"), "{printed}");
    assert!(!printed.contains("hunter2") && !text(&output.stderr).contains("hunter2"));
    assert!(text(&output.stderr).contains("CHAT_NOPE"), "a warning");
    std::fs::write(directory.path().join("out.toml"), printed).unwrap();
    let again = binary(directory.path())
        .args(["config", "--config", "out.toml", "--jwt-secret", "x"])
        .args(jwks)
        .output()
        .unwrap();
    assert_eq!(text(&again.stdout), printed);
    let refused = binary(directory.path()).arg("config").env("CHAT_LIMITS__NOPE", "1").output().unwrap();
    assert!(one_line(&refused, 2).contains("limits.nope (variable CHAT_LIMITS__NOPE): unknown key"));
}

#[test]
fn token_prints_the_token_and_nothing_else() {
    let output =
        run(&["token", "--sub", "alice", "--name", "Alice", "--rooms", "a,b", "--expires", "2h", "--jwt-secret", "s"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let token = text(&output.stdout).strip_suffix('\n').unwrap();
    let claims = payload(token);
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["name"], "Alice");
    assert_eq!(claims["rooms"], serde_json::json!(["a", "b"]));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 7200);

    let output = run(&["--jwt-secret", "s", "token", "--sub", "alice"]);
    let claims = payload(text(&output.stdout).trim_end());
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
    assert!(claims.get("name").is_none() && claims.get("rooms").is_none());
}

#[test]
fn token_uses_the_development_secret_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let token = || {
        let output = binary(directory.path()).args(["token", "--sub", "a", "--data-dir", "here"]).output().unwrap();
        let said = "no secret is configured: signed with here/development.secret, which only a server in development mode \
                    with this data directory accepts\n";
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), said));
        let token = text(&output.stdout).strip_suffix('\n').unwrap();
        assert!(!token.contains(char::is_whitespace), "the token and nothing else: {token:?}");
        token.to_owned()
    };
    token();
    let file = directory.path().join("here/development.secret");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = std::fs::read_to_string(&file).unwrap();
    let key = jsonwebtoken::EncodingKey::from_secret(secret.trim().as_bytes());
    let made = token();
    let (message, signature) = made.rsplit_once('.').unwrap();
    let expected = jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    assert_eq!(signature, expected, "the second token is signed with the secret of the first");
}

#[test]
fn bench_says_that_it_signs_with_the_development_secret() {
    let directory = tempfile::tempdir().unwrap();
    // Nothing listens there.
    let bench = ["bench", "http://127.0.0.1:1", "--connections", "1", "--data-dir", "here"];
    let output = binary(directory.path()).args(bench).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{said}");
    assert!(said.starts_with("no secret is configured: signed with here/development.secret, "), "{said}");
    assert!(said.contains("no user got in") && !said.contains("--jwt-secret-file"), "no token was refused: {said}");
}

#[test]
fn token_takes_the_secret_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret"), "from a file\n").unwrap();
    let token = |arguments: &[&str]| {
        let output = binary(directory.path()).args(["token", "--sub", "a"]).args(arguments).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        text(&output.stdout).trim_end().to_owned()
    };
    let made = token(&["--jwt-secret-file", "secret"]);
    let (message, signature) = made.rsplit_once('.').unwrap();
    let key = jsonwebtoken::EncodingKey::from_secret(b"from a file");
    let expected = jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    assert_eq!(signature, expected, "signed without the line break");
}

#[test]
fn development_mode_refuses_a_secret_that_others_can_read() {
    let directory = tempfile::tempdir().unwrap();
    let run = || binary(directory.path()).args(["token", "--sub", "a", "--data-dir", "here"]).output().unwrap();
    assert!(run().status.success());
    let file = directory.path().join("here/development.secret");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(one_line(&run(), 2).contains("others than its owner"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(run().status.success());
    let moved = directory.path().join("moved");
    std::fs::rename(&file, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &file).unwrap();
    assert!(one_line(&run(), 2).contains("it is a link"));
}

#[test]
fn a_taken_port_is_one_line_and_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // A short secret deserves a warning, which must not come before the refusal.
    let output = run(&["--listen", &address, "--jwt-secret", "s"]);
    assert!(one_line(&output, 1).contains(&address));
}

#[test]
fn development_mode_prints_the_address_and_ready_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = binary(directory.path());
    command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Server(command.spawn().unwrap());
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let port = first.strip_prefix("listening on http://127.0.0.1:").unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    for name in ["alice", "bob", "carol"] {
        let line = lines.next().unwrap();
        let token = line.strip_prefix(&format!("token {name} ")).unwrap();
        assert_eq!(payload(token)["sub"], name);
    }
}

#[test]
fn with_a_secret_there_is_no_development_mode() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = binary(directory.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--jwt-secret", "s", "--log-level", "off"]);
    let mut server = Server(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut output = BufReader::new(server.0.stdout.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    assert!(first.starts_with("listening on http://127.0.0.1:"), "{first}");
    let kill = Command::new("kill").arg(server.0.id().to_string()).status().unwrap();
    assert!(kill.success());
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "no token is printed");
    assert!(!directory.path().join("data/development.secret").exists(), "no secret is made");
}

#[test]
fn secrets_of_the_command_line_are_not_in_what_ps_shows() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = binary(directory.path());
    command.args(["--listen", "127.0.0.1:0", "--jwt-secret", "hunter2", "--set", "http.api_key=ops:hunter3 hunter3"]);
    command.args(["--api-key=ops:hunter2", "--set=auth.jwt_previous_secret=hunter2"]);
    let refused = command.output().unwrap();
    assert!(one_line(&refused, 2).contains("http.api_key: given both by --set and by --api-key"), "names stay right");

    let mut command = binary(directory.path());
    command.args(["--listen", "127.0.0.1:0", "--jwt-secret", "hunter2"]);
    command.args(["--api-key=ops:hunter3", "--set=auth.jwt_previous_secret=hunter2"]);
    let mut server = Server(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("listening on "), "{first}");
    let shown = std::fs::read(format!("/proc/{}/cmdline", server.0.id())).unwrap();
    let shown = text(&shown).replace('\0', " ");
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("--jwt-secret hidden --api-key=hidden --set=auth.jwt_previous_secret=hidden"), "{shown}");
    // The variables are for the owner only.
    let mode = std::fs::metadata(format!("/proc/{}/environ", server.0.id())).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
    assert!(Command::new("kill").arg(server.0.id().to_string()).status().unwrap().success());
    let mut log = String::new();
    server.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let warned = log.matches("every user of this machine can read a command line until it is hidden").count();
    assert_eq!((warned, log.contains("hunter")), (3, false), "{log}");
}

#[test]
fn a_token_of_the_command_line_is_not_in_what_ps_shows() {
    let directory = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let mut command = binary(directory.path());
    command.args(["check", &url, "--token", "hunter2"]).stdout(Stdio::null()).stderr(Stdio::null());
    let check = Server(command.spawn().unwrap());
    // It connects when it has begun to work.
    let _connection = server.accept().unwrap();
    let shown = std::fs::read(format!("/proc/{}/cmdline", check.0.id())).unwrap();
    assert!(text(&shown).ends_with("--token\0hidden\0"), "{}", text(&shown));
}

#[test]
fn systemd_is_told_when_the_server_is_ready_and_when_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).unwrap();
        text(&message[..length]).trim_end().to_owned()
    };
    let mut command = binary(directory.path());
    command.env("NOTIFY_SOCKET", &path).args(["--listen", "127.0.0.1:0", "--jwt-secret", "hunter2"]);
    let mut server = Server(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    assert_eq!(told(), "READY=1");
    let mut first = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let address = first.trim_end().strip_prefix("listening on http://").unwrap();
    TcpStream::connect(address).unwrap();
    assert!(Command::new("kill").arg(server.0.id().to_string()).status().unwrap().success());
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_whose_command_line_cannot_be_hidden_survives_broken_pipes() {
    let directory = tempfile::tempdir().unwrap();
    // One argument may have 128 KiB. With the name of its variable it is too long, so the program cannot be started again.
    let secret = "x".repeat(131_060);
    let mut command = binary(directory.path());
    command.args(["--listen", "127.0.0.1:0", "--jwt-secret", &secret, "--log-level", "warn"]);
    let mut server = Server(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("listening on "), "{first}");
    let kill = |signal: &str| Command::new("kill").args([signal, &server.0.id().to_string()]).status().unwrap();
    assert!(kill("-PIPE").success() && kill("-TERM").success());
    let mut log = String::new();
    server.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("the command line cannot be hidden"), "{log}");
    assert_eq!(server.0.wait().unwrap().code(), Some(0), "{log}");
}

#[test]
fn a_variable_in_which_another_process_hid_an_argument_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = binary(directory.path());
    command.args(["token", "--sub", "hidden", "--jwt-secret", "a secret of thirty-two bytes, at least"]);
    // The third argument. No process has the id 0.
    command.env("CHATSERVER_ARGUMENT_3", "another").env("CHATSERVER_ARGUMENT_0_3", "another");
    let output = command.output().unwrap();
    assert_eq!(payload(text(&output.stdout).trim_end())["sub"], "hidden", "{output:?}");
}
