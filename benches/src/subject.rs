//! The server under test: started as a child on a core of its own, measured through the system, killed when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde::Serialize;
use tempfile::TempDir;

use crate::error::Error;

/// The secret all servers under test verify tokens with.
pub const SECRET: &str = "benchmarks-only-0123456789abcdef-0123456789abcdef";
/// How long a server may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A server that speaks the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Ours.
    ChatServer,
    /// socket.io on Node with its default WebSocket engine.
    Node,
}

/// Where the servers lie.
#[derive(Debug, Clone, clap::Args)]
pub struct Paths {
    /// The chat server's binary
    #[arg(long, default_value = "target/release/chat-server")]
    pub chat_server: PathBuf,
    /// The folder of the Node peer, installed with `npm ci`
    #[arg(long, default_value = "benches/peers/node")]
    pub node: PathBuf,
}

/// Which core does what.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Cores {
    /// The core of the server under test
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// The core of the load generator
    #[arg(long, default_value_t = 1)]
    pub generator_core: usize,
}

impl Subject {
    /// Its name in tables and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatServer => "chat-server",
            Self::Node => "node",
        }
    }

    fn command(self, paths: &Paths, data: &TempDir) -> Command {
        match self {
            Self::ChatServer => {
                let mut command = Command::new(&paths.chat_server);
                command.args(["--listen", "127.0.0.1:0", "--jwt-secret", SECRET, "--store", "memory"]);
                command.args(["--workers", "1", "--log-level", "error"]).arg("--data-dir").arg(data.path());
                // What the peers do not do is off: limits per user and address, and presence told to everyone.
                for off in ["message_rate", "typing_rate", "connect_rate", "sockets_per_ip", "sockets_per_user"] {
                    command.arg("--set").arg(format!("limits.{off}=0"));
                }
                command.args(["--set", "presence.max_room=1"]);
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(paths.node.join("server.mjs")).args(["--listen", "127.0.0.1:0", "--jwt-secret", SECRET]);
                command.env("NODE_ENV", "production");
                command
            }
        }
    }
}

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    address: SocketAddr,
    clock: ClockId,
    _data: TempDir,
}

impl Running {
    /// Starts `subject` on its core and moves the calling thread to the generator's.
    ///
    /// # Errors
    /// [`Error::Start`] if it does not say within 20 s that it listens, [`Error::Io`] if it cannot be run or pinned.
    pub fn start(subject: Subject, paths: &Paths, cores: Cores) -> Result<Self, Error> {
        let data = TempDir::with_prefix("bench-").map_err(Error::io("make a data folder"))?;
        // The child inherits the caller's core: every thread it will ever start is pinned, from the first.
        pin(cores.server_core)?;
        let spawned = subject.command(paths, &data).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        pin(cores.generator_core)?;
        let mut child = spawned.map_err(|source| failed(subject, source.to_string()))?;
        let found = child.stdout.take().map_or_else(|| Err("no output".to_owned()), listening);
        let clock = clock_getcpuclockid(pid(&child));
        match (found, clock) {
            (Ok(address), Ok(clock)) => Ok(Self { child, address, clock, _data: data }),
            (found, clock) => {
                let _ = child.kill();
                let _ = child.wait();
                let reason = found.err().or_else(|| clock.err().map(|error| error.to_string()));
                Err(failed(subject, reason.unwrap_or_default()))
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time it has used so far: user and system, all its threads, also ended ones.
    ///
    /// # Errors
    /// [`Error::Io`] if it has ended.
    pub fn cpu(&self) -> Result<Duration, Error> {
        cpu(self.clock)
    }

    /// Its proportional set size in bytes: resident memory, with pages shared with others counted in part.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Proc`] if the system does not tell.
    pub fn pss(&self) -> Result<u64, Error> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))
            .map_err(Error::io("read smaps_rollup"))?;
        parse_pss(&text).ok_or(Error::Proc { what: "Pss", text })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left to save, and a drain would only cost time. Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time the generator itself has used so far.
///
/// # Errors
/// [`Error::Io`] if the system has no such clock.
pub fn generator_cpu() -> Result<Duration, Error> {
    cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn cpu(clock: ClockId) -> Result<Duration, Error> {
    clock.now().map(Duration::from).map_err(|errno| Error::Io { what: "read a CPU clock", source: errno.into() })
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

fn failed(subject: Subject, reason: String) -> Error {
    Error::Start { server: subject.name(), reason }
}

fn pin(core: usize) -> Result<(), Error> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|errno| Error::Io { what: "pin to a core", source: errno.into() })
}

/// Awaits the line `listening on http://ADDRESS`, and keeps reading after it, lest the server block on a full pipe.
fn listening(stdout: impl std::io::Read + Send + 'static) -> Result<SocketAddr, String> {
    let (found, address) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Once the first is received nobody listens any more: the send fails and is of no interest.
            let _ = found.send(line);
        }
    });
    let line = address.recv_timeout(START_TIMEOUT).map_err(|error| format!("no `listening on` line: {error}"))?;
    let parsed = line.strip_prefix("listening on http://").and_then(|address| address.trim().parse().ok());
    parsed.ok_or_else(|| format!("its first line is {line:?}"))
}

fn parse_pss(rollup: &str) -> Option<u64> {
    let value = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_listening_line_and_names_another() {
        assert_eq!(
            listening(&b"listening on http://127.0.0.1:4321\ntoken a b\n"[..]),
            Ok(([127, 0, 0, 1], 4321).into())
        );
        assert!(listening(&b"starting\n"[..]).unwrap_err().contains("starting"));
        assert!(listening(&b""[..]).is_err());
    }

    #[test]
    fn reads_pss_and_not_its_parts() {
        let rollup = "5573-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  9000 kB\nPss:  1234 kB\nPss_Dirty:  77 kB\n";
        assert_eq!(parse_pss(rollup), Some(1234 * 1024));
        assert_eq!(parse_pss("Rss: 1 kB\n"), None);
    }
}
