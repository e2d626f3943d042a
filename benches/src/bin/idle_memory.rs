//! Memory per idle client: the slope of the server's proportional set size between two numbers of connected,
//! authenticated WebSocket clients that do nothing but answer heartbeats.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use benches::crowd::Crowd;
use benches::handshake::{Opened, token};
use benches::report::{self, Spread};
use benches::subject::{Cores, Paths, Running, SECRET, Subject};
use clap::Parser;
use serde::Serialize;
use serde_json::json;

/// Clients opened before the crowd's heartbeats are looked after again.
const BATCH: usize = 250;

/// Bytes of server memory (PSS) per idle authenticated WebSocket client.
#[derive(Debug, Parser)]
struct Args {
    /// Servers, measured one after the other within each run
    #[arg(long, value_enum, value_delimiter = ',', default_value = "chat-server,node")]
    servers: Vec<Subject>,
    /// The server the ratios refer to
    #[arg(long, value_enum, default_value = "node")]
    baseline: Subject,
    /// Interleaved runs
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Clients at the slope's lower end
    #[arg(long, default_value_t = 1000)]
    low: usize,
    /// Clients at its upper end
    #[arg(long, default_value_t = 5000)]
    high: usize,
    /// Seconds of silence before memory is read
    #[arg(long, default_value_t = 3.0)]
    settle: f64,
    /// Where to write the result as JSON; standard output by default
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    cores: Cores,
}

/// One server in one run.
#[derive(Debug, Serialize)]
struct Measured {
    server: Subject,
    run: usize,
    pss_low: u64,
    pss_high: u64,
    bytes_per_client: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(args.low < args.high, "--low must be below --high");
    let mut measured = Vec::new();
    for run in 0..args.runs {
        for turn in 0..args.servers.len() {
            let server = args.servers[(run + turn) % args.servers.len()];
            let figures =
                measure(&args, server, run).with_context(|| format!("{} in run {}", server.name(), run + 1))?;
            eprintln!("run {}: {}: {:.0} bytes a client", run + 1, server.name(), figures.bytes_per_client);
            measured.push(figures);
        }
    }
    print_table(&args, &measured);
    let result = json!({
        "benchmark": "idle_memory",
        "machine": report::machine(),
        "clients_low": args.low,
        "clients_high": args.high,
        "measured": measured,
    });
    report::write(&result, args.json.as_deref())?;
    Ok(())
}

fn measure(args: &Args, server: Subject, run: usize) -> anyhow::Result<Measured> {
    let running = Running::start(server, &args.paths, args.cores)?;
    let mut crowd = Crowd::new(Duration::ZERO)?;
    let settle = Duration::from_secs_f64(args.settle);
    let mut grow_to = |clients: usize| -> anyhow::Result<u64> {
        while crowd.len() < clients {
            for _ in 0..BATCH.min(clients - crowd.len()) {
                crowd.add(Opened::connect(running.address(), &token(SECRET, crowd.len())?)?)?;
            }
            idle(&mut crowd, Duration::from_millis(1))?;
        }
        idle(&mut crowd, settle)?;
        Ok(running.pss()?)
    };
    let (pss_low, pss_high) = (grow_to(args.low)?, grow_to(args.high)?);
    let bytes_per_client = (pss_high as f64 - pss_low as f64) / (args.high - args.low) as f64;
    Ok(Measured { server, run, pss_low, pss_high, bytes_per_client })
}

/// Answers heartbeats for `duration`.
fn idle(crowd: &mut Crowd, duration: Duration) -> anyhow::Result<()> {
    let start = Instant::now();
    while let Some(left) = duration.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        crowd.pump(left, |_, _| {})?;
    }
    Ok(())
}

fn print_table(args: &Args, measured: &[Measured]) {
    let of = |server: Subject, figure: fn(&Measured) -> f64| -> Vec<f64> {
        let mut rows: Vec<&Measured> = measured.iter().filter(|row| row.server == server).collect();
        rows.sort_by_key(|row| row.run);
        rows.into_iter().map(figure).collect()
    };
    let show = |spread: Option<Spread>, digits| spread.map_or_else(|| "-".to_owned(), |spread| spread.show(digits));
    let peer = of(args.baseline, |row| row.bytes_per_client);
    let mut rows = Vec::new();
    for &server in &args.servers {
        let bytes = of(server, |row| row.bytes_per_client);
        rows.push(vec![
            server.name().to_owned(),
            show(Spread::of(bytes.iter().copied()), 0),
            show(Spread::of_ratios(&bytes, &peer), 3),
            show(Spread::of(of(server, |row| row.pss_high as f64 / f64::from(1 << 20))), 1),
        ]);
    }
    println!("Idle clients, {} to {}, {} runs: median (min-max)", args.low, args.high, args.runs);
    let ratio = format!("ratio to {}", args.baseline.name());
    println!("{}", report::table(&["server", "bytes/client", &ratio, "PSS MiB at the upper end"], &rows));
}
