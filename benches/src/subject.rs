//! The servers under test: how each is started, and what it cannot do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

/// The secret with which all servers under test verify tokens.
pub const SECRET: &str = "benchmarks-only-0123456789abcdef-0123456789abcdef";

/// A server that speaks the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// This repository's chat server.
    ChatServer,
    /// A minimal server on epoll: one write for each recipient and message.
    LimitWrite,
    /// The same server: one write for each recipient and turn of its loop.
    LimitBatch,
    /// A task for each connection, on tokio-tungstenite.
    TaskPerConnection,
    /// socketioxide on hyper.
    Socketioxide,
    /// The same chat as closures on this repository's crate `socketio`.
    Closures,
    /// The same chat on its handler trait.
    Trait,
    /// socket.io on Node with its default WebSocket engine.
    Node,
}

/// An ability that not every server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// HTTP long-polling.
    Polling,
    /// More than one worker.
    Workers,
}

/// Where the servers are.
#[derive(Debug, Clone, Serialize, clap::Args)]
#[command(next_help_heading = "Where the servers are")]
pub struct Paths {
    /// The chat server's binary
    #[arg(long, default_value = "target/release/chat-server")]
    pub chat_server: PathBuf,
    /// The folder of the peers. The Node peer must be installed with `npm ci`, the others built with `cargo build
    /// --release`
    #[arg(long, default_value = "benches/peers")]
    pub peers: PathBuf,
    /// Where the chat server keeps messages
    #[arg(long, value_enum, default_value_t)]
    pub store: ChatStore,
}

/// Where the chat server keeps messages: in memory, or in a file with this durability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
pub enum ChatStore {
    /// In memory
    #[default]
    Memory,
    /// In a file, synced before it is acknowledged
    Commit,
    /// In a file, left to the operating system
    Os,
}

impl ChatStore {
    /// What the chat server is given for it.
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Memory => &["--store", "memory"],
            Self::Commit => &["--store", "sqlite", "--set", "store.durability=commit"],
            Self::Os => &["--store", "sqlite", "--set", "store.durability=os"],
        }
    }
}

/// How to start a server, in addition to what is always the same.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Workers of the chat server; 0 for one.
    pub workers: usize,
    /// Heartbeat interval; `None` for the server's default.
    pub ping_interval: Option<Duration>,
    /// How many messages the chat server's store keeps; `None` for its default.
    pub stored: Option<usize>,
    /// The chat server keeps its default limits and announcements of presence.
    pub limited: bool,
    /// The chat server's data directory; `None` for a new one, which is removed afterwards.
    pub data: Option<PathBuf>,
}

impl Subject {
    /// Its name in tables and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatServer => "chat-server",
            Self::LimitWrite => "limit-write",
            Self::LimitBatch => "limit-batch",
            Self::TaskPerConnection => "task-per-connection",
            Self::Socketioxide => "socketioxide",
            Self::Closures => "closures",
            Self::Trait => "trait",
            Self::Node => "node",
        }
    }

    /// Whether it shows what a layer of our crate costs, and is no peer: it is measured only when it is named.
    pub fn is_layer(self) -> bool {
        matches!(self, Self::Closures | Self::Trait)
    }

    /// Whether it has the ability.
    pub fn can(self, ability: Ability) -> bool {
        match ability {
            Ability::Polling => self != Self::TaskPerConnection,
            Ability::Workers => self == Self::ChatServer,
        }
    }

    /// The command that starts it; `data` is an empty folder for it alone.
    pub(crate) fn command(self, paths: &Paths, setup: &Setup, data: &Path) -> Command {
        let mut command = match self {
            Self::ChatServer => return chat_server(paths, setup, data),
            Self::LimitWrite => peer(paths, "limit", "limit", &["--mode", "write"]),
            Self::LimitBatch => peer(paths, "limit", "limit", &["--mode", "batch"]),
            Self::TaskPerConnection => peer(paths, "task-per-connection", "task-per-connection", &[]),
            Self::Socketioxide => peer(paths, "socketioxide", "socketioxide-peer", &[]),
            Self::Closures => peer(paths, "layers", "layers", &["--api", "closures"]),
            Self::Trait => peer(paths, "layers", "layers", &["--api", "trait"]),
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(paths.peers.join("node/server.mjs")).env("NODE_ENV", "production");
                command
            }
        };
        command.args(["--listen", "127.0.0.1:0", "--jwt-secret", SECRET]);
        if let Some(interval) = setup.ping_interval {
            command.arg("--ping-interval-ms").arg(interval.as_millis().to_string());
        }
        command
    }

    /// Its version, and those of its main parts; for the result.
    pub fn version(self, paths: &Paths) -> String {
        let locked = |peer: &str, package: &str| {
            let lock = fs::read_to_string(paths.peers.join(peer).join("Cargo.lock")).unwrap_or_default();
            format!("{package} {}", locked_version(&lock, package).unwrap_or("?"))
        };
        match self {
            Self::ChatServer => output(Command::new(&paths.chat_server).arg("--version")),
            Self::LimitWrite | Self::LimitBatch => locked("limit", "limit"),
            Self::TaskPerConnection => locked("task-per-connection", "tokio-tungstenite"),
            Self::Socketioxide => locked("socketioxide", "socketioxide"),
            Self::Closures | Self::Trait => locked("layers", "socketio"),
            Self::Node => {
                let package = paths.peers.join("node/node_modules/socket.io/package.json");
                let package = fs::read(package).ok().and_then(|json| serde_json::from_slice(&json).ok());
                let package: serde_json::Value = package.unwrap_or_default();
                let node = output(Command::new("node").arg("--version"));
                format!("socket.io {} on Node {node}", package["version"].as_str().unwrap_or("?"))
            }
        }
    }
}

fn peer(paths: &Paths, folder: &str, binary: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(paths.peers.join(folder).join("target/release").join(binary));
    command.args(flags);
    command
}

fn chat_server(paths: &Paths, setup: &Setup, data: &Path) -> Command {
    let mut command = Command::new(&paths.chat_server);
    command.args(["--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--log-level", "error"]);
    command.args(paths.store.arguments());
    command.arg("--workers").arg(setup.workers.max(1).to_string()).arg("--data-dir").arg(data);
    let mut set = |key: &str, value: String| _ = command.arg("--set").arg(format!("{key}={value}"));
    // What the peers do not do is turned off: limits per user and address, and presence sent to everyone.
    let off = ["message_rate", "typing_rate", "question_rate", "connect_rate", "sockets_per_ip", "sockets_per_user"];
    if !setup.limited {
        off.iter().for_each(|off| set(&format!("limits.{off}"), "0".into()));
        set("presence.max_room", "1".into());
    }
    if let Some(interval) = setup.ping_interval {
        set("engine.ping_interval", format!("{}ms", interval.as_millis()));
    }
    if let Some(stored) = setup.stored {
        set("store.max_count", stored.to_string());
    }
    command
}

/// What `command` prints, in one line; `?` if it cannot be run.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output.map_or_else(|| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_version_of_one_package() {
        let lock = "[[package]]\nname = \"axum\"\nversion = \"1.0\"\n\n[[package]]\nname = \"ax\"\nversion = \"2.1\"\n";
        assert_eq!(locked_version(lock, "ax"), Some("2.1"));
        assert_eq!(locked_version(lock, "a"), None);
    }
}
