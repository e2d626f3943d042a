//! Instruction counts of the codecs and of a broadcast, under callgrind: they find regressions in spite of the noise of
//! a shared machine. `benches/guard` builds and calls this program; see benches/README.md, "Instruction guard".

mod figures;
mod machine;
mod subjects;

use std::env;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use clap::{Parser, Subcommand};

use figures::{Figures, Record, Verdict};
use machine::Machine;
use subjects::SUBJECTS;

/// Exit code: a count became worse.
const WORSE: u8 = 1;
/// Exit code: no result.
const FAILED: u8 = 2;
/// Exit code: there are no figures for this machine.
const UNKNOWN: u8 = 3;

#[derive(Debug, Parser)]
#[command(about = "Instruction counts of the codecs and of a broadcast, under callgrind")]
struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Do one subject's work: what runs under callgrind
    Run {
        subject: String,
        iterations: u32,
        /// Bytes to allocate first, and keep
        held: usize,
    },
    /// Print the subjects' names, one in each line
    Subjects,
    /// Print the processor that this program sees
    Processor,
    /// Count all subjects' instructions and write them to a file
    Measure {
        to: PathBuf,
        /// The program to count in, built from another commit; without it, this one
        #[arg(long)]
        binary: Option<PathBuf>,
    },
    /// Compare two files; exit code 1 when a count became worse, 3 when `before` has no figures for this machine
    Compare { before: PathBuf, now: PathBuf },
    /// Put the figures of `now` into the committed file. `before`, if given, shows whether other machines' figures are
    /// still valid
    Record {
        committed: PathBuf,
        now: PathBuf,
        #[arg(long)]
        before: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    act(Args::parse().command).unwrap_or_else(|error| {
        eprintln!("{error:?}");
        ExitCode::from(FAILED)
    })
}

fn act(action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Run { subject, iterations, held } => run(&subject, iterations, held).map(|()| ExitCode::SUCCESS),
        Action::Subjects => {
            SUBJECTS.iter().for_each(|subject| println!("{}", subject.name));
            Ok(ExitCode::SUCCESS)
        }
        Action::Processor => {
            println!("{}", machine::processor());
            Ok(ExitCode::SUCCESS)
        }
        Action::Measure { to, binary } => measure(&to, binary).map(|()| ExitCode::SUCCESS),
        Action::Compare { before, now } => compare(&before, &now),
        Action::Record { committed, now, before } => {
            record(&committed, &now, before.as_deref()).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn run(name: &str, iterations: u32, held: usize) -> anyhow::Result<()> {
    let held = vec![1_u8; held];
    let subject = SUBJECTS.iter().find(|subject| subject.name == name).context("no such subject")?;
    let mut work = (subject.prepare)();
    // The first runs allocate, and bind symbols, for later ones.
    work();
    work();
    counted_section(&mut *work, iterations);
    black_box(held);
    Ok(())
}

/// Callgrind collects only in this function, by its name. It must not be inlined, or callgrind could not find it.
#[inline(never)]
fn counted_section(work: &mut dyn FnMut(), iterations: u32) {
    for _ in 0..iterations {
        work();
    }
}

/// Counts in `binary`, which may be built from another commit: so both sides of a comparison are counted in one way.
/// The binary must have the commands `run` and `subjects` in their present form.
fn measure(to: &Path, binary: Option<PathBuf>) -> anyhow::Result<()> {
    let binary = binary.map_or_else(env::current_exe, Ok)?;
    let listed = Command::new(&binary).arg("subjects").output().with_context(|| format!("run {}", binary.display()))?;
    ensure!(listed.status.success(), "{} does not know the command `subjects`", binary.display());
    let mut record = Record { machine: Machine::here()?, instructions: Default::default() };
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        // For a subject that no longer exists any number will do, because its count is only reported as gone.
        let iterations = SUBJECTS.iter().find(|subject| subject.name == name).map_or(100, |subject| subject.iterations);
        let count = count(&binary, name, iterations).with_context(|| format!("measure {name:?}"))?;
        record.instructions.insert(name.to_owned(), count);
    }
    ensure!(!record.instructions.is_empty(), "{} has no subjects", binary.display());
    write(&Figures { records: vec![record] }, to)
}

/// Instructions per iteration of one subject: the least of several runs, each with different blocks on the heap.
/// Whether a buffer can grow in place depends on its neighbours, and can change a count by 5 %.
fn count(binary: &Path, subject: &str, iterations: u32) -> anyhow::Result<u64> {
    let counts = [0, 200, 5000].map(|held| count_once(binary, subject, iterations, held));
    let counts = counts.into_iter().collect::<anyhow::Result<Vec<u64>>>()?;
    let least = counts.into_iter().min().unwrap_or_default();
    ensure!(least > 0, "nothing was collected: callgrind does not find the function `counted_section`");
    let iterations = u64::from(iterations);
    Ok((least + iterations / 2) / iterations)
}

fn count_once(binary: &Path, subject: &str, iterations: u32, held: usize) -> anyhow::Result<u64> {
    let flags = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_section*"];
    let mut command = machine::valgrind(&flags, binary)?;
    let output = command.args(["run", subject, &iterations.to_string(), &held.to_string()]).output();
    let output = output.context("run valgrind")?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {}\n{report}", output.status);
    collected(&report).with_context(|| format!("valgrind reported no count:\n{report}"))
}

/// The total in `==123== Collected : 456`.
fn collected(report: &str) -> Option<u64> {
    report.lines().find_map(|line| line.split_once("Collected :"))?.1.trim().parse().ok()
}

fn compare(before: &Path, now: &Path) -> anyhow::Result<ExitCode> {
    let (before, now) = (Figures::read(before)?, Figures::read(now)?);
    let [now] = &*now.records else { bail!("not what `measure` wrote") };
    let Some(before) = before.of(&now.machine) else { return Ok(ExitCode::from(UNKNOWN)) };
    let rows = figures::compare(before, now);
    print!("{}", figures::table(&rows));
    let any = |verdict| rows.iter().any(|row| row.verdict() == verdict);
    if any(Verdict::Better) {
        println!("More than 5 % better: run `benches/guard --record`, so that losing it again is noticed.");
    }
    if any(Verdict::New) || any(Verdict::Gone) {
        println!("Subjects were added or removed: run `benches/guard --record`.");
    }
    if any(Verdict::Worse) {
        println!("More than 5 % worse.");
        return Ok(ExitCode::from(WORSE));
    }
    Ok(ExitCode::SUCCESS)
}

fn record(committed: &Path, now: &Path, before: Option<&Path>) -> anyhow::Result<()> {
    let mut figures = if committed.exists() { Figures::read(committed)? } else { Figures::default() };
    let now = Figures::read(now)?;
    let [now] = &*now.records else { bail!("not what `measure` wrote") };
    let before = before.map(Figures::read).transpose()?;
    let before = before.as_ref().unwrap_or(&figures).of(&now.machine);
    let same =
        before.is_some_and(|before| figures::compare(before, now).iter().all(|row| row.verdict() == Verdict::Same));
    figures.record(now.clone(), same);
    write(&figures, committed)
}

fn write(figures: &Figures, path: &Path) -> anyhow::Result<()> {
    Ok(benches::report::write(&serde_json::to_value(figures)?, Some(path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_callgrinds_count() {
        let report = "==7== Callgrind\n==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(collected(report), Some(123_456));
        assert_eq!(collected("==7== Collected : \n"), None);
        assert_eq!(collected(""), None);
    }
}
