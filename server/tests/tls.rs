//! TLS of the real binary: every transport through it, other shards, PROXY protocol, new certificates, and peers that speak something
//! else. The official client is in conformance/tls.test.mjs.

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{ChildStderr, Command},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use support::{Client, PATIENCE, Server, run, token};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, client::Resumption, pki_types::ServerName},
};
use tokio_tungstenite::client_async;

/// Writes a new certificate and its key into a directory; what a client that trusts it, and nobody else, connects with.
fn issue(directory: &Path) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// A server with TLS.
struct TlsServer {
    server: Server,
    directory: TempDir,
    trust: Arc<ClientConfig>,
    log: mpsc::Receiver<String>,
}

impl TlsServer {
    fn start(keys: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let trust = issue(directory.path());
        let file = |name: &str| format!("tls.{name}={}", directory.path().join(format!("{name}.pem")).display());
        let (cert, key) = (file("cert"), file("key"));
        let keys: Vec<&str> = [&*cert, &*key, "log.level=info"].iter().chain(keys).copied().collect();
        let mut server = Server::start_logging(&keys);
        let log = follow(server.process.stderr.take().unwrap());
        Self { server, directory, trust, log }
    }

    async fn stream(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(&self.server.address).await.unwrap();
        handshake(tcp, &self.trust).await.unwrap()
    }

    async fn open(&self) -> Client<TlsStream<TcpStream>> {
        let url = "ws://localhost/socket.io/?EIO=4&transport=websocket";
        Client(client_async(url, self.stream().await).await.unwrap().0)
    }

    async fn connect(&self, sub: &str) -> Client<TlsStream<TcpStream>> {
        let mut client = self.open().await;
        client.send(&format!(r#"40{{"token":"{}"}}"#, token(sub))).await;
        client.until("40").await;
        client
    }

    /// An HTTP request in a connection of its own.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.stream().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It fails for a server that closes without a word.
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Sends SIGHUP; the lines of the log until it is dealt with.
    fn reload(&self) -> String {
        while self.log.try_recv().is_ok() {}
        let pid = self.server.process.id().to_string();
        assert!(Command::new("kill").args(["-s", "HUP", &pid]).status().unwrap().success());
        let mut lines = String::new();
        while !lines.contains("reloaded") {
            lines.push_str(&self.log.recv_timeout(PATIENCE).expect("nothing was reloaded"));
            lines.push('\n');
        }
        lines
    }
}

fn follow(log: ChildStderr) -> mpsc::Receiver<String> {
    let (lines, followed) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    followed
}

async fn handshake(tcp: TcpStream, trust: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::clone(trust)).connect(name, tcp);
    tokio::time::timeout(PATIENCE, connecting).await.unwrap()
}

fn polling(method: &str, query: &str, body: &str) -> String {
    format!(
        "{method} /socket.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn every_transport_works_and_so_do_sessions_of_other_shards() {
    for workers in ["workers=1", "workers=3"] {
        run(async {
            let server = TlsServer::start(&[workers]);
            let mut alice = server.connect("alice").await;
            // Each request in a connection of its own, which may come to any shard.
            for sub in ["bob", "carol", "dave"] {
                let open = server.ask(&polling("GET", "", "")).await;
                assert!(open.starts_with("HTTP/1.1 200"), "{open}");
                let sid = open.split_once(r#""sid":""#).unwrap().1.split_once('"').unwrap().0;
                let query = format!("&sid={sid}");
                let connect = format!(r#"40{{"token":"{}"}}"#, token(sub));
                assert!(server.ask(&polling("POST", &query, &connect)).await.ends_with("ok"));
                let connected = server.ask(&polling("GET", &query, "")).await;
                assert!(connected.contains("\r\n\r\n40{"), "{connected}");
                let message = format!(r#"42["message",{{"message":"from {sub}"}}]"#);
                assert!(server.ask(&polling("POST", &query, &message)).await.ends_with("ok"));
                assert!(alice.until(r#"42["message""#).await.contains(&format!("from {sub}")));
            }
            let page = server.ask("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
            assert!(page.starts_with("HTTP/1.1 200") && page.contains("<html"), "{page}");
        });
    }
}

#[test]
fn a_reader_that_pauses_gets_everything_in_order() {
    run(async {
        let server = TlsServer::start(&["limits.message_rate=0", "limits.message_bytes_rate=0"]);
        let (mut alice, mut bob) = (server.connect("alice").await, server.connect("bob").await);
        let text = "x".repeat(4000);
        // More than the buffers of the kernel and of TLS hold, less than the limit of a queue.
        for n in 0..200 {
            alice.send(&format!(r#"42{n}["message",{{"message":"{n} {text}"}}]"#)).await;
            alice.until(&format!(r#"43{n}[{{"ok":true"#)).await;
        }
        for n in 0..200 {
            let got = bob.until(r#"42["message""#).await;
            assert!(got.contains(&format!(r#""message":"{n} xxx"#)), "{n}: {}", &got[..80]);
        }
        // The other way: much at once, in one direction only.
        let many: String = (0..50).map(|n| format!(r#"{{"n":{n}}},"#)).collect();
        bob.send(&format!(
            r#"42["message",{{"message":"list","context":{{"list":[{}]}}}}]"#,
            many.trim_end_matches(',')
        ))
        .await;
        assert!(alice.until(r#"42["message","#).await.len() > 400);
    });
}

#[test]
fn a_new_certificate_is_for_new_connections_and_a_bad_one_for_none() {
    run(async {
        let mut server = TlsServer::start(&[]);
        let mut living = server.connect("living").await;
        // With a ticket the old certificate would not be looked at again.
        let mut old = ClientConfig::clone(&server.trust);
        old.resumption = Resumption::disabled();
        let old = Arc::new(old);
        server.trust = issue(server.directory.path());
        assert!(server.reload().contains("tls.cert: the certificate in its file changed"));
        let mut new = server.connect("new").await;
        let tcp = TcpStream::connect(&server.server.address).await.unwrap();
        assert!(handshake(tcp, &old).await.is_err(), "the old certificate is still shown");
        let file = |name: &str| -> PathBuf { server.directory.path().join(name) };
        let (cert, key) = (fs::read(file("cert.pem")).unwrap(), fs::read(file("key.pem")).unwrap());
        let elsewhere = tempfile::tempdir().unwrap();
        issue(elsewhere.path());
        let other_key = fs::read(elsewhere.path().join("key.pem")).unwrap();
        for (name, content, reason) in [
            ("cert.pem", &b"no certificate"[..], "tls.cert: "),
            ("cert.pem", &cert[..cert.len() / 2], "tls.cert: "),
            ("key.pem", &other_key, "is not the key of the certificate"),
            ("key.pem", &cert, "holds no private key"),
        ] {
            fs::write(file("cert.pem"), &cert).unwrap();
            fs::write(file("key.pem"), &key).unwrap();
            fs::write(file(name), content).unwrap();
            let log = server.reload();
            assert!(log.contains("not reloaded: ") && log.contains(reason) && log.lines().count() == 1, "{log}");
            assert!(!log.contains("-----BEGIN"), "{log}");
            drop(server.connect("another").await);
        }
        for client in [&mut living, &mut new] {
            client.send(r#"421["message",{"message":"still here"}]"#).await;
            client.until(r#"431[{"ok":true"#).await;
        }
    });
}

#[test]
fn a_header_of_the_proxy_protocol_comes_before_the_handshake() {
    run(async {
        let server = TlsServer::start(&["http.proxy_protocol=true", "limits.sockets_per_ip=1"]);
        // Version 2, TCP over IPv4, from 192.0.2.x:1000 to 192.0.2.1:443.
        let header = |client: u8| {
            let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
            header.extend([192, 0, 2, client, 192, 0, 2, 1, 3, 232, 1, 187]);
            header
        };
        for (client, status) in [(7, "101"), (8, "101"), (7, "503")] {
            let mut tcp = TcpStream::connect(&server.server.address).await.unwrap();
            tcp.write_all(&header(client)).await.unwrap();
            let mut stream = handshake(tcp, &server.trust).await.unwrap();
            let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
                           Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.unwrap();
            assert_eq!(&start[9..], status.as_bytes(), "{client}");
            if status == "101" {
                let websocket = tokio_tungstenite::WebSocketStream::from_raw_socket(
                    AfterHead::read(stream).await,
                    tokio_tungstenite::tungstenite::protocol::Role::Client,
                    None,
                );
                let mut client = Client(websocket.await);
                client.send(&format!(r#"40{{"token":"{}"}}"#, token("alice"))).await;
                client.until("40").await;
                std::mem::forget(client);
            }
        }
    });
}

/// Reads what is left of the head of an answer.
struct AfterHead;

impl AfterHead {
    async fn read(mut stream: TlsStream<TcpStream>) -> TlsStream<TcpStream> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream
    }
}

#[test]
fn the_protocol_is_http_1_1_and_no_other() {
    run(async {
        let server = TlsServer::start(&[]);
        for (offered, taken) in
            [(&[&b"http/1.1"[..]][..], true), (&[b"h2", b"http/1.1"], true), (&[b"h2"], false), (&[], true)]
        {
            let mut config = ClientConfig::clone(&server.trust);
            config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            let tcp = TcpStream::connect(&server.server.address).await.unwrap();
            let stream = handshake(tcp, &Arc::new(config)).await;
            assert_eq!(stream.is_ok(), taken, "{offered:?}");
            let Ok(stream) = stream else { continue };
            let expected = (!offered.is_empty()).then_some(&b"http/1.1"[..]);
            assert_eq!(stream.get_ref().1.alpn_protocol(), expected, "{offered:?}");
        }
    });
}

#[test]
fn peers_that_shake_no_hands_are_ended_and_hold_up_nobody() {
    let server = TlsServer::start(&[]);
    let begin = || {
        let stream = std::net::TcpStream::connect(&server.server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    // Half of a ClientHello, and nothing at all.
    let (mut half, mut silent) = (begin(), begin());
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
    let started = Instant::now();
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"\x16\x03\x01\xff\xff", &[0; 4096], b"\x15\x03\x01\0\x02\x02\x28"]
    {
        let mut stream = begin();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // At most an alert; it may be a reset.
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP") && started.elapsed() < Duration::from_secs(5), "{answer:?}");
    }
    run(async { drop(server.connect("alice").await) });
    for stream in [&mut half, &mut silent] {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let took = started.elapsed();
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(15), "they have ten seconds: {took:?}");
}
