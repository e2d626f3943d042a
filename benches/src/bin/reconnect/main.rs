//! Measures what it costs when clients come back: see [`benches::reconnect`] and "Coming back" in the README.

use anyhow::ensure;
use benches::herd::Pace;
use benches::reconnect::{Crowd, Return, Way};
use benches::report::Spread;
use benches::running::{Cores, Running};
use benches::subject::{ChatStore, Paths, Setup, Subject};
use clap::Parser;

/// Cuts thousands of clients, which come back with their sessions or as new clients, and prints what that took.
#[derive(Debug, Parser)]
struct Cli {
    /// Clients, each in the lobby and one room
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Rooms that they are in
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u16).range(1..=98))]
    rooms: u16,
    /// Messages that the lobby and each room get while they are away
    #[arg(long, default_value_t = 3)]
    missed: u32,
    /// How often each way to come back is measured; medians are printed
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Of so many clients the answer to CONNECT is timed
    #[arg(long, default_value_t = 2000)]
    timed: usize,
    /// How many of these come back each second
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Workers of the server
    #[arg(long, default_value_t = 1)]
    workers: usize,
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    cores: Cores,
}

/// Both ways to come back: with sessions, and without.
type Both = [Vec<Return>; 2];

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let data = tempfile::tempdir()?;
    let setup = Setup { workers: cli.workers, data: Some(data.path().to_owned()), ..Setup::default() };
    let start = || Ok(Running::start(Subject::ChatServer, &cli.paths, &cli.cores, &setup)?);
    let mut server: Running = start()?;
    let mut crowd = Crowd::gather(server.address(), cli.clients, cli.rooms.into())?;
    println!("{:40} {:>12} {:>12}", "", "with session", "anew");
    let mut together = Both::default();
    for _ in 0..cli.runs {
        for (with_sessions, returns) in [true, false].into_iter().zip(&mut together) {
            let way = Way { pace: Pace::BackOff, with_sessions, missed: cli.missed };
            returns.push(crowd.cut(&server, cli.clients, way)?);
        }
    }
    show("cut, all at once", &together)?;
    let mut paced = Both::default();
    for _ in 0..cli.runs {
        for (with_sessions, returns) in [true, false].into_iter().zip(&mut paced) {
            let way = Way { pace: Pace::Rate(cli.rate), with_sessions, missed: cli.missed };
            returns.push(crowd.cut(&server, cli.timed.min(cli.clients), way)?);
        }
    }
    show(&format!("cut, {} a second", cli.rate), &paced)?;
    if cli.paths.store == ChatStore::Memory {
        return Ok(());
    }
    let mut killed = Both::default();
    for _ in 0..cli.runs {
        for (with_sessions, returns) in [true, false].into_iter().zip(&mut killed) {
            let way = Way { pace: Pace::BackOff, with_sessions, missed: cli.missed };
            let (next, back) = crowd.kill(server, start, way)?;
            server = next;
            returns.push(back);
        }
    }
    show("killed, all at once", &killed)?;
    let mut killed = Both::default();
    for (with_sessions, returns) in [true, false].into_iter().zip(&mut killed) {
        let way = Way { pace: Pace::Rate(cli.rate), with_sessions, missed: cli.missed };
        let (next, back) = crowd.kill(server, start, way)?;
        server = next;
        returns.push(back);
    }
    show(&format!("killed, {} a second", cli.rate), &killed)
}

/// Prints the figures. Fails if a client has not got its socket.
fn show(what: &str, both: &Both) -> anyhow::Result<()> {
    println!("{what}");
    let line = |name: &str, figure: &dyn Fn(&Return) -> f64, digits: usize| {
        let [with, anew] = both
            .each_ref()
            .map(|returns| Spread::of(returns.iter().map(figure)).map_or(f64::NAN, |spread| spread.median));
        println!("  {name:38} {with:12.digits$} {anew:12.digits$}");
    };
    line("clients", &|back| back.clients as f64, 0);
    line("recovered", &|back| back.recovered as f64, 0);
    line("CPU of the server, us a client", &|back| back.server_us, 1);
    line("the last is back after, ms", &|back| back.last, 0);
    line("CONNECT to answer, median, ms", &|back| back.percentile(0.5), 2);
    line("CONNECT to answer, p99, ms", &|back| back.percentile(0.99), 2);
    let [with, _] = both;
    for back in with {
        ensure!(back.recovered == back.clients, "{} of {} clients are recovered", back.recovered, back.clients);
    }
    Ok(())
}
