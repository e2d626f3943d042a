//! Server CPU per delivered message in one room: saturated with a fixed number of messages in flight, and at a low
//! fixed rate, where nothing can be batched.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use benches::crowd::Crowd;
use benches::handshake::{Opened, token};
use benches::ledger::Faults;
use benches::load::{Offer, Room};
use benches::report::{self, Spread};
use benches::subject::{Cores, Paths, Running, SECRET, Subject, generator_cpu};
use clap::Parser;
use serde::Serialize;
use serde_json::json;

const ROOM: &str = "bench";

/// Server CPU per delivered 128-byte message in one room, every delivery verified.
#[derive(Debug, Parser)]
struct Args {
    /// Servers, measured one after the other within each run
    #[arg(long, value_enum, value_delimiter = ',', default_value = "chat-server,node")]
    servers: Vec<Subject>,
    /// The server the ratios refer to
    #[arg(long, value_enum, default_value = "node")]
    baseline: Subject,
    /// Interleaved runs
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Members of the room
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Members that send, in turn
    #[arg(long, default_value_t = 1)]
    senders: usize,
    /// Messages in flight when saturated
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Messages a second in the low-rate phase
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// Microseconds between the generator's looks for readiness; 0 sleeps until there is some, and has the server pay
    /// for waking the generator
    #[arg(long, default_value_t = 100)]
    pace_us: u64,
    /// Seconds of saturated load before anything is measured
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds of the saturated phase
    #[arg(long, default_value_t = 5.0)]
    saturated: f64,
    /// Seconds of the low-rate phase
    #[arg(long, default_value_t = 5.0)]
    low_rate: f64,
    /// Where to write the result as JSON; standard output by default
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    cores: Cores,
}

/// One phase of one server in one run.
#[derive(Debug, Serialize)]
struct Measured {
    server: Subject,
    run: usize,
    phase: &'static str,
    seconds: f64,
    messages: usize,
    deliveries: u64,
    deliveries_per_second: f64,
    server_cpu_us_per_delivery: f64,
    generator_cpu_us_per_delivery: f64,
}

/// The faults of one server in one run, over all its phases and the warm-up.
#[derive(Debug, Serialize)]
struct Verified {
    server: Subject,
    run: usize,
    deliveries: u64,
    faults: Faults,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (mut measured, mut verified) = (Vec::new(), Vec::new());
    for run in 0..args.runs {
        for turn in 0..args.servers.len() {
            // Each run starts with another server, so that none always follows the same one.
            let server = args.servers[(run + turn) % args.servers.len()];
            let account = measure(&args, server, run, &mut measured)
                .with_context(|| format!("{} in run {}", server.name(), run + 1))?;
            verified.push(account);
        }
    }
    print_tables(&args, &measured, &verified);
    let result = json!({
        "benchmark": "fanout",
        "machine": report::machine(),
        "clients": args.clients,
        "senders": args.senders,
        "in_flight": args.in_flight,
        "rate": args.rate,
        "pace_us": args.pace_us,
        "message_bytes": benches::ledger::TEXT_LEN,
        "measured": measured,
        "verified": verified,
    });
    report::write(&result, args.json.as_deref())?;
    anyhow::ensure!(verified.iter().all(|account| account.faults.is_clean()), "deliveries were not exact");
    Ok(())
}

fn measure(args: &Args, server: Subject, run: usize, measured: &mut Vec<Measured>) -> anyhow::Result<Verified> {
    let running = Running::start(server, &args.paths, args.cores)?;
    let mut crowd = Crowd::new(Duration::from_micros(args.pace_us))?;
    for member in 0..args.clients {
        let mut opened = Opened::connect(running.address(), &token(SECRET, member)?)?;
        opened.join(ROOM)?;
        crowd.add(opened)?;
    }
    let mut room = Room::new(crowd, ROOM, args.senders);
    let saturated = Offer::InFlight(args.in_flight);
    room.offer(saturated, Duration::from_secs_f64(args.warm_up))?;
    let phases = [("saturated", saturated, args.saturated), ("low rate", Offer::PerSecond(args.rate), args.low_rate)];
    for (phase, offer, seconds) in phases {
        let (messages, deliveries) = (room.ledger().sent(), room.ledger().deliveries());
        let (server_cpu, own_cpu) = (running.cpu()?, generator_cpu()?);
        let elapsed = room.offer(offer, Duration::from_secs_f64(seconds))?.as_secs_f64();
        let (server_cpu, own_cpu) = (running.cpu()? - server_cpu, generator_cpu()? - own_cpu);
        let deliveries = room.ledger().deliveries() - deliveries;
        let each = 1e6 / deliveries as f64;
        let figures = Measured {
            server,
            run,
            phase,
            seconds: elapsed,
            messages: room.ledger().sent() - messages,
            deliveries,
            deliveries_per_second: deliveries as f64 / elapsed,
            server_cpu_us_per_delivery: server_cpu.as_secs_f64() * each,
            generator_cpu_us_per_delivery: own_cpu.as_secs_f64() * each,
        };
        let (name, cpu) = (server.name(), figures.server_cpu_us_per_delivery);
        eprintln!("run {}: {name}, {phase}: {cpu:.3} us, {:.0} deliveries/s", run + 1, figures.deliveries_per_second);
        measured.push(figures);
    }
    Ok(Verified { server, run, deliveries: room.ledger().deliveries(), faults: room.ledger().faults() })
}

fn print_tables(args: &Args, measured: &[Measured], verified: &[Verified]) {
    let of = |server: Subject, phase: &str, figure: fn(&Measured) -> f64| -> Vec<f64> {
        let mut rows: Vec<&Measured> = measured.iter().filter(|m| m.server == server && m.phase == phase).collect();
        rows.sort_by_key(|row| row.run);
        rows.into_iter().map(figure).collect()
    };
    let show = |spread: Option<Spread>, digits| spread.map_or_else(|| "-".to_owned(), |spread| spread.show(digits));
    let mut rows = Vec::new();
    for phase in ["saturated", "low rate"] {
        for &server in &args.servers {
            let cpu = of(server, phase, |m| m.server_cpu_us_per_delivery);
            let peer = of(args.baseline, phase, |m| m.server_cpu_us_per_delivery);
            rows.push(vec![
                phase.to_owned(),
                server.name().to_owned(),
                show(Spread::of(cpu.iter().copied()), 3),
                show(Spread::of_ratios(&cpu, &peer), 3),
                show(Spread::of(of(server, phase, |m| m.deliveries_per_second)), 0),
                show(Spread::of(of(server, phase, |m| m.generator_cpu_us_per_delivery)), 3),
            ]);
        }
    }
    let ratio = format!("ratio to {}", args.baseline.name());
    println!("Room of {}, {} runs: median (min-max)", args.clients, args.runs);
    let head = ["phase", "server", "CPU us/delivery", &ratio, "deliveries/s", "generator us/delivery"];
    println!("{}", report::table(&head, &rows));
    let mut rows = Vec::new();
    for &server in &args.servers {
        let accounts = || verified.iter().filter(|account| account.server == server);
        let sum = |count: fn(&Verified) -> u64| accounts().map(count).sum::<u64>().to_string();
        rows.push(vec![
            server.name().to_owned(),
            sum(|account| account.deliveries),
            sum(|account| account.faults.lost),
            sum(|account| account.faults.duplicated),
            sum(|account| account.faults.reordered),
            sum(|account| account.faults.corrupt),
            sum(|account| account.faults.diverged),
        ]);
    }
    let head = ["server", "deliveries", "lost", "duplicated", "reordered", "corrupt", "members diverged"];
    println!("{}", report::table(&head, &rows));
}
