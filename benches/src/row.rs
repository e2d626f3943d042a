//! One benchmark, called a row: its servers and runs, interleaved, and the evaluation of the results.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::json;

use crate::crowd::Crowd;
use crate::error::Error;
use crate::figure::{Figures, GENERATOR_BUSY, GENERATOR_US, PER_SECOND, SERVER_US, SERVER_USER};
use crate::handshake::{Opened, polling, token};
use crate::load::{Offer, Plan, Rooms};
use crate::meter::Meter;
use crate::outcome::{Account, Column, Outcome, Point, Sample};
use crate::report;
use crate::running::{Cores, Running};
use crate::subject::{Ability, Paths, SECRET, Setup, Subject, output};

/// How many clients are opened before the crowd's heartbeats are answered again.
const BATCH: usize = 250;

/// What all rows have in common.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct Common {
    /// Servers, measured one after the other within each run [default: all that can do it, but for closures and trait]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub servers: Vec<Subject>,
    /// The server the table's ratios refer to
    #[arg(long, value_enum, default_value = "socketioxide")]
    pub baseline: Subject,
    /// Interleaved runs
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// A smoke test: one short run with few clients, whatever other flags say. Only checks that deliveries are exact
    #[arg(long)]
    pub quick: bool,
    /// Microseconds between the generator's looks for readiness; 0 sleeps until there is some, and has the server pay
    /// for waking the generator
    #[arg(long, default_value_t = 100)]
    pub pace_us: u64,
    /// Seconds of load before anything is measured
    #[arg(long, default_value_t = 2.0)]
    pub warm_up: f64,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Where to write the result as JSON; standard output by default
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Where the servers are
    #[command(flatten)]
    pub paths: Paths,
    /// Which core does what
    #[command(flatten)]
    pub cores: Cores,
}

/// One benchmark.
pub trait Row: clap::Args + Serialize {
    /// Its name on the command line.
    const NAME: &'static str;

    /// What it measures, in one sentence.
    fn title(&self) -> String;

    /// The main figure, and others for the table. CPU per delivery by default.
    fn columns(&self) -> (Column, Vec<Column>) {
        let others = [
            (SERVER_USER, "of it in user space", 2),
            (PER_SECOND, "deliveries/s", 0),
            (GENERATOR_US, "generator us/delivery", 3),
        ];
        let others = others.map(|(figure, label, digits)| Column::new(figure, label, digits));
        let busy = Column::new(GENERATOR_BUSY, "generator core busy", 2);
        (Column::new(SERVER_US, "CPU us/delivery", 3), [&others[..], &[busy]].concat())
    }

    /// What a server must support to be measured.
    fn needs(&self) -> &'static [Ability] {
        &[]
    }

    /// Makes it small enough for a smoke of all rows.
    fn shrink(&mut self);

    /// Measures one server in one run.
    ///
    /// # Errors
    /// Whatever keeps it from being measured.
    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()>;
}

/// One server in one run, on which [`Row::measure`] works.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The flags all rows share.
    pub common: &'a Common,
    /// The server.
    pub server: Subject,
    run: usize,
    samples: Vec<Sample>,
    accounts: Vec<Account>,
}

impl Bench<'_> {
    /// Starts the server.
    ///
    /// # Errors
    /// As [`Running::start`]'s.
    pub fn start(&self, setup: &Setup) -> Result<Running, Error> {
        Running::start(self.server, &self.common.paths, &self.common.cores, setup)
    }

    /// An empty crowd that looks for readiness at the generator's pace.
    ///
    /// # Errors
    /// As [`Crowd::new`]'s.
    pub fn crowd(&self) -> Result<Crowd, Error> {
        Crowd::new(Duration::from_micros(self.common.pace_us))
    }

    /// Warms up with `offer`.
    ///
    /// # Errors
    /// As [`Rooms::offer`]'s.
    pub fn warm_up(&self, rooms: &mut Rooms, offer: Offer) -> Result<(), Error> {
        rooms.offer(offer, Duration::from_secs_f64(self.common.warm_up)).map(drop)
    }

    /// Measures `offer` for the flags' time.
    ///
    /// # Errors
    /// As [`Rooms::offer`]'s.
    pub fn offer(&self, running: &Running, rooms: &mut Rooms, offer: Offer) -> Result<Figures, Error> {
        let (sent, deliveries) = (rooms.sent(), rooms.deliveries());
        let meter = Meter::start(running)?;
        rooms.offer(offer, Duration::from_secs_f64(self.common.seconds))?;
        let mut figures = meter.stop(rooms.deliveries() - deliveries)?;
        figures.insert("messages".into(), (rooms.sent() - sent) as f64);
        Ok(figures)
    }

    /// Keeps and logs the figures of one case.
    pub fn record(&mut self, case: &str, at: Option<Point>, figures: Figures) {
        let shown: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        eprintln!("run {}: {}, {case}: {}", self.run + 1, self.server.name(), shown.join(", "));
        let server = self.server.name().to_owned();
        self.samples.push(Sample { server, run: self.run, case: case.to_owned(), at, figures });
    }

    /// Keeps the count of all deliveries to `rooms`.
    pub fn account(&mut self, case: &str, rooms: &Rooms) {
        let (deliveries, faults) = (rooms.deliveries(), rooms.faults());
        let server = self.server.name().to_owned();
        self.accounts.push(Account { server, run: self.run, case: case.to_owned(), deliveries, faults });
    }
}

/// Adds clients on WebSockets until there are `clients`. Each joins its room of `plan`, if it has one.
///
/// # Errors
/// As [`Opened::connect`]'s and [`Crowd::pump`]'s.
pub fn fill(crowd: &mut Crowd, address: SocketAddr, clients: usize, plan: Option<&Plan>) -> Result<(), Error> {
    while crowd.len() < clients {
        for member in crowd.len()..clients.min(crowd.len() + BATCH) {
            let mut opened = Opened::connect(address, &token(SECRET, member)?)?;
            if let Some(plan) = plan.filter(|plan| member < plan.rooms * plan.members) {
                opened.join(&plan.id_of(member))?;
            }
            crowd.add(opened)?;
        }
        crowd.idle(Duration::from_millis(1))?;
    }
    Ok(())
}

/// As [`fill`], on HTTP long-polling.
///
/// # Errors
/// As [`fill`]'s.
pub fn fill_polling(crowd: &mut Crowd, address: SocketAddr, clients: usize, plan: &Plan) -> Result<(), Error> {
    while crowd.len() < clients {
        let member = crowd.len();
        let mut opened = polling::Opened::connect(address, &token(SECRET, member)?)?;
        opened.join(&plan.id_of(member))?;
        crowd.add_polling(opened)?;
    }
    Ok(())
}

/// Measures all servers of `row` in all runs, prints the tables and writes the JSON.
///
/// # Errors
/// Any error that keeps a server from being measured, and faults in the deliveries. The latter are returned after
/// everything is printed and written.
pub fn run<R: Row>(mut row: R, mut common: Common) -> anyhow::Result<()> {
    if common.quick {
        row.shrink();
        (common.runs, common.warm_up, common.seconds) = (1, 0.2, 0.4);
    }
    let mut servers = common.servers.clone();
    if servers.is_empty() {
        let all = <Subject as clap::ValueEnum>::value_variants().iter().copied();
        servers = all.filter(|server| !server.is_layer()).collect();
    }
    servers.retain(|server| {
        let able = row.needs().iter().all(|ability| server.can(*ability));
        if !able {
            eprintln!("{}: left out, {} cannot do it", R::NAME, server.name());
        }
        able
    });
    let (mut samples, mut accounts) = (Vec::new(), Vec::new());
    for run in 0..common.runs {
        for turn in 0..servers.len() {
            // Each run starts with a different server, so that no server always follows the same one.
            let server = servers[(run + turn) % servers.len()];
            let mut bench = Bench { common: &common, server, run, samples: Vec::new(), accounts: Vec::new() };
            row.measure(&mut bench).with_context(|| format!("{} in run {}", server.name(), run + 1))?;
            samples.append(&mut bench.samples);
            accounts.append(&mut bench.accounts);
        }
    }
    let (headline, columns) = row.columns();
    let mut outcome = Outcome {
        row: R::NAME.to_owned(),
        title: row.title(),
        headline,
        columns,
        baseline: common.baseline.name().to_owned(),
        quick: common.quick,
        machine: report::machine(),
        versions: versions(&servers, &common.paths),
        flags: json!({ "row": &row, "common": &common }),
        samples,
        accounts,
        ratios: Vec::new(),
        warnings: Vec::new(),
    };
    outcome.conclude();
    println!("{}", outcome.tables());
    report::write(&serde_json::to_value(&outcome)?, common.json.as_deref())?;
    ensure!(outcome.is_exact(), "deliveries were not exact");
    Ok(())
}

fn versions(servers: &[Subject], paths: &Paths) -> BTreeMap<String, String> {
    let mut versions: BTreeMap<String, String> =
        servers.iter().map(|server| (server.name().to_owned(), server.version(paths))).collect();
    versions.insert("rustc".into(), output(Command::new("rustc").arg("--version")));
    versions
        .insert("commit".into(), output(Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=40"])));
    versions
}
