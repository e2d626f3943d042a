//! What operators run: `check` and `bench` against a running server, and `config --default`.

mod support;

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    process::Output,
    sync::Arc,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::PrivateKeyDer;
use support::{SECRET, Server, binary};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, rustls};

fn run(arguments: &[&str]) -> Output {
    binary().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The code, and what was printed.
fn outcome(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

/// The steps with the word in front of each: `ok connect`.
fn steps(printed: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let is_step = |line: &&str| ["ok ", "warn", "FAIL", "skip"].iter().any(|word| line.starts_with(word));
    printed.lines().filter(is_step).map(words).collect()
}

const ALL_WELL: [&str; 9] = [
    "ok connect",
    "ok alive",
    "ok ready",
    "ok metrics",
    "ok polling",
    "ok websocket",
    "ok token",
    "ok upgrade",
    "ok message",
];

/// Passes connections on to a server, in a thread of its own.
struct Proxy {
    address: SocketAddr,
}

impl Proxy {
    /// With TLS in front of the server, or, without, one that does not know WebSockets.
    fn start(server: &Server, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = server.address.clone();
        std::thread::spawn(move || {
            support::run(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((client, _)) = listener.accept().await {
                    let (tls, upstream) = (tls.clone(), upstream.clone());
                    tokio::spawn(async move {
                        match tls {
                            Some(tls) => end_tls(&tls, client, &upstream).await,
                            None => without_web_sockets(client, &upstream).await,
                        }
                    });
                }
            });
        });
        Self { address }
    }
}

async fn end_tls(tls: &TlsAcceptor, client: TcpStream, upstream: &str) {
    // A client that does not trust the certificate goes away.
    let Ok(mut client) = tls.accept(client).await else { return };
    let mut server = TcpStream::connect(upstream).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// As nginx without `proxy_http_version` and the two headers: the request arrives, but not the upgrade.
async fn without_web_sockets(mut client: TcpStream, upstream: &str) {
    let mut head = [0; 64];
    let length = client.peek(&mut head).await.unwrap_or(0);
    if text(&head[..length]).contains("transport=websocket") {
        let mut request = [0; 4096];
        let _ = client.read(&mut request).await;
        let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\nserver: old-proxy\r\ncontent-length: 0\r\n\r\n").await;
        return;
    }
    let mut server = TcpStream::connect(upstream).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

#[test]
fn a_server_that_works_passes_every_check() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address);
    let own = run(&["check", &url, "--jwt-secret", SECRET, "--origin", &url]);
    let (code, printed, errors) = outcome(&own);
    let expected: Vec<&str> = ALL_WELL.into_iter().chain(["ok origin"]).collect();
    assert_eq!(
        (code, steps(&printed)),
        (Some(0), expected.iter().map(|step| (*step).to_owned()).collect()),
        "{printed}{errors}"
    );
    assert!(printed.ends_with("10 passed, 0 failed, 0 skipped; 0 warnings\n"), "{printed}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, support::token("alice") + "\n").unwrap();
    let file = file.to_str().unwrap();
    let given = run(&["check", &url, "--token-file", file, "--room", "tea", "--read-only"]);
    let (code, printed, errors) = outcome(&given);
    assert_eq!(
        (code, steps(&printed).last().map(String::as_str)),
        (Some(0), Some("skip message")),
        "{printed}{errors}"
    );
}

/// As the health check of the Dockerfile, which runs twice a minute with the secret of the server in its environment.
#[test]
fn a_check_without_a_token_writes_no_message_though_there_is_a_secret() {
    let server = Server::start(&[]);
    let output = run(&["check", &format!("http://{}", server.address), "--jwt-secret", SECRET, "--no-token"]);
    let (code, printed, errors) = outcome(&output);
    assert_eq!(code, Some(0), "{printed}{errors}");
    assert!(printed.ends_with("6 passed, 0 failed, 3 skipped; 0 warnings\n"), "{printed}");
}

#[test]
fn heartbeats_are_waited_for() {
    let server = Server::start(&["engine.ping_interval=300ms", "engine.ping_timeout=10s"]);
    let output = run(&["check", &format!("http://{}", server.address), "--jwt-secret", SECRET, "--heartbeat"]);
    let (code, printed, errors) = outcome(&output);
    assert_eq!(
        (code, steps(&printed).last().map(String::as_str)),
        (Some(0), Some("ok heartbeat")),
        "{printed}{errors}"
    );
}

#[test]
fn failures_are_named_and_come_with_advice() {
    let server = Server::start(&["rooms.default_access=none"]);
    let url = format!("http://{}", server.address);
    let other = "another secret of thirty-two bytes or more";
    let token = support::token("alice");
    let without_http = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", without_http.local_addr().unwrap());
    drop(without_http);
    for (arguments, failed, advice) in [
        (&["check", &url, "--jwt-secret", other][..], "FAIL token", "another secret"),
        (&["check", &url, "--token", &token], "FAIL message", "--room"),
        (&["check", &nobody], "FAIL connect", "does the server run"),
        (&["check", &url, "--jwt-secret", SECRET, "--origin", "https://a.example"], "FAIL origin", "http.allow_origin"),
    ] {
        let (code, printed, errors) = outcome(&run(arguments));
        assert_eq!(code, Some(1), "{printed}{errors}");
        assert!(steps(&printed).iter().any(|step| step == failed), "{failed}: {printed}");
        assert!(printed.lines().any(|line| line.contains("->") && line.contains(advice)), "{advice}: {printed}");
        assert_eq!(errors, format!("error: failed: {}\n", failed.trim_start_matches("FAIL ")));
    }
    for wrong in ["127.0.0.1:3000", "ftp://127.0.0.1", "http://a:b@127.0.0.1"] {
        let (code, printed, errors) = outcome(&run(&["check", wrong]));
        assert_eq!((code, printed.as_str(), errors.lines().count()), (Some(2), "", 1), "{errors}");
    }
}

#[test]
fn a_proxy_without_web_sockets_is_recognised() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server, None);
    let output = run(&["check", &format!("http://{}", proxy.address), "--jwt-secret", SECRET]);
    let (code, printed, errors) = outcome(&output);
    let expected = ["ok polling", "FAIL websocket", "ok token", "skip upgrade", "skip message"];
    assert_eq!((code, &steps(&printed)[4..]), (Some(1), &expected.map(str::to_owned)[..]), "{printed}{errors}");
    assert!(printed.contains("old-proxy") && printed.contains("proxy_http_version 1.1"), "{printed}");
}

#[test]
fn through_tls() {
    let server = Server::start(&[]);
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let proxy = Proxy::start(&server, Some(TlsAcceptor::from(Arc::new(config))));
    let mut authority = tempfile::NamedTempFile::new().unwrap();
    authority.write_all(cert.pem().as_bytes()).unwrap();
    let authority = authority.path().to_str().unwrap();

    let url = format!("https://localhost:{}", proxy.address.port());
    let (code, printed, errors) = outcome(&run(&["check", &url, "--jwt-secret", SECRET, "--ca", authority]));
    assert_eq!((code, steps(&printed)), (Some(0), ALL_WELL.map(str::to_owned).to_vec()), "{printed}{errors}");
    assert!(printed.contains("TLSv1_3"), "{printed}");
    let load = ["bench", &url, "--jwt-secret", SECRET, "--ca", authority, "--connections", "4", "--duration", "1s"];
    let (code, printed, errors) = outcome(&run(&load));
    assert_eq!(code, Some(0), "{printed}{errors}");

    // The operating system's authorities alone, of which this is none: so some of them must be there.
    let (code, printed, errors) = outcome(&run(&["check", &url, "--jwt-secret", SECRET]));
    assert_eq!(code, Some(1), "{printed}{errors}");
    assert!(printed.contains("--ca") || errors.contains("--ca"), "{printed}{errors}");
}

#[test]
fn a_load_is_counted() {
    let server = Server::start(&[]);
    let (url, pid) = (format!("http://{}", server.address), server.process.id().to_string());
    let mut load = vec!["bench", &url, "--jwt-secret", SECRET, "--connections", "20", "--rooms", "2", "--rate", "50"];
    load.extend(["--duration", "1s", "--connect-rate", "1000", "--pid", &pid]);
    let (code, printed, errors) = outcome(&run(&load));
    assert_eq!(code, Some(0), "{printed}{errors}");
    for line in [
        "connections  20 of 20 in ",
        "messages     50 in ",
        "deliveries   500 of 500\n",
        "server       memory ",
        "CPU ",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert!(printed.contains("50 acknowledged, 0 refused, 0 unanswered, 0 not sent"), "{printed}");

    // Forty messages at once are allowed, and one a second: most of these are refused, and the report says so.
    let alone = ["bench", &url, "--jwt-secret", SECRET, "--connections", "1", "--rate", "200", "--duration", "1s"];
    let (code, printed, errors) = outcome(&run(&alone));
    assert_eq!(code, Some(0), "{printed}{errors}");
    assert!(printed.contains(" x rate_limited"), "{printed}");
}

#[test]
fn a_load_that_nobody_takes() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address);
    let other = "another secret of thirty-two bytes or more";
    let refused = ["bench", &url, "--jwt-secret", other, "--connections", "2"];
    let (code, printed, errors) = outcome(&run(&refused));
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    assert!(errors.starts_with("error: no user got in: 2 x ") && errors.contains("token_invalid"), "{errors}");
    assert!(errors.contains("--config or --jwt-secret-file"), "what to do about it: {errors}");
    for (flag, value) in [("--connections", "0"), ("--connections", "1000000"), ("--duration", "1h"), ("--rate", "-1")]
    {
        let (code, _, errors) = outcome(&run(&["bench", &url, "--jwt-secret", SECRET, flag, value]));
        assert_eq!((code, errors.lines().count()), (Some(2), 1), "{errors}");
    }
}

#[test]
fn the_default_configuration_file_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chat.toml");
    let (code, printed, errors) = outcome(&run(&["config", "--default"]));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(
        printed.contains("\n# Messages of one user.\n# Value: events per second. Default:\n#message_rate = 20\n"),
        "{printed}"
    );
    std::fs::write(&file, printed).unwrap();
    let with_file = run(&["config", "--config", file.to_str().unwrap()]);
    assert_eq!(outcome(&with_file), outcome(&run(&["config"])));
    let (code, _, errors) = outcome(&run(&["config", "--default", "--workers", "2"]));
    assert_eq!(code, Some(2), "{errors}");
}

#[test]
fn a_server_with_an_address_for_the_operator_is_asked_there() {
    let server = Server::start(&["http.admin_listen=127.0.0.1:0"]);
    let (url, admin) = (format!("http://{}", server.address), server.admin.clone().unwrap());
    let listen = format!("http.admin_listen={admin}");
    let admin = format!("http://{admin}");
    for arguments in [["--admin", admin.as_str()], ["--set", listen.as_str()]] {
        let output =
            run(&[["check", &url, "--jwt-secret", SECRET], [arguments[0], arguments[1], "--timeout", "10s"]].concat());
        let (code, printed, errors) = outcome(&output);
        assert_eq!((code, &steps(&printed)[..]), (Some(0), &ALL_WELL.map(str::to_owned)[..]), "{printed}{errors}");
        assert!(printed.contains("/metrics is there"), "{printed}");
    }
    // What is named there has to answer; the chat's own address does not.
    let (code, printed, _) = outcome(&run(&["check", &url, "--jwt-secret", SECRET, "--admin", &url]));
    assert_eq!(
        (code, &steps(&printed)[1..3]),
        (Some(1), &["FAIL alive", "FAIL ready"].map(str::to_owned)[..]),
        "{printed}"
    );
    // Without it nobody can tell whether the server is ready.
    let (code, printed, _) = outcome(&run(&["check", &url, "--jwt-secret", SECRET]));
    assert_eq!((code, steps(&printed)[2].as_str()), (Some(0), "warn ready"), "{printed}");
    assert!(printed.contains("--admin"), "{printed}");
}
