//! Instruction counts of the codecs and of a broadcast, under callgrind: a guard against regressions that the noise of
//! a shared machine cannot fool. `benches/guard` builds and calls it; see benches/README.md, "Instruction guard".

mod figures;
mod subjects;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use clap::{Parser, Subcommand};

use figures::{Figures, Machine, Record, Verdict};
use subjects::{SUBJECTS, Subject};

/// Exit code: there are no figures of this machine.
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
    Run { subject: String },
    /// Count all subjects' instructions and write them to a file
    Measure { to: PathBuf },
    /// Compare two files; exit code 1 when something became worse, 3 when `before` has no figures of this machine
    Compare { before: PathBuf, now: PathBuf },
    /// Put the figures of `now` into the committed file. `before`, where given, shows whether other machines' still hold
    Record {
        committed: PathBuf,
        now: PathBuf,
        #[arg(long)]
        before: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Args::parse().command {
        Action::Run { subject } => run(&subject).map(|()| ExitCode::SUCCESS),
        Action::Measure { to } => measure(&to).map(|()| ExitCode::SUCCESS),
        Action::Compare { before, now } => compare(&before, &now),
        Action::Record { committed, now, before } => {
            record(&committed, &now, before.as_deref()).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn run(name: &str) -> anyhow::Result<()> {
    let subject = SUBJECTS.iter().find(|subject| subject.name == name).context("no such subject")?;
    let mut work = (subject.prepare)();
    // The first times allocate and bind what later ones find.
    work();
    work();
    counted_section(&mut *work, subject.iterations);
    Ok(())
}

/// What callgrind collects: it is told this function's name. Never inlined, or there would be nothing to find.
#[inline(never)]
fn counted_section(work: &mut dyn FnMut(), iterations: u32) {
    for _ in 0..iterations {
        work();
    }
}

fn measure(to: &Path) -> anyhow::Result<()> {
    let machine = Machine::here()?;
    let mut record = Record { machine, instructions: Default::default() };
    for subject in SUBJECTS {
        let count = count(subject).with_context(|| format!("measure {:?}", subject.name))?;
        record.instructions.insert(subject.name.to_owned(), count);
    }
    write(&Figures { records: vec![record] }, to)
}

/// Instructions per iteration of one subject.
fn count(subject: &Subject) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_section*"])
        .arg(env::current_exe()?)
        .args(["run", subject.name])
        // The environment lies on the stack: with another one, data are aligned otherwise.
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .output()
        .context("run valgrind")?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {}\n{report}", output.status);
    let collected = collected(&report).with_context(|| format!("valgrind names no count:\n{report}"))?;
    ensure!(collected > 0, "nothing was collected: callgrind does not find the function `counted_section`");
    let iterations = u64::from(subject.iterations);
    Ok((collected + iterations / 2) / iterations)
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
        println!("More than 5 % better: run `benches/guard --record`, so that it cannot get lost unnoticed.");
    }
    if any(Verdict::New) || any(Verdict::Gone) {
        println!("Subjects came or went: run `benches/guard --record`.");
    }
    if any(Verdict::Worse) {
        println!("More than 5 % worse. If the change is meant to cost that, run `benches/guard --record` and say why.");
        return Ok(ExitCode::FAILURE);
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
