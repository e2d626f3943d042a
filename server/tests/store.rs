//! The store of the real binary: disks that fail, files that are not what they should be, restarts, and the operators' tools.

mod support;

use std::{
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Instant,
};

use rusqlite::Connection;
use support::{Client, PATIENCE, Preloaded, Server, chat_server, run};
use tempfile::TempDir;

/// A data directory, and the file that says what fails.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn key(&self) -> String {
        format!("data_dir={}", self.path().display())
    }

    fn database(&self) -> PathBuf {
        self.path().join("chat.db")
    }

    /// A server that keeps its data here, with faults as this file says.
    fn serve(&self, keys: &[&str]) -> Server {
        let key = self.key();
        let keys: Vec<&str> = [key.as_str()].into_iter().chain(keys.iter().copied()).collect();
        Server::start_preloaded(shim(), ("FAULTS_FILE", &self.0.path().join("faults")), &keys)
    }

    /// From now on calls fail, or none do.
    fn set_fault(&self, fault: Option<&str>) {
        let path = self.0.path().join("faults");
        match fault {
            // Renamed, so that nobody reads half of it.
            Some(fault) => {
                let unfinished = self.0.path().join("unfinished");
                std::fs::write(&unfinished, fault).unwrap();
                std::fs::rename(unfinished, path).unwrap();
            }
            None => std::fs::remove_file(path).unwrap(),
        }
    }

    /// Why a server does not start here, and its exit code.
    fn refusal(&self) -> (String, Option<i32>) {
        let output = chat_server(&["--listen", "127.0.0.1:0", "--jwt-secret", "x", "--log-level", "off"], &self.path());
        (String::from_utf8(output.stderr).unwrap(), output.status.code())
    }
}

/// Runs a tool of the store.
fn tool(action: &str, data: &Data) -> (Option<i32>, String) {
    let output = chat_server(&["store", action, "--log-level", "off"], &data.path());
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The library that lets calls fail.
fn shim() -> &'static Path {
    static SHIM: OnceLock<Preloaded> = OnceLock::new();
    &SHIM.get_or_init(|| Preloaded::build("faults.c")).path
}

/// Status and body of `/readyz`.
fn ready(server: &Server) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    format!("{} {body}", &head[9..12])
}

/// Sends a message; its acknowledgement.
async fn say(client: &mut Client, text: &str) -> String {
    client.send(&format!(r#"420["message",{{"message":"{text}"}}]"#)).await;
    client.until("430").await
}

/// Sends a message until it is acknowledged.
async fn say_until_stored(client: &mut Client, text: &str) {
    let begun = Instant::now();
    while !say(client, text).await.contains(r#""ok":true"#) {
        assert!(begun.elapsed() < PATIENCE, "the store does not recover");
    }
}

async fn history(client: &mut Client) -> String {
    client.send(r#"421["history"]"#).await;
    client.until("431").await
}

fn end(server: &mut Server, signal: &str) -> Option<i32> {
    Command::new("kill").args(["-s", signal, &server.process.id().to_string()]).status().unwrap();
    server.process.wait().unwrap().code()
}

fn log(server: &mut Server) -> String {
    let mut log = String::new();
    server.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    log
}

/// A fault while the server runs: what senders, `/readyz` and the log say, and that everything is well again afterwards.
fn fails_and_recovers(fault: &str, reason: &str) {
    run(async {
        let data = Data::new();
        let mut server = data.serve(&["limits.message_rate=0"]);
        let [mut alice, mut bob] = [server.connect("alice").await, server.connect("bob").await];
        assert!(say(&mut alice, "before").await.contains(r#""ok":true"#));
        bob.until(r#"42["message""#).await;
        data.set_fault(Some(fault));
        let begun = Instant::now();
        let mut not_ready = String::new();
        // The first attempt to write again may find another reason than the fault itself.
        while !not_ready.contains(reason) {
            assert!(begun.elapsed() < PATIENCE, "{not_ready}");
            let refused = say(&mut alice, "lost").await;
            assert!(refused.contains(r#""code":"store_unavailable""#) && refused.contains("retryAfter"), "{refused}");
            not_ready = ready(&server);
            assert!(not_ready.starts_with("503 the store does not work: "), "{not_ready}");
        }
        // What needs no store goes on, and what was stored can be read.
        alice.send(r#"42["typing",true]"#).await;
        let next = bob.until("42").await;
        assert!(next.contains("userTyping"), "a lost message was delivered: {next}");
        let page = history(&mut bob).await;
        assert!(page.contains("before") && !page.contains("lost"), "{page}");
        data.set_fault(None);
        say_until_stored(&mut alice, "after").await;
        bob.until(r#"42["message""#).await;
        assert_eq!(ready(&server), "200 ready\n");
        assert_eq!(end(&mut server, "KILL"), None);
        let log = log(&mut server);
        let told = log.lines().filter(|line| line.contains("cannot write") && line.contains(reason)).count();
        assert!(told == 1 && log.contains("can write again"), "{told} times: {log}");
        let server = data.serve(&[]);
        let page = history(&mut server.connect("carol").await).await;
        assert!(page.contains("before") && page.contains("after") && !page.contains("lost"), "{page}");
        drop(server);
        assert_eq!(tool("check", &data), (Some(0), "no damage found\n".to_owned()));
    });
}

#[test]
fn a_full_disk_refuses_messages_until_there_is_room() {
    fails_and_recovers("write 28", "the disk is full");
}

#[test]
fn an_io_error_refuses_messages_until_the_disk_works() {
    fails_and_recovers("write 5", "an I/O error of the disk");
}

#[test]
fn a_file_system_that_became_read_only_refuses_messages_until_it_is_not() {
    fails_and_recovers("write 30", "the file or its directory is read-only");
}

#[test]
fn a_sync_that_fails_leads_to_no_acknowledgement() {
    fails_and_recovers("sync 5", "an I/O error of the disk");
}

#[test]
fn a_message_whose_sync_failed_is_not_there_after_a_crash() {
    run(async {
        let data = Data::new();
        let mut server = data.serve(&[]);
        let mut alice = server.connect("alice").await;
        assert!(say(&mut alice, "before").await.contains(r#""ok":true"#));
        data.set_fault(Some("sync 5"));
        assert!(say(&mut alice, "lost").await.contains("store_unavailable"));
        // The second refusal comes after the first attempt to write again.
        assert!(say(&mut alice, "lost").await.contains("store_unavailable"));
        end(&mut server, "KILL");
        data.set_fault(None);
        let server = data.serve(&[]);
        let page = history(&mut server.connect("bob").await).await;
        assert!(page.contains("before") && !page.contains("lost"), "{page}");
    });
}

#[test]
fn without_durability_nothing_is_synced_for_a_message() {
    run(async {
        for durability in ["os", "none"] {
            let data = Data::new();
            let server = data.serve(&[&format!("store.durability={durability}")]);
            let mut alice = server.connect("alice").await;
            data.set_fault(Some("sync 5"));
            assert!(say(&mut alice, "x").await.contains(r#""ok":true"#), "{durability}");
        }
    });
}

#[test]
fn another_process_that_holds_the_file_is_waited_for_and_then_told() {
    run(async {
        let data = Data::new();
        let server = data.serve(&["limits.message_rate=0"]);
        let mut alice = server.connect("alice").await;
        let other = Connection::open(data.database()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(say(&mut alice, "lost").await.contains("store_unavailable"));
        assert!(ready(&server).contains("another process has locked the file"));
        other.execute_batch("ROLLBACK").unwrap();
        say_until_stored(&mut alice, "kept").await;
    });
}

#[test]
fn a_second_server_on_one_data_directory_refuses_to_start() {
    let data = Data::new();
    let mut first = data.serve(&[]);
    let (reason, code) = data.refusal();
    assert!(reason.starts_with("error: another chat-server uses the data directory ") && code == Some(1), "{reason}");
    assert_eq!(end(&mut first, "TERM"), Some(0));
    let mut next = data.serve(&[]);
    assert_eq!(end(&mut next, "TERM"), Some(0));
}

#[test]
fn what_is_no_store_of_this_version_is_refused_by_name() {
    let data = Data::new();
    let mut server = data.serve(&[]);
    assert_eq!(end(&mut server, "TERM"), Some(0));
    let with_pragma = |pragma: &str| {
        Connection::open(data.database()).unwrap().execute_batch(pragma).unwrap();
        let (reason, code) = data.refusal();
        assert_eq!(code, Some(1), "{reason}");
        reason
    };
    let newer = with_pragma("PRAGMA user_version = 99");
    assert!(newer.contains("was written by a newer chat-server: its schema is 99"), "{newer}");
    assert!(tool("info", &data).1.contains("newer chat-server"));
    let foreign = with_pragma("PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert!(foreign.contains("is the database of another program"), "{foreign}");
    let mut file = std::fs::OpenOptions::new().write(true).open(data.database()).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&[b'x'; 4096]).unwrap();
    let (damaged, code) = data.refusal();
    assert!(damaged.contains("the file is damaged; see docs/store.md") && code == Some(1), "{damaged}");
}

#[test]
fn a_file_that_another_process_holds_or_a_directory_that_cannot_be_written_is_refused() {
    let data = Data::new();
    end(&mut data.serve(&[]), "TERM");
    let other = Connection::open(data.database()).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let (reason, code) = data.refusal();
    assert!(reason.contains("another process has locked the file") && code == Some(1), "{reason}");
    let nowhere = chat_server(&["--listen", "127.0.0.1:0", "--jwt-secret", "x"], Path::new("/proc/data"));
    let reason = String::from_utf8(nowhere.stderr).unwrap();
    assert!(
        reason.contains("cannot use the data directory /proc/data: ") && nowhere.status.code() == Some(1),
        "{reason}"
    );
}

#[test]
fn ids_grow_and_client_ids_are_known_after_a_crash() {
    run(async {
        let data = Data::new();
        let message = r#"420["message",{"message":"once","context":{"clientId":"c"}}]"#;
        let mut server = data.serve(&[]);
        let mut alice = server.connect("alice").await;
        alice.send(message).await;
        let first = alice.until("430").await;
        end(&mut server, "KILL");
        let server = data.serve(&[]);
        let mut alice = server.connect("alice").await;
        alice.send(message).await;
        assert_eq!(alice.until("430").await, first);
        let second = say(&mut alice, "second").await;
        assert!(second > first, "{second} after {first}");
        assert_eq!(history(&mut alice).await.matches("once").count(), 1);
    });
}

#[test]
fn what_was_sent_just_before_sigterm_is_stored_and_acknowledged() {
    run(async {
        let data = Data::new();
        let mut server = data.serve(&["limits.message_rate=0"]);
        let mut alice = server.connect("alice").await;
        say(&mut alice, "first").await;
        for n in 0..200 {
            alice.send(&format!(r#"42{}["message",{{"message":"<{n}>"}}]"#, n + 10)).await;
        }
        Command::new("kill").args(["-s", "TERM", &server.process.id().to_string()]).status().unwrap();
        let mut acked = Vec::new();
        while let Some(packet) = alice.next_text().await {
            if let Some((id, answer)) = packet.strip_prefix("43").and_then(|packet| packet.split_once('['))
                && answer.contains(r#""ok":true"#)
            {
                acked.push(id.parse::<usize>().unwrap() - 10);
            }
        }
        assert_eq!(server.process.wait().unwrap().code(), Some(0));
        let server = data.serve(&["limits.question_rate=0"]);
        let mut bob = server.connect("bob").await;
        bob.send(r#"421["history",{"limit":200}]"#).await;
        let page = bob.until("431").await;
        for n in acked {
            // A page has 200 messages, and there are 201.
            assert!(page.contains(&format!("<{n}>")), "{n} was acknowledged: {page}");
        }
    });
}

#[test]
fn tools_read_a_store_in_use_and_move_its_messages_to_another() {
    run(async {
        let (data, other) = (Data::new(), Data::new());
        let mut server = data.serve(&["limits.message_rate=0"]);
        let mut alice = server.connect("alice").await;
        for text in ["one", "two", "three"] {
            say(&mut alice, text).await;
        }
        let (code, info) = tool("info", &data);
        assert!(
            code == Some(0) && info.contains("messages        3\n") && info.contains("schema          4\n"),
            "{info}"
        );
        assert_eq!(tool("check", &data), (Some(0), "no damage found\n".to_owned()));
        let (code, lines) = tool("export", &data);
        assert_eq!((code, lines.lines().count()), (Some(0), 3), "{lines}");
        let import = |lines: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
            command.env_clear().args(["store", "import", "--log-level", "off", "--data-dir"]).arg(other.path());
            let mut process =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            process.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
            let output = process.wait_with_output().unwrap();
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
        };
        assert_eq!(import(&lines), "3 messages imported, 0 were there already\n");
        assert_eq!(import(&lines), "0 messages imported, 3 were there already\n");
        assert!(import("{\"room\":\"r\"}\n").starts_with("error: line 1: missing field"));
        assert_eq!(tool("export", &other).1, lines);
        let imported = other.serve(&[]);
        assert!(tool("import", &other).1.contains("another chat-server uses the data directory"));
        let [mut carol, mut bob] = [imported.connect("carol").await, server.connect("bob").await];
        assert_eq!(history(&mut carol).await, history(&mut bob).await);
        assert_eq!(end(&mut server, "TERM"), Some(0));
        assert_eq!(tool("export", &data).1, lines);
        // A check finds what is wrong.
        Connection::open(data.database()).unwrap().execute_batch("UPDATE room SET messages = 7").unwrap();
        let (code, faults) = tool("check", &data);
        assert!(code == Some(1) && faults.contains("the number of messages of a room is wrong"), "{faults}");
    });
}

#[test]
fn what_is_forgotten_gives_its_space_back() {
    run(async {
        let data = Data::new();
        let keys = ["limits.message_rate=0", "limits.message_bytes_rate=0", "store.durability=none"];
        let mut server = data.serve(&keys);
        let mut alice = server.connect("alice").await;
        for _ in 0..1500 {
            alice.send(&format!(r#"42["message",{{"message":"{}"}}]"#, "x".repeat(4000))).await;
        }
        say(&mut alice, "last").await;
        assert_eq!(end(&mut server, "TERM"), Some(0));
        let before = std::fs::metadata(data.database()).unwrap().len();
        let server = data.serve(&["store.max_count=100", "store.durability=none"]);
        let begun = Instant::now();
        // The log goes into the file when it is large, or when the store is closed.
        while !tool("info", &data).1.contains("messages        100\n") {
            assert!(begun.elapsed() < PATIENCE, "nothing is forgotten");
        }
        let free = |info: &str| -> u64 {
            let (_, line) = info.split_once(" bytes, ").unwrap();
            line.split(' ').next().unwrap().parse().unwrap()
        };
        while free(&tool("info", &data).1) > before / 4 {
            assert!(begun.elapsed() < PATIENCE, "no space is given back");
        }
        let page = history(&mut server.connect("bob").await).await;
        assert!(page.contains("last"));
        let mut server = server;
        assert_eq!(end(&mut server, "TERM"), Some(0));
        let after = std::fs::metadata(data.database()).unwrap().len();
        assert!(after < before / 4, "{after} of {before}");
        assert_eq!(tool("check", &data).0, Some(0));
    });
}

#[test]
fn others_cannot_read_the_messages() {
    let data = Data::new();
    let key = data.key();
    // In directories that everybody may enter, as far as they are the test's own.
    std::fs::create_dir(data.path()).unwrap();
    let set_mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let above = data.path().canonicalize().unwrap().parent().unwrap().to_owned();
    set_mode(&data.path(), 0o755);
    set_mode(&above, 0o755);
    let may_enter = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o001 != 0;
    let public = usize::from(above.ancestors().all(may_enter));
    let mode = |name: &str| std::fs::metadata(data.path().join(name)).unwrap().permissions().mode() & 0o777;
    let start = || Server::start_logging(&[&key, "log.level=info"]);
    // Its warnings until it ends.
    let warnings = |mut server: Server| {
        let pid = server.process.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        let mut log = String::new();
        server.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log.matches("every user of this machine can read the messages").count()
    };
    let server = start();
    for name in ["chat.db", "chat.db-wal", "chat.db-shm", "chat.lock"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert_eq!(warnings(server), 0);
    // What was there before stays as it is.
    set_mode(&data.database(), 0o644);
    assert_eq!((warnings(start()), mode("chat.db")), (public, 0o644));
    // Nor is it of interest where others cannot get to it.
    for private in [data.path(), above] {
        set_mode(&private, 0o700);
        assert_eq!((warnings(start()), mode("chat.db")), (0, 0o644), "{private:?}");
        set_mode(&private, 0o755);
    }
}
