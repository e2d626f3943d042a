//! Measures the chat server on a store with very many messages: see [`benches::large_store`] and "A large store" in the README.

use std::fs;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use benches::large_store::{Past, Times, time_load, time_pages};
use benches::running::{Cores, Running};
use benches::subject::{ChatStore, Paths, Setup, Subject};
use clap::Parser;

/// Messages are from the last so many days: none is old enough to be forgotten.
const DAYS: u64 = 25;

/// Makes a store with many messages, starts the chat server on it, reads its history, and prints figures.
#[derive(Debug, Parser)]
struct Cli {
    /// Messages in the store
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    messages: u64,
    /// Rooms that they are in
    #[arg(long, default_value_t = 1000)]
    rooms: u64,
    /// How long the history is read under load, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Clients that read it
    #[arg(long, default_value_t = 8)]
    readers: u64,
    /// The server's `store.max_count`, in each room: what is more is forgotten while the history is read
    #[arg(long)]
    max_count: Option<usize>,
    /// Where the store is. It is kept, and used again if it is there, with the same numbers
    #[arg(long, default_value = "target/large-store")]
    data: PathBuf,
    /// Only write the lines for `chat-server store import` to standard output
    #[arg(long)]
    lines: bool,
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    cores: Cores,
}

impl Cli {
    fn tool(&self, action: &str) -> Command {
        let mut command = Command::new(&self.paths.chat_server);
        command.args(["store", action, "--log-level", "error", "--data-dir"]).arg(&self.data);
        command
    }

    /// Fills the store; how long that took.
    fn import(&self, past: &Past) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut tool = self.tool("import").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let input = tool.stdin.take().context("no standard input")?;
        past.write(&mut BufWriter::with_capacity(1 << 16, input))?;
        ensure!(tool.wait()?.success(), "the import failed");
        Ok(begun.elapsed())
    }

    /// Runs a tool; how long it took.
    fn time(&self, action: &str) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let output = self.tool(action).output()?;
        ensure!(output.status.success(), "{action}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(begun.elapsed())
    }
}

fn main() -> anyhow::Result<()> {
    let mut cli = Cli::parse();
    cli.paths.store = ChatStore::Commit;
    let marker = cli.data.join("until");
    let known = fs::read_to_string(&marker).ok().and_then(|text| humantime::parse_rfc3339(text.trim()).ok());
    let until = known.unwrap_or_else(|| SystemTime::now() - Duration::from_secs(60));
    let from = until - Duration::from_secs(DAYS * 86_400);
    let past = Past { messages: cli.messages, rooms: cli.rooms, from, until };
    if cli.lines {
        past.write(&mut BufWriter::new(io::stdout().lock()))?;
        return Ok(());
    }
    if known.is_none() {
        let took = cli.import(&past)?;
        fs::write(&marker, humantime::format_rfc3339_nanos(until).to_string())?;
        println!("import            {:.0} messages/s", cli.messages as f64 / took.as_secs_f64());
    }
    let size = fs::metadata(cli.data.join("chat.db"))?.len();
    println!("file              {} MiB, {:.0} bytes a message", size >> 20, size as f64 / cli.messages as f64);
    println!("store info        {:.2} s", cli.time("info")?.as_secs_f64());
    measure(&cli, &past)
}

fn measure(cli: &Cli, past: &Past) -> anyhow::Result<()> {
    let setup = Setup { data: Some(cli.data.clone()), stored: cli.max_count, ..Setup::default() };
    let begun = Instant::now();
    let server = Running::start(Subject::ChatServer, &cli.paths, &cli.cores, &setup)?;
    println!("start             {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    let memory = |when: &str| -> anyhow::Result<()> {
        let (now, peak) = server.resident()?;
        let pss = server.pss()?;
        println!("{when:17} PSS {} MiB, resident {} MiB, at most {} MiB", pss >> 20, now >> 20, peak >> 20);
        Ok(())
    };
    let show = |what: &str, times: &Times| {
        let [half, most] = [times.percentile(0.5), times.percentile(0.99)];
        println!("{what:17} p50 {half:.2} ms, p99 {most:.2} ms, of {}", times.count());
    };
    memory("started")?;
    for (what, share) in [("newest page", 1.0), ("middle page", 0.5), ("oldest page", 0.02)] {
        show(what, &time_pages(server.address(), past, share, 200.min(cli.rooms))?);
    }
    memory("some pages")?;
    let (pages, acks) = time_load(server.address(), past, cli.readers, Duration::from_secs(cli.seconds))?;
    println!("under load        {:.0} pages/s", pages.count() as f64 / cli.seconds as f64);
    show("pages", &pages);
    show("acknowledgements", &acks);
    memory("under load")?;
    // What a sweep of the retention takes shows in the next seconds.
    std::thread::sleep(Duration::from_secs(12));
    memory("after a sweep")
}
