//! What is computed from figures: medians, ratios within a run, tables to read, JSON to keep.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Error;

/// Median and extremes of one figure over all runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle value; for an even number of values, the mean of the two middle ones.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, min, max })
    }

    /// The spread of the ratio to a peer, computed within each run: `values` and `peer` are in the order of the runs.
    /// Absolute figures of different runs are not compared, because the machine's speed changes between them.
    pub fn of_ratios(values: &[f64], peer: &[f64]) -> Option<Self> {
        Self::of(values.iter().zip(peer).map(|(value, peer)| value / peer))
    }

    /// `median (min-max)` with `digits` decimals.
    pub fn show(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}-{:.digits$})", self.median, self.min, self.max)
    }
}

/// A Markdown table with aligned columns.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::len);
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let line = |cell: &dyn Fn(usize) -> String| {
        let cells: Vec<String> = (0..head.len()).map(|column| format!("{:<1$}", cell(column), width(column))).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut out = line(&|column| head[column].to_owned());
    out.push_str(&line(&|column| "-".repeat(width(column))));
    for row in rows {
        out.push_str(&line(&|column| row.get(column).cloned().unwrap_or_default()));
    }
    out
}

/// What the figures depend on besides the servers.
pub fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    json!({
        "cpu": model,
        // The cores of the machine, not those available to this thread, which is pinned.
        "cores": cpu.lines().filter(|line| line.starts_with("processor")).count(),
        "kernel": read("/proc/sys/kernel/osrelease"),
        "load_average": read("/proc/loadavg"),
        "unix_time": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()),
    })
}

/// Writes `result` to `path`, or to standard output if there is none.
///
/// # Errors
/// [`Error::Io`] if it cannot be written.
pub fn write(result: &Value, path: Option<&Path>) -> Result<(), Error> {
    let Some(path) = path else {
        println!("{result:#}");
        return Ok(());
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("make the result's folder"))?;
    }
    fs::write(path, format!("{result:#}\n")).map_err(Error::io("write the result"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_no_values() {
        let spread = |median, min, max| Some(Spread { median, min, max });
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), spread(2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), spread(2.5, 1.0, 4.0));
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of_ratios(&[1.0, 4.0], &[2.0, 4.0]), spread(0.75, 0.5, 1.0));
    }

    #[test]
    fn a_table_is_aligned() {
        let rows = [vec!["node".to_owned(), "5".to_owned()], vec!["x".to_owned()]];
        let expected = "| server | us |\n| ------ | -- |\n| node   | 5  |\n| x      |    |\n";
        assert_eq!(table(&["server", "us"], &rows), expected);
    }
}
