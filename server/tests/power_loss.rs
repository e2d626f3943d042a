//! Loss of power: what a disk may have kept when the server was killed at any moment. A write that no sync followed may be there, or
//! not, or some sectors of it. Whatever is left, every acknowledged message is in the history, once and in order.
//!
//! `POWER_LOSS_RUNS` says how many losses there are, and `POWER_LOSS_SEED` which ones. The moments differ from run to run all the same.

mod power_loss_disk;
mod support;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    process::Command,
    rc::Rc,
    time::Duration,
};

use power_loss_disk::{Dice, Disk, Survival};
use serde_json::Value;
use support::{Client, PATIENCE, Preloaded, Server, chat_server, run};
use tempfile::TempDir;

const ROOMS: [&str; 3] = ["north", "south", "east"];

/// How many messages of one client are under way.
const UNDER_WAY: usize = 8;

/// Clients would be held up by these.
const NO_RATES: [&str; 4] =
    ["limits.message_rate=0", "limits.message_bytes_rate=0", "limits.question_rate=0", "limits.connect_user_rate=0"];

/// A message as a client knows it: its id and text.
type Known = (String, String);

/// What clients were told of each room: messages that were acknowledged, and those that were delivered.
#[derive(Debug, Default)]
struct Told {
    acked: BTreeMap<&'static str, Vec<Known>>,
    delivered: BTreeMap<&'static str, Vec<Known>>,
}

/// A store that loses power again and again.
struct Lab {
    directory: TempDir,
    library: Preloaded,
    durability: &'static str,
    dice: Dice,
    told: Told,
    sent: usize,
    losses: usize,
}

impl Lab {
    fn new(durability: &'static str, seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let library = Preloaded::build("power_loss.c");
        Self { directory, library, durability, dice: Dice(seed), told: Told::default(), sent: 0, losses: 0 }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join(format!("data-{}", self.losses))
    }

    fn keys(&self) -> Vec<String> {
        let keys = [format!("data_dir={}", self.data().display()), format!("store.durability={}", self.durability)];
        keys.into_iter().chain(NO_RATES.map(str::to_owned)).collect()
    }

    /// A server makes the store, and is ended.
    fn create(&self) {
        let keys = self.keys();
        let mut server = Server::start(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        Command::new("kill").args(["-s", "TERM", &server.process.id().to_string()]).status().unwrap();
        assert!(server.process.wait().unwrap().success());
    }

    /// Clients send until about `acks` more messages are acknowledged. Then power fails, and of what was not synced this survives.
    async fn lose_power(&mut self, acks: usize, survival: Survival) {
        let (log, disk) = (self.directory.path().join("log"), Disk::of(&self.data()));
        let _ = std::fs::remove_file(&log);
        let keys = self.keys();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut server = Server::start_preloaded(&self.library.path, ("WRITES_LOG", &log), &keys);
        let sessions = Sessions { told: Rc::default(), acks: Rc::default(), target: acks };
        let mut clients = Vec::new();
        for (number, room) in ROOMS.into_iter().enumerate() {
            let client = server.connect(&format!("user-{number}")).await;
            clients.push(sessions.run(client, room, self.sent, self.dice.below(4000)));
            self.sent += 100_000;
        }
        let kill = async {
            sessions.until_target().await;
            // Anywhere in the next commits.
            tokio::time::sleep(Duration::from_micros(self.dice.below(5000) as u64)).await;
            server.process.kill().unwrap();
        };
        futures_util::future::join(kill, futures_util::future::join_all(clients)).await;
        server.process.wait().unwrap();
        self.told.add(sessions.told.take());
        let disk = disk.replay(&log);
        self.losses += 1;
        disk.write(&self.data(), survival, &mut self.dice);
    }

    /// What is in the store now, room by room; checked for damage.
    async fn histories(&self) -> BTreeMap<&'static str, Vec<Known>> {
        let check = chat_server(&["store", "check", "--log-level", "off"], &self.data());
        assert_eq!(String::from_utf8_lossy(&[check.stdout, check.stderr].concat()), "no damage found\n");
        let keys = self.keys();
        let server = Server::start(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let mut reader = server.connect("reader").await;
        let mut histories = BTreeMap::new();
        for room in ROOMS {
            histories.insert(room, read(&mut reader, room).await);
        }
        histories
    }
}

impl Told {
    fn add(&mut self, other: Self) {
        for (all, more) in [(&mut self.acked, other.acked), (&mut self.delivered, other.delivered)] {
            for (room, messages) in more {
                all.entry(room).or_default().extend(messages);
            }
        }
    }

    /// How many acknowledged messages are missing. What is there must be there once, in order, and as it was said.
    fn missing(&self, histories: &BTreeMap<&'static str, Vec<Known>>) -> usize {
        let mut missing = 0;
        for (room, history) in histories {
            assert!(history.is_sorted_by(|(earlier, _), (later, _)| earlier < later), "the ids of {room} grow");
            let texts: HashSet<&String> = history.iter().map(|(_, text)| text).collect();
            assert_eq!(texts.len(), history.len(), "a message is twice in {room}");
            let stored: HashSet<&Known> = history.iter().collect();
            let lacks = |what: &BTreeMap<&str, Vec<Known>>| {
                let messages = what.get(room).map(Vec::as_slice).unwrap_or_default();
                assert!(messages.is_sorted_by(|(earlier, _), (later, _)| earlier < later), "{room}: in order");
                messages.iter().filter(|message| !stored.contains(message)).count()
            };
            missing += lacks(&self.acked) + lacks(&self.delivered);
        }
        missing
    }

    fn acks(&self) -> usize {
        self.acked.values().map(Vec::len).sum()
    }
}

/// The clients of one life of the server.
struct Sessions {
    told: Rc<RefCell<Told>>,
    acks: Rc<Cell<usize>>,
    target: usize,
}

impl Sessions {
    /// Sends to a room, and notes what comes back, until the connection ends. Every tenth message has a `clientId`, and every
    /// thirtieth an attachment.
    fn run(
        &self,
        mut client: Client,
        room: &'static str,
        first: usize,
        length: usize,
    ) -> impl Future<Output = ()> + use<> {
        let (told, acks) = (Rc::clone(&self.told), Rc::clone(&self.acks));
        let text = move |number: usize| format!("{number} {}", "x".repeat(length));
        async move {
            let (mut next, mut acked) = (first, 0);
            loop {
                while next < first + acked + UNDER_WAY {
                    send(&mut client, room, next, &text(next)).await;
                    next += 1;
                }
                let Some(packet) = client.next_text().await else { return };
                if let Some(message) = packet.strip_prefix("42").or_else(|| packet.strip_prefix("451-")) {
                    if let Some(known) = message_of(message) {
                        told.borrow_mut().delivered.entry(room).or_default().push(known);
                    }
                } else if let Some((number, answer)) = packet.strip_prefix("43").and_then(|ack| ack.split_once('[')) {
                    let answer: Value = serde_json::from_str(&format!("[{answer}")).unwrap();
                    assert_eq!(answer[0]["ok"], true, "{answer}");
                    let known = (answer[0]["id"].as_str().unwrap().to_owned(), text(number.parse().unwrap()));
                    told.borrow_mut().acked.entry(room).or_default().push(known);
                    acked += 1;
                    acks.set(acks.get() + 1);
                }
            }
        }
    }

    async fn until_target(&self) {
        let enough = async {
            while self.acks.get() < self.target {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("too few acknowledgements");
    }
}

async fn send(client: &mut Client, room: &str, number: usize, text: &str) {
    let client_id = if number.is_multiple_of(10) { format!(r#","clientId":"{number}""#) } else { String::new() };
    let head = |placeholder: &str| {
        format!(r#"["message",{{"message":"{text}","context":{{"roomId":"{room}"{client_id}{placeholder}}}}}]"#)
    };
    // What the server closes meanwhile is not sent.
    if number.is_multiple_of(30) {
        let event = head(r#","file":{"_placeholder":true,"num":0}"#);
        client.try_send_binary(&format!("451-{number}{event}"), vec![7; 9000]).await;
    } else {
        client.try_send(&format!("42{number}{}", head(""))).await;
    }
}

/// The id and the text of a `message` event.
fn message_of(event: &str) -> Option<Known> {
    let event: Value = serde_json::from_str(event).unwrap();
    (event[0] == "message").then(|| known(&event[1]))
}

fn known(message: &Value) -> Known {
    let text = |field: &str| message[field].as_str().unwrap().to_owned();
    (text("id"), text("message"))
}

/// The history of a room, from its beginning.
async fn read(client: &mut Client, room: &str) -> Vec<Known> {
    let mut history: Vec<Known> = Vec::new();
    loop {
        let after = history.last().map_or("00000000-0000-0000-0000-000000000000", |(id, _)| id);
        client.send(&format!(r#"421["history",{{"roomId":"{room}","limit":200,"after":"{after}"}}]"#)).await;
        // With attachments it is a binary acknowledgement.
        let answer = client.until_any(&["431[", "46"]).await;
        let (_, answer) = answer.split_once('[').unwrap();
        let answer: Value = serde_json::from_str(&format!("[{answer}")).unwrap();
        assert_eq!(answer[0]["ok"], true, "{answer}");
        history.extend(answer[0]["messages"].as_array().unwrap().iter().map(known));
        if answer[0]["more"] != true {
            return history;
        }
    }
}

/// A variable of the environment that is a number.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power() {
    run(async {
        let (runs, seed) = (number("POWER_LOSS_RUNS", 12), number("POWER_LOSS_SEED", 1));
        let mut lab = Lab::new("commit", seed);
        for loss in 0..runs {
            let survival = Survival::ALL[loss as usize % Survival::ALL.len()];
            // From a few commits to so many that the log has gone into the file.
            let acks = if lab.dice.below(3) == 0 { lab.dice.below(20) } else { lab.dice.below(800) };
            lab.lose_power(acks, survival).await;
            let histories = lab.histories().await;
            let missing = lab.told.missing(&histories);
            assert_eq!(missing, 0, "of {} with seed {seed}, loss {loss}, {survival:?}", lab.told.acks());
            println!("loss {loss}: {survival:?}, {} acknowledged messages are there", lab.told.acks());
        }
        assert!(lab.told.acks() > 0);
    });
}

/// Shows that this test can fail, and that the file stays whole all the same (docs/store.md, "What an acknowledgement promises").
#[test]
fn without_syncs_the_last_messages_are_lost_and_nothing_else() {
    run(async {
        let mut lab = Lab::new("os", 1);
        // Otherwise the tables are lost too.
        lab.create();
        for survival in Survival::ALL {
            lab.lose_power(50, survival).await;
            let histories = lab.histories().await;
            let missing = lab.told.missing(&histories);
            if survival == Survival::Nothing {
                assert!(missing > 0, "nothing was lost, although nothing was synced");
            }
            // The next loss is asked about its own messages.
            lab.told = Told::default();
        }
    });
}
