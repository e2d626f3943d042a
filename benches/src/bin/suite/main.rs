//! The end-to-end benchmarks, one subcommand for each row. `benches/run` builds what they need and calls them all.

use benches::row::{self, Common, Row};
use benches::rows::binary::Binary;
use benches::rows::connect::Connect;
use benches::rows::echo::Echo;
use benches::rows::fanout::Fanout;
use benches::rows::growth::Growth;
use benches::rows::heartbeat::Heartbeat;
use benches::rows::idle_memory::IdleMemory;
use benches::rows::polling::Polling;
use benches::rows::rooms::Rooms;
use benches::rows::slow::Slow;
use clap::{Args, Parser, Subcommand};

/// End-to-end benchmarks of the chat server and its peers, every delivery verified.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    row: Command,
}

#[derive(Debug, Args)]
struct Flags<R: Row> {
    #[command(flatten)]
    row: R,
    #[command(flatten, next_help_heading = "Common to all rows")]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Command {
    Fanout(Flags<Fanout>),
    Rooms(Flags<Rooms>),
    Echo(Flags<Echo>),
    Polling(Flags<Polling>),
    Binary(Flags<Binary>),
    Connect(Flags<Connect>),
    IdleMemory(Flags<IdleMemory>),
    Heartbeat(Flags<Heartbeat>),
    Slow(Flags<Slow>),
    Growth(Flags<Growth>),
}

impl<R: Row> Flags<R> {
    fn run(self) -> anyhow::Result<()> {
        row::run(self.row, self.common)
    }
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().row {
        Command::Fanout(flags) => flags.run(),
        Command::Rooms(flags) => flags.run(),
        Command::Echo(flags) => flags.run(),
        Command::Polling(flags) => flags.run(),
        Command::Binary(flags) => flags.run(),
        Command::Connect(flags) => flags.run(),
        Command::IdleMemory(flags) => flags.run(),
        Command::Heartbeat(flags) => flags.run(),
        Command::Slow(flags) => flags.run(),
        Command::Growth(flags) => flags.run(),
    }
}
