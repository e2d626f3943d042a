//! CPU time and memory of a process, as Linux tells them below `/proc`.

use std::{fs, io, time::Duration};

/// A process of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(pub(super) u32);

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// CPU time, in all.
    pub(super) cpu: Duration,
    /// Bytes of memory that are its own now (`RssAnon`): without the program itself and files.
    pub(super) memory: u64,
}

impl Process {
    /// This process.
    pub(super) fn own() -> Self {
        Self(std::process::id())
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// There is no such process, or no `/proc`.
    pub(super) fn usage(self) -> io::Result<Usage> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let unknown = || io::Error::other("the files below /proc are of another form");
        Ok(Usage { cpu: cpu(&stat).ok_or_else(unknown)?, memory: memory(&status).ok_or_else(unknown)? })
    }
}

fn cpu(stat: &str) -> Option<Duration> {
    /// Ticks a second (`USER_HZ`), the same on all that Linux runs on today.
    const TICKS: u64 = 100;
    // The program's name, which comes before, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()?.checked_add(times.next()?.ok()?)?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

fn memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 200";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(memory("VmRSS:\t 10 kB\nRssAnon:\t    2048 kB\n"), Some(2 << 20));
        assert!(Process::own().usage().unwrap().memory > 0);
    }
}
