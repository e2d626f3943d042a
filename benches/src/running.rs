//! A server under test as a process: started on its own cores, measured through the system, killed when dropped.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde::Serialize;
use tempfile::TempDir;

use crate::error::Error;
use crate::subject::{Paths, Setup, Subject};

/// How long a server may take until it is listening.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Which core the server and the generator run on.
#[derive(Debug, Clone, Serialize, clap::Args)]
#[command(next_help_heading = "Cores")]
pub struct Cores {
    /// The core of the server under test; several as a list
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub server_core: Vec<usize>,
    /// The core of the load generator
    #[arg(long, default_value_t = 1)]
    pub generator_core: usize,
}

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    address: SocketAddr,
    clock: ClockId,
    generator_core: usize,
    _data: TempDir,
}

impl Running {
    /// Starts `subject` on its cores and moves the calling thread to the generator's.
    ///
    /// # Errors
    /// [`Error::Start`] if it does not report within 20 s that it is listening, [`Error::Io`] if it cannot be run or
    /// pinned.
    pub fn start(subject: Subject, paths: &Paths, cores: &Cores, setup: &Setup) -> Result<Self, Error> {
        let data = TempDir::with_prefix("bench-").map_err(Error::io("make a data folder"))?;
        // The child inherits the caller's cores, so every thread it starts is pinned from the beginning.
        pin(&cores.server_core)?;
        let mut command = subject.command(paths, setup, setup.data.as_deref().unwrap_or_else(|| data.path()));
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        pin(&[cores.generator_core])?;
        let mut child = spawned.map_err(|source| failed(subject, source.to_string()))?;
        let found = child.stdout.take().map_or_else(|| Err("no output".to_owned()), listening);
        let clock = clock_getcpuclockid(pid(&child));
        match (found, clock) {
            (Ok(address), Ok(clock)) => {
                Ok(Self { child, address, clock, generator_core: cores.generator_core, _data: data })
            }
            (found, clock) => {
                let _ = child.kill();
                let _ = child.wait();
                let reason = found.err().or_else(|| clock.err().map(|error| error.to_string()));
                Err(failed(subject, reason.unwrap_or_default()))
            }
        }
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The core the generator runs on.
    pub fn generator_core(&self) -> usize {
        self.generator_core
    }

    /// CPU time it has used so far: user and system, of all its threads, including ended ones.
    ///
    /// # Errors
    /// [`Error::Io`] if it has ended.
    pub fn cpu(&self) -> Result<Duration, Error> {
        cpu(self.clock)
    }

    /// Its CPU time so far in user space and in the kernel, in system ticks. These are coarse, but good enough for a
    /// share over a second or more.
    ///
    /// # Errors
    /// As [`Self::pss`].
    pub fn user_and_kernel_ticks(&self) -> Result<(u64, u64), Error> {
        let text =
            fs::read_to_string(format!("/proc/{}/stat", self.child.id())).map_err(Error::io("read its ticks"))?;
        parse_own_ticks(&text).ok_or(Error::Proc { what: "its ticks", text })
    }

    /// Its proportional set size in bytes: resident memory, with pages that it shares with other processes counted in
    /// part.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Proc`] if the system does not say.
    pub fn pss(&self) -> Result<u64, Error> {
        self.kilobytes("smaps_rollup", "Pss:")
    }

    /// Its resident set size in bytes, and the largest since [`Self::forget_peak`].
    ///
    /// # Errors
    /// As [`Self::pss`].
    pub fn resident(&self) -> Result<(u64, u64), Error> {
        Ok((self.kilobytes("status", "VmRSS:")?, self.kilobytes("status", "VmHWM:")?))
    }

    /// CPU time of each of its threads so far, by thread id.
    ///
    /// # Errors
    /// As [`Self::pss`].
    pub fn thread_cpu(&self) -> Result<BTreeMap<String, Duration>, Error> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).map_err(Error::io("list threads"))?;
        let mut threads = BTreeMap::new();
        for task in tasks {
            let task = task.map_err(Error::io("list threads"))?;
            let text = fs::read_to_string(task.path().join("schedstat")).map_err(Error::io("read a thread's CPU"))?;
            let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
            let nanos = nanos.ok_or(Error::Proc { what: "a thread's CPU", text })?;
            threads.insert(task.file_name().to_string_lossy().into_owned(), Duration::from_nanos(nanos));
        }
        Ok(threads)
    }

    /// Gives each thread whose name is `prefix` and a number its own core of `cores`. (The system tends to put a thread
    /// on the core of the thread that wakes it. It does not move it to another core whose thread, like the generator's,
    /// sleeps only for moments.)
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn spread(&self, prefix: &str, cores: &[usize]) -> Result<(), Error> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).map_err(Error::io("list threads"))?;
        for task in tasks {
            let task = task.map_err(Error::io("list threads"))?;
            let name = fs::read_to_string(task.path().join("comm")).map_err(Error::io("read a thread's name"))?;
            let number = name.trim_end().strip_prefix(prefix).and_then(|number| number.parse::<usize>().ok());
            let thread = task.file_name().to_string_lossy().parse();
            if let (Some(number), Ok(thread)) = (number, thread) {
                pin_thread(Pid::from_raw(thread), &[cores[number % cores.len()]])?;
            }
        }
        Ok(())
    }

    /// Resets the peak of [`Self::resident`].
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn forget_peak(&self) -> Result<(), Error> {
        // 5: "reset the peak resident set size" (`man 5 proc_pid_clear_refs`).
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").map_err(Error::io("reset the peak of memory"))
    }

    fn kilobytes(&self, file: &str, name: &'static str) -> Result<u64, Error> {
        let path = format!("/proc/{}/{file}", self.child.id());
        let text = fs::read_to_string(path).map_err(Error::io("read the server's memory"))?;
        parse_kilobytes(&text, name).ok_or(Error::Proc { what: name, text })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing has to be saved, and a drain would only take time. Both calls fail only if the process has ended
        // already.
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

/// How long a core has been busy and idle since the system started, in system ticks, whatever process used it.
///
/// # Errors
/// [`Error::Io`] or [`Error::Proc`] if the system does not say.
pub fn core_ticks(core: usize) -> Result<(u64, u64), Error> {
    let text = fs::read_to_string("/proc/stat").map_err(Error::io("read /proc/stat"))?;
    parse_ticks(&text, core).ok_or(Error::Proc { what: "a core's ticks", text })
}

/// `utime` and `stime` from a line of `/proc/PID/stat`: fields 14 and 15. Field 2, the name, may contain anything.
fn parse_own_ticks(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
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

fn pin(cores: &[usize]) -> Result<(), Error> {
    // The calling thread.
    pin_thread(Pid::from_raw(0), cores)
}

fn pin_thread(thread: Pid, cores: &[usize]) -> Result<(), Error> {
    let mut set = CpuSet::new();
    let all = cores.iter().try_for_each(|core| set.set(*core));
    all.and_then(|()| sched_setaffinity(thread, &set))
        .map_err(|errno| Error::Io { what: "pin to a core", source: errno.into() })
}

/// Waits for the line `listening on http://ADDRESS`. Keeps reading after it, so that the server does not block on a
/// full pipe.
fn listening(stdout: impl std::io::Read + Send + 'static) -> Result<SocketAddr, String> {
    let (found, address) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // After the first line nobody receives any more: the send fails, which does not matter.
            let _ = found.send(line);
        }
    });
    let line = address.recv_timeout(START_TIMEOUT).map_err(|error| format!("no `listening on` line: {error}"))?;
    let parsed = line.strip_prefix("listening on http://").and_then(|address| address.trim().parse().ok());
    parsed.ok_or_else(|| format!("its first line is {line:?}"))
}

fn parse_kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// From `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, and guest times, which are contained in
/// user.
fn parse_ticks(stat: &str, core: usize) -> Option<(u64, u64)> {
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let ticks = line.split_whitespace().take(8).map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((ticks.iter().sum::<u64>() - idle, idle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_ticks_whatever_its_name() {
        let line = "12 (a) b) S 1 2 3 0 -1 4194560 10 0 0 0 17 29 0 0 20 0 1";
        assert_eq!(parse_own_ticks(line), Some((17, 29)));
        assert_eq!(parse_own_ticks("12 (a) S 1 2"), None);
    }

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
        assert_eq!(parse_kilobytes(rollup, "Pss:"), Some(1234 * 1024));
        assert_eq!(parse_kilobytes("Rss: 1 kB\n", "Pss:"), None);
    }

    #[test]
    fn reads_the_ticks_of_one_core() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 40 5 6 7 8 1 1\ncpu1 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_ticks(stat, 0), Some((27, 45)));
        assert_eq!(parse_ticks(stat, 2), None);
    }
}
