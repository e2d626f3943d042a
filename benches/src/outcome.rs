//! The result of one row: every figure of every server in every run, what the figures depend on, and how to read them.
//! It is kept as JSON, which the report reads back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::figure::{Figures, GENERATOR_BUSY, SATURATED};
use crate::ledger::Faults;
use crate::report::{self, Spread};

/// A figure in a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in [`Figures`].
    pub figure: String,
    /// Its heading.
    pub label: String,
    /// Decimals shown.
    pub digits: usize,
}

impl Column {
    /// A figure shown with `digits` decimals under `label`.
    pub fn new(figure: &str, label: &str, digits: usize) -> Self {
        Self { figure: figure.to_owned(), label: label.to_owned(), digits }
    }
}

/// The figures of one server in one case of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The server's name.
    pub server: String,
    /// The run, from 0.
    pub run: usize,
    /// The case within the row.
    pub case: String,
    /// Its point on a line of the plot, if the cases form one.
    pub at: Option<Point>,
    /// The figures.
    pub figures: Figures,
}

/// A point on a line of the plot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// What grows, such as "members of the room".
    pub axis: String,
    /// Its value at this point.
    pub value: f64,
}

/// The deliveries of one server in one run, over everything that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The server's name.
    pub server: String,
    /// The run, from 0.
    pub run: usize,
    /// The case, or the cases, that it covers.
    pub case: String,
    /// Deliveries that arrived.
    pub deliveries: u64,
    /// The faults among them.
    pub faults: Faults,
}

/// The ratio of one server to another in one case, computed within each run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The case.
    pub case: String,
    /// The server whose figure is divided.
    pub server: String,
    /// The server whose figure divides it.
    pub to: String,
    /// Its spread over the runs.
    #[serde(flatten)]
    pub spread: Spread,
}

/// One row's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The row's name, as on the command line.
    pub row: String,
    /// What it measures.
    pub title: String,
    /// The main figure; ratios are ratios of it.
    pub headline: Column,
    /// Other figures for the table.
    pub columns: Vec<Column>,
    /// The server the table's ratios refer to.
    pub baseline: String,
    /// Whether this was a smoke test, whose figures mean nothing.
    pub quick: bool,
    /// What the figures depend on besides the servers.
    pub machine: Value,
    /// Commit, compiler, and the version of each server.
    pub versions: BTreeMap<String, String>,
    /// Every flag with its value.
    pub flags: Value,
    /// All figures.
    pub samples: Vec<Sample>,
    /// All deliveries.
    pub accounts: Vec<Account>,
    /// Ratios of the headline between all servers.
    pub ratios: Vec<Ratio>,
    /// What a reader has to know, such as that the generator was the limit.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// The cases, in the order in which they were measured.
    pub fn cases(&self) -> Vec<&str> {
        distinct(self.samples.iter().map(|sample| &*sample.case))
    }

    /// The servers, in the order in which they were first measured.
    pub fn servers(&self) -> Vec<&str> {
        distinct(self.samples.iter().map(|sample| &*sample.server))
    }

    /// The median and extremes of a figure; `None` if the server was not measured in this case.
    pub fn spread(&self, server: &str, case: &str, figure: &str) -> Option<Spread> {
        Spread::of(self.values(server, case, figure).into_values())
    }

    /// A figure for each run.
    fn values(&self, server: &str, case: &str, figure: &str) -> BTreeMap<usize, f64> {
        let samples = self.samples.iter().filter(|sample| sample.server == server && sample.case == case);
        samples.filter_map(|sample| Some((sample.run, *sample.figures.get(figure)?))).collect()
    }

    /// Fills in [`Self::ratios`] and adds to [`Self::warnings`] what the figures show.
    pub fn conclude(&mut self) {
        let mut ratios = Vec::new();
        for case in self.cases() {
            for server in self.servers() {
                let values = self.values(server, case, &self.headline.figure);
                for to in self.servers().into_iter().filter(|to| *to != server) {
                    let others = self.values(to, case, &self.headline.figure);
                    let pairs = values.iter().filter_map(|(run, value)| Some((value, others.get(run)?)));
                    let spread =
                        Spread::of(pairs.map(|(value, other)| value / other).filter(|ratio| ratio.is_finite()));
                    let ratio = |spread| Ratio { case: case.into(), server: server.into(), to: to.into(), spread };
                    ratios.extend(spread.map(ratio));
                }
            }
        }
        let mut busy = Vec::new();
        for case in self.cases() {
            for server in self.servers() {
                let share = self.spread(server, case, GENERATOR_BUSY).map_or(0.0, |busy| busy.median);
                if share > SATURATED {
                    busy.push(format!("{server}, {case} ({:.0} %)", share * 100.0));
                }
            }
        }
        self.ratios = ratios;
        if !busy.is_empty() {
            self.warnings.push(format!(
                "the generator's core was over {:.0} % busy, so that deliveries/s may be its limit, with {}",
                SATURATED * 100.0,
                busy.join("; ")
            ));
        }
    }

    /// Whether every delivery came exactly once and in order.
    pub fn is_exact(&self) -> bool {
        self.accounts.iter().all(|account| account.faults.is_clean())
    }

    fn ratio(&self, case: &str, server: &str, to: &str) -> String {
        let found = self.ratios.iter().find(|ratio| ratio.case == case && ratio.server == server && ratio.to == to);
        found.map_or_else(|| "-".to_owned(), |ratio| ratio.spread.show(3))
    }

    /// Tables in Markdown: figures and ratios, then deliveries.
    pub fn tables(&self) -> String {
        let ours = crate::subject::Subject::ChatServer.name();
        let (to_baseline, to_this) = (format!("ratio to {}", self.baseline), format!("{ours} to this"));
        let columns: Vec<&Column> = std::iter::once(&self.headline).chain(&self.columns).collect();
        let mut head = vec!["case", "server"];
        head.extend(columns.iter().map(|column| &*column.label));
        // Some ratios do not exist: those to a server that was not measured.
        let based = self.servers().len() > 1 && self.servers().contains(&&*self.baseline);
        let compares = self.servers().len() > 1 && self.servers().contains(&ours);
        head.extend(based.then_some(&*to_baseline));
        head.extend(compares.then_some(&*to_this));
        let mut rows = Vec::new();
        for case in self.cases() {
            for server in self.servers() {
                let Some(_) = self.spread(server, case, &self.headline.figure) else { continue };
                let mut row = vec![case.to_owned(), server.to_owned()];
                row.extend(columns.iter().map(|column| {
                    let spread = self.spread(server, case, &column.figure);
                    spread.map_or_else(|| "-".to_owned(), |spread| spread.show(column.digits))
                }));
                row.extend(based.then(|| self.ratio(case, server, &self.baseline)));
                row.extend(compares.then(|| self.ratio(case, ours, server)));
                rows.push(row);
            }
        }
        let runs = self.samples.iter().map(|sample| sample.run + 1).max().unwrap_or(0);
        let quick = if self.quick { " (a smoke test: the figures mean nothing)" } else { "" };
        let mut out = format!("{}\n\n{runs} runs, median (min-max){quick}\n\n", self.title);
        out.push_str(&report::table(&head, &rows));
        for warning in &self.warnings {
            let _ = write!(out, "\nNote: {warning}\n");
        }
        if !self.accounts.is_empty() {
            let _ = write!(out, "\n{}", self.deliveries());
        }
        out
    }

    fn deliveries(&self) -> String {
        let rows: Vec<Vec<String>> = distinct(self.accounts.iter().map(|account| &*account.server))
            .into_iter()
            .map(|server| {
                let (mut deliveries, mut faults) = (0, Faults::default());
                for account in self.accounts.iter().filter(|account| account.server == server) {
                    deliveries += account.deliveries;
                    faults.add(account.faults);
                }
                let Faults { lost, duplicated, reordered, corrupt, diverged } = faults;
                let counts =
                    [deliveries, lost, duplicated, reordered, corrupt, diverged].map(|count| count.to_string());
                [vec![server.to_owned()], counts.to_vec()].concat()
            })
            .collect();
        let head = ["server", "deliveries", "lost", "duplicated", "reordered", "corrupt", "members diverged"];
        report::table(&head, &rows)
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two servers, two runs: 1 and 4 against 2 and 4.
    pub(crate) fn outcome() -> Outcome {
        let sample = |server: &str, run, value: f64| Sample {
            server: server.into(),
            run,
            case: "saturated".into(),
            at: Some(Point { axis: "members".into(), value: 10.0 }),
            figures: Figures::from([("cpu".into(), value), (GENERATOR_BUSY.into(), value / 4.0)]),
        };
        let samples = vec![
            sample("chat-server", 0, 1.0),
            sample("node", 0, 2.0),
            sample("node", 1, 4.0),
            sample("chat-server", 1, 4.0),
        ];
        let mut outcome = Outcome {
            row: "fanout".into(),
            title: "Fan-out".into(),
            headline: Column::new("cpu", "CPU us", 1),
            columns: Vec::new(),
            baseline: "node".into(),
            quick: false,
            machine: Value::Null,
            versions: BTreeMap::new(),
            flags: Value::Null,
            samples,
            accounts: Vec::new(),
            ratios: Vec::new(),
            warnings: Vec::new(),
        };
        outcome.conclude();
        outcome
    }

    #[test]
    fn ratios_are_taken_within_each_run() {
        let outcome = outcome();
        let ratio = outcome.ratios.iter().find(|ratio| ratio.server == "chat-server").unwrap();
        assert_eq!((&*ratio.to, ratio.spread), ("node", Spread { median: 0.75, min: 0.5, max: 1.0 }));
        assert!(outcome.tables().contains("| saturated | chat-server | 2.5 (1.0-4.0) | 0.750 (0.500-1.000) | -"));
        assert!(outcome.tables().contains("| 0.750 (0.500-1.000) |\n"));
    }

    #[test]
    fn a_saturated_generator_is_reported() {
        let mut outcome = outcome();
        assert!(outcome.warnings.is_empty());
        for sample in &mut outcome.samples {
            sample.figures.insert(GENERATOR_BUSY.into(), 0.96);
        }
        outcome.conclude();
        assert_eq!(outcome.warnings.len(), 1);
        assert!(outcome.tables().contains("chat-server, saturated (96 %); node, saturated (96 %)"));
    }

    #[test]
    fn any_fault_makes_it_inexact_and_json_keeps_it() {
        let mut outcome = outcome();
        assert!(outcome.is_exact());
        let faults = Faults { lost: 1, ..Faults::default() };
        outcome.accounts.push(Account {
            server: "node".into(),
            run: 0,
            case: "saturated".into(),
            deliveries: 2,
            faults,
        });
        assert!(!outcome.is_exact());
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
    }
}
