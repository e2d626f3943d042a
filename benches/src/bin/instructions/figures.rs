//! The instruction counts ("figures"), the machine they are valid for, and the comparison of two sets.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use benches::report;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// Changes up to this share count as none: code layout and inlining move counts by a percent or two.
pub(crate) const TOLERANCE: f64 = 0.05;

/// Instructions per iteration of each subject, on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The machine they are valid for.
    pub(crate) machine: Machine,
    /// Counts by the subject's name.
    pub(crate) instructions: BTreeMap<String, u64>,
}

/// A file of records, one for each machine.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// In the order in which they were added.
    pub(crate) records: Vec<Record>,
}

impl Figures {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no file of figures", path.display()))
    }

    pub(crate) fn of(&self, machine: &Machine) -> Option<&Record> {
        self.records.iter().find(|record| record.machine == *machine)
    }

    /// Adds `now`. `same` says that the code is the one the other machines' records were made from. Otherwise these are
    /// removed, because later changes would be compared with outdated counts.
    pub(crate) fn record(&mut self, now: Record, same: bool) {
        self.records.retain(|record| same && record.machine != now.machine);
        self.records.push(now);
    }
}

/// How one subject's count changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within the tolerance.
    Same,
    /// More instructions than the tolerance allows.
    Worse,
    /// Fewer, by more than that.
    Better,
    /// Not counted before.
    New,
    /// No longer counted.
    Gone,
}

/// One subject in both sets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) before: Option<u64>,
    pub(crate) now: Option<u64>,
}

impl Row {
    /// Instructions now by instructions before.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.now.zip(self.before).map(|(now, before)| now as f64 / before as f64)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.ratio() {
            Some(ratio) if ratio > 1.0 + TOLERANCE => Verdict::Worse,
            Some(ratio) if ratio < 1.0 - TOLERANCE => Verdict::Better,
            Some(_) => Verdict::Same,
            None if self.before.is_none() => Verdict::New,
            None => Verdict::Gone,
        }
    }
}

/// Every subject that is in one of the sets.
pub(crate) fn compare(before: &Record, now: &Record) -> Vec<Row> {
    let mut names: Vec<&String> = before.instructions.keys().chain(now.instructions.keys()).collect();
    names.sort();
    names.dedup();
    let of = |record: &Record, name: &String| record.instructions.get(name).copied();
    names.into_iter().map(|name| Row { name: name.clone(), before: of(before, name), now: of(now, name) }).collect()
}

/// The comparison as a table to read.
pub(crate) fn table(rows: &[Row]) -> String {
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let ratio = row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            let verdict = match row.verdict() {
                Verdict::Same => "",
                Verdict::Worse => "WORSE",
                Verdict::Better => "better",
                Verdict::New => "new",
                Verdict::Gone => "gone",
            };
            vec![row.name.clone(), count(row.before), count(row.now), ratio, verdict.to_owned()]
        })
        .collect();
    report::table(&["subject", "instructions before", "now", "ratio", ""], &cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(rustc: &str) -> Machine {
        let text = |text: &str| text.to_owned();
        Machine { rustc: text(rustc), processor: text("processor"), libc: text("libc"), valgrind: text("valgrind") }
    }

    fn record(rustc: &str, counts: &[(&str, u64)]) -> Record {
        let instructions = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Record { machine: machine(rustc), instructions }
    }

    #[test]
    fn five_percent_is_the_limit() {
        let before = record("1", &[("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000), ("gone", 1)]);
        let now = record("1", &[("a", 1050), ("b", 1051), ("c", 950), ("d", 949), ("new", 1)]);
        let verdicts: Vec<(String, Verdict)> =
            compare(&before, &now).into_iter().map(|row| (row.name.clone(), row.verdict())).collect();
        let expected = [
            ("a", Verdict::Same),
            ("b", Verdict::Worse),
            ("c", Verdict::Same),
            ("d", Verdict::Better),
            ("gone", Verdict::Gone),
            ("new", Verdict::New),
        ];
        assert_eq!(verdicts, expected.map(|(name, verdict)| (name.to_owned(), verdict)));
    }

    #[test]
    fn other_machines_records_stay_only_if_the_code_is_unchanged() {
        let (old, other, new) = (record("1", &[("a", 1)]), record("2", &[("a", 2)]), record("1", &[("a", 3)]));
        let mut figures = Figures { records: vec![old, other.clone()] };
        figures.record(new.clone(), true);
        assert_eq!(figures.records, [other, new.clone()]);
        figures.record(new.clone(), false);
        assert_eq!(figures.records, std::slice::from_ref(&new));
        assert_eq!(figures.of(&machine("1")), Some(&new));
        assert_eq!(figures.of(&machine("2")), None);
    }
}
