//! The raw clients of `conformance/herd`: see [`benches::herd`]. A line `since TIME` of standard input (in milliseconds since 1970)
//! is a question. The answer is a line of JSON, when every client has connected since then or has given up, or after half a minute.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use benches::herd::{Habits, Herd, Origin};
use clap::{ArgAction, Parser};

/// How long to wait for the herd.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often to look whether all are there.
const LOOK: Duration = Duration::from_millis(50);

/// Clients that come back by themselves, as the source document's client does.
#[derive(Debug, Parser)]
struct Cli {
    /// The server's address and port
    #[arg(long)]
    address: SocketAddr,
    /// The secret that signs their tokens
    #[arg(long)]
    secret: String,
    /// How many
    #[arg(long)]
    clients: usize,
    /// Whom `X-Forwarded-For` names
    #[arg(long, value_enum, default_value = "loopback")]
    origin: Origin,
    /// Whether they ask for their sockets when they come back, as official clients do
    #[arg(long, action = ArgAction::Set, default_value_t = true)]
    recover: bool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let habits = Habits { origin: cli.origin, recover: cli.recover, rooms: 0 };
    let mut herd = Herd::new(cli.address, &cli.secret, cli.clients, habits)?;
    let waker = herd.waker()?;
    let (sender, questions) = mpsc::channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = sender.send(line);
            let _ = waker.wake();
        }
        drop(sender);
        let _ = waker.wake();
    });
    let (mut asked, mut look_at): (Option<(SystemTime, Instant)>, _) = (None, Instant::now());
    loop {
        herd.pump(LOOK)?;
        // To look at all clients after each turn would take the time that they need.
        if Instant::now() < look_at {
            continue;
        }
        look_at = Instant::now() + LOOK;
        match questions.try_recv() {
            Ok(line) => {
                let time = line.strip_prefix("since ").unwrap_or_default();
                let millis = time.parse().with_context(|| format!("not a question: {line:?}"))?;
                asked = Some((UNIX_EPOCH + Duration::from_millis(millis), Instant::now()));
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
        if let Some((since, begun)) = asked
            && (herd.is_settled(since) || begun.elapsed() > PATIENCE)
        {
            if !herd.is_settled(since) {
                eprintln!("{}", herd.describe());
            }
            asked = None;
            let mut stdout = std::io::stdout().lock();
            serde_json::to_writer(&mut stdout, &herd.count(since))?;
            stdout.write_all(b"\n")?;
            stdout.flush()?;
        }
    }
}
