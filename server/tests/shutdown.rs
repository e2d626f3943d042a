//! The end of the real binary: who is kept waiting, and for how long.

mod support;

use std::{
    io::Read as _,
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use support::{PATIENCE, Server, run};

fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &server.process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_second_signal_does_not_wait_for_a_peer_that_never_closes() {
    run(async {
        let mut server = Server::start(&["limits.connect_timeout=0s"]);
        let mut witness = server.connect("witness").await;
        let _never_closes = server.connect("peer").await;
        signal(&server, "TERM");
        // The drain has begun when the other client hears of it.
        witness.until_closed().await;
        assert_eq!(server.process.try_wait().unwrap(), None, "the drain waits for the peer");
        let begun = Instant::now();
        signal(&server, "INT");
        assert_eq!(server.process.wait().unwrap().code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    });
}

#[test]
fn the_next_process_listens_while_connections_of_the_last_one_are_still_ending() {
    run(async {
        let mut last = Server::start(&["limits.connect_timeout=0s", "shutdown.drain=10s"]);
        let mut witness = last.connect("witness").await;
        let _never_closes = last.connect("peer").await;
        signal(&last, "TERM");
        witness.until_closed().await;
        let begun = Instant::now();
        while TcpStream::connect(&last.address).is_ok() {
            assert!(begun.elapsed() < PATIENCE, "it still listens");
        }
        let mut next = Server::start_at(&last.address, &[]);
        let mut client = next.connect("client").await;
        assert_eq!(last.process.try_wait().unwrap(), None, "the last process waits for the peer");
        client.send(r#"420["message",{"message":"x"}]"#).await;
        client.until(r#"430[{"ok":true"#).await;
        signal(&last, "TERM");
        assert_eq!(last.process.wait().unwrap().code(), Some(0));
        assert_eq!(next.process.try_wait().unwrap(), None);
    });
}

/// How long a process takes to end when a client of it never closes.
async fn time_to_end(keys: &[&str]) -> Duration {
    let mut server = Server::start(keys);
    let _never_closes = server.connect("peer").await;
    let begun = Instant::now();
    signal(&server, "TERM");
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    begun.elapsed()
}

#[test]
fn connections_have_the_whole_drain_to_end_and_no_more() {
    run(async {
        let short = time_to_end(&["shutdown.drain=300ms"]).await;
        assert!(short >= Duration::from_millis(300) && short < Duration::from_secs(2), "{short:?}");
        let long = time_to_end(&["shutdown.drain=4s"]).await;
        assert!(long >= Duration::from_secs(4), "{long:?}");
    });
}

#[test]
fn the_timeout_bounds_the_drain() {
    run(async {
        let took = time_to_end(&["shutdown.drain=10s", "shutdown.timeout=300ms"]).await;
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
    });
}

/// Runs a server in a terminal of its own, sends it SIGHUP, and then closes the terminal. Prints what the server has logged until
/// its end, and its exit code.
const TERMINAL: &str = r#"
import os, pty, signal, sys
log_read, log_write = os.pipe()
pid, terminal = pty.fork()
if pid == 0:
    os.dup2(log_write, 2)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
os.close(log_write)
log = os.fdopen(log_read)
seen = b""
while b"listening on" not in seen:
    seen += os.read(terminal, 1024)
os.kill(pid, signal.SIGHUP)
for line in log:
    print(line, end="")
    if "reloaded" in line:
        break
os.close(terminal)
for line in log:
    print(line, end="")
print("exit code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn the_end_of_its_terminal_ends_the_server_and_any_other_hangup_does_not() {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new("python3")
        .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_chat-server"), "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("no {text:?}: {said} {output:?}"));
    assert!(at("reloaded") < at("SIGHUP") && at("shutting down") < at("exit code 0"), "{said}");
}

#[test]
fn a_hangup_ends_nothing_under_nohup() {
    run(async {
        let mut server = Server::start_ignoring_hangup();
        let mut client = server.connect("client").await;
        signal(&server, "HUP");
        client.send(r#"420["message",{"message":"x"}]"#).await;
        client.until(r#"430[{"ok":true"#).await;
        signal(&server, "TERM");
        assert_eq!(client.close_code().await, Some(1001));
        assert_eq!(server.process.wait().unwrap().code(), Some(0));
        let mut log = String::new();
        server.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(log.contains("SIGTERM") && !log.contains("SIGHUP"), "{log}");
    });
}

#[test]
fn a_process_without_connections_ends_at_once() {
    let mut server = Server::start(&["shutdown.drain=10s"]);
    let begun = Instant::now();
    signal(&server, "INT");
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
