//! Turns the results that `benches/run` kept into a Markdown file with every table, and an SVG for every plot.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use benches::outcome::Outcome;
use benches::subject::Subject;
use benches::{plot, report};
use clap::Parser;

/// The order of the rows; other rows follow.
const ORDER: [&str; 10] =
    ["fanout", "rooms", "echo", "polling", "binary", "connect", "idle-memory", "heartbeat", "slow", "growth"];

/// Makes tables and plots of results that `benches/run` kept.
#[derive(Debug, Parser)]
struct Args {
    /// The folder of the results
    #[arg(long, default_value = "bench-results")]
    from: PathBuf,
    /// The folder the plots are written to
    #[arg(long, default_value = "bench-results")]
    plots: PathBuf,
    /// The Markdown file; standard output without one
    #[arg(long)]
    markdown: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let outcomes = read(&args.from)?;
    fs::create_dir_all(&args.plots)?;
    let mut details = String::new();
    for outcome in &outcomes {
        let _ = write!(details, "\n## {}\n\n", outcome.row);
        for (name, svg) in plot::all(outcome).with_context(|| outcome.row.clone())? {
            let path = args.plots.join(format!("{name}.svg"));
            fs::write(&path, svg).with_context(|| path.display().to_string())?;
            let _ = writeln!(details, "![{name}]({name}.svg)\n");
        }
        details.push_str(&outcome.tables());
    }
    let markdown = format!("# Benchmarks\n\n{}\n{}{details}", facts(&outcomes), summary(&outcomes));
    match args.markdown {
        Some(path) => fs::write(&path, markdown).with_context(|| path.display().to_string())?,
        None => print!("{markdown}"),
    }
    Ok(())
}

/// Every result in `folder`, in the order of [`ORDER`].
fn read(folder: &Path) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let json = fs::read(&path)?;
            let outcome: Outcome = serde_json::from_slice(&json).with_context(|| path.display().to_string())?;
            ensure!(outcome.is_exact(), "{}: its deliveries were not exact", path.display());
            outcomes.push(outcome);
        }
    }
    let place = |row: &str| ORDER.iter().position(|known| *known == row).unwrap_or(ORDER.len());
    outcomes.sort_by_key(|outcome| (place(&outcome.row), outcome.row.clone()));
    Ok(outcomes)
}

/// Machine and versions, once for all rows that have the same.
fn facts(outcomes: &[Outcome]) -> String {
    let mut facts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for outcome in outcomes {
        let machine = &outcome.machine;
        let versions: Vec<String> =
            outcome.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let text = format!(
            "{}, {} cores, Linux {}; {}",
            machine["cpu"],
            machine["cores"],
            machine["kernel"],
            versions.join(", ")
        );
        facts.entry(text).or_default().push(&outcome.row);
    }
    facts.into_iter().fold(String::new(), |mut out, (text, rows)| {
        let _ = writeln!(out, "- {}: {text}", rows.join(", "));
        out
    })
}

/// One line for each case: every server's median of the row's main figure.
fn summary(outcomes: &[Outcome]) -> String {
    let servers: Vec<&str> =
        <Subject as clap::ValueEnum>::value_variants().iter().map(|server| server.name()).collect();
    let mut rows = Vec::new();
    for outcome in outcomes {
        for case in outcome.cases() {
            let mut row = vec![outcome.row.clone(), case.to_owned(), outcome.headline.label.clone()];
            for server in &servers {
                let spread = outcome.spread(server, case, &outcome.headline.figure);
                row.push(
                    spread.map_or_else(String::new, |spread| format!("{:.*}", outcome.headline.digits, spread.median)),
                );
            }
            rows.push(row);
        }
    }
    let head = [&["row", "case", "figure"][..], &servers].concat();
    report::table(&head, &rows)
}
