//! What bystanders feel of attacks: see [`benches::canary`] and "Canaries" in the README.

use std::time::Duration;

use benches::canary::{ATTACKS, Attack, Canaries, Felt};
use benches::running::{Cores, Running};
use benches::subject::{Paths, Setup, Subject};
use clap::Parser;

/// Runs attacks against the chat server with its default limits, and prints what bystanders feel of them.
#[derive(Debug, Parser)]
struct Cli {
    /// The attacks to run; all, if none is named
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(ATTACKS.map(|attack| attack.name)))]
    attacks: Vec<String>,
    /// How long each of the three measurements of an attack takes, in seconds
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How often an attack is measured. Of each figure the lowest counts: what else the machine does only adds to it
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=20))]
    rounds: u64,
    /// The server's workers
    #[arg(long, default_value_t = 1)]
    workers: usize,
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    cores: Cores,
}

impl Cli {
    fn run(&self, attack: &Attack) -> anyhow::Result<[Felt; 3]> {
        let setup = Setup { workers: self.workers, limited: true, ..Setup::default() };
        let start = || Running::start(Subject::ChatServer, &self.paths, &self.cores, &setup);
        let (server, other) = (start()?, start()?);
        let mut canaries = Canaries::connect(server.address())?;
        let span = Duration::from_secs(self.seconds);
        let alone = canaries.talk(span);
        let elsewhere = canaries.talk_during(attack, other.address(), span)?;
        drop(other);
        let here = canaries.talk_during(attack, server.address(), span)?;
        Ok([alone, elsewhere, here])
    }
}

/// The places of the three measurements.
const ALONE: usize = 0;
const ELSEWHERE: usize = 1;
const HERE: usize = 2;

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    println!("Milliseconds, p50 / p99.\n");
    println!("| attack | attacks/s | alone | elsewhere | here | here / alone | here / elsewhere | lost |");
    println!("|---|---|---|---|---|---|---|---|");
    for attack in &ATTACKS {
        if !cli.attacks.is_empty() && !cli.attacks.iter().any(|name| name == attack.name) {
            continue;
        }
        let rounds = (0..cli.rounds).map(|_| cli.run(attack)).collect::<anyhow::Result<Vec<_>>>()?;
        let lowest =
            |which: usize, share| rounds.iter().map(|felt| felt[which].percentile(share)).fold(f64::INFINITY, f64::min);
        let shown = |which| format!("{:.2} / {:.2}", lowest(which, 0.5), lowest(which, 0.99));
        let ratio = |base| lowest(HERE, 0.99) / lowest(base, 0.99);
        let attacks = rounds.iter().map(|felt| felt[HERE].attacks).sum::<f64>() / rounds.len() as f64;
        println!(
            "| `{}`: {} | {:.0} | {} | {} | {} | {:.1} | {:.1} | {} |",
            attack.name,
            attack.what,
            attacks,
            shown(ALONE),
            shown(ELSEWHERE),
            shown(HERE),
            ratio(ALONE),
            ratio(ELSEWHERE),
            rounds.iter().flatten().map(|felt| felt.lost).sum::<usize>()
        );
    }
    Ok(())
}
