//! `chat-server bench URL`: a small load on a running server, to see how many users a machine is good for.
//!
//! Users connect at a steady rate, then messages come at a steady rate, however long the answers take. Every delivery is counted.
//! One thread does all of it, so its own limits are near: it says when it was busy itself. For figures of the server alone there is
//! `benches/run`.
//!
//! | file | what it does |
//! |---|---|
//! | `user` | one user: connects, sends, counts what comes |
//! | `figures` | counts and latencies of all users, and how they are printed |
//! | `process` | CPU time and memory of a process |

mod figures;
mod process;
mod user;

use std::{
    cell::RefCell,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{
    sync::mpsc,
    task::{JoinSet, LocalSet},
    time::{sleep, sleep_until, timeout},
};

use crate::{
    client::{Connector, Target},
    config::ConfigError,
    descriptors,
};

use figures::{Figures, Report};
use process::Process;
use user::{Order, User, room_name};

/// The command line of `bench`. Everything is bounded: this is to find a size, not to attack.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// URL of the server, or of the proxy in front of it. Its tokens are signed with this configuration's secret
    #[arg(value_name = "URL", value_parser = Target::parse)]
    url: Target,
    /// Users, each with one connection
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Rooms, over which the users are spread evenly [default: a tenth of the connections]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rooms: Option<u32>,
    /// Messages a second, of all users together; 0: none, only connections
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    rate: u32,
    /// Time in which messages are sent
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Characters of a message
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(32..=4096))]
    size: u32,
    /// New connections a second. Above limits.connect_rate (100 by default) an address is refused, but not loopback
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    connect_rate: u32,
    /// Process id of the server, if it runs on this machine: prints its CPU time and memory
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// PEM file of a certificate authority to trust beside the operating system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&duration) {
        Ok(duration)
    } else {
        Err("from 1s to 10m".to_owned())
    }
}

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time between the last connect and the first message: announcements of who is online are over by then.
const PAUSE: Duration = Duration::from_secs(1);

/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);

/// Puts the load on the server, and prints what it took. `sign` makes a token of a user that opens one room.
///
/// # Errors
/// Nobody gets in, or something was lost.
pub(crate) fn run(arguments: &Arguments, sign: impl Fn(&str, &str) -> anyhow::Result<String>) -> anyhow::Result<()> {
    let wanted = usize::try_from(arguments.connections).context("--connections")?;
    if descriptors::raise(1).is_some_and(|allowed| allowed < wanted) {
        return Err(
            ConfigError::new("--connections", "more than this process may open files; raise `ulimit -n`").into()
        );
    }
    let rooms = arguments.rooms.unwrap_or_else(|| arguments.connections.div_ceil(10)).min(arguments.connections);
    let users = (0..arguments.connections).map(|number| {
        let room = number % rooms;
        let token = sign(&format!("bench-{number}"), &room_name(room))?;
        Ok((room, token))
    });
    let users: Vec<(u32, String)> = users.collect::<anyhow::Result<_>>()?;
    let connector = Connector::new(arguments.url.clone(), arguments.ca.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    let figures = Rc::new(RefCell::new(Figures::default()));
    let report = LocalSet::new().block_on(&runtime, load(arguments, rooms, users, &connector, &figures))?;
    report.print(&figures.borrow())
}

/// The users that are connected.
struct Crowd {
    /// Where to tell them what to send, by their rooms; without rooms that nobody is in.
    members: Vec<Vec<mpsc::Sender<Order>>>,
    /// Their tasks, which end when nobody can tell them anything any more.
    users: JoinSet<()>,
}

async fn load(
    arguments: &Arguments,
    rooms: u32,
    users: Vec<(u32, String)>,
    connector: &Connector,
    figures: &Rc<RefCell<Figures>>,
) -> anyhow::Result<Report> {
    let server = arguments.pid.map(Process);
    let before = server.map(Process::usage).transpose().context("--pid")?;
    let start = Instant::now();
    let Crowd { members, users } = connect(arguments, rooms, users, connector, figures).await;
    let connecting = start.elapsed();
    if members.is_empty() {
        let failures = figures.borrow().failures();
        let hint = if failures.contains("token_invalid") {
            "; --config or --jwt-secret-file must name the secret of that server"
        } else {
            ""
        };
        bail!("no user got in: {failures}{hint}");
    }
    // Who is online is announced to many, and that is work of its own.
    sleep(PAUSE).await;
    let connected = server.map(Process::usage).transpose().context("--pid")?;
    let own = Process::own().usage().ok();
    let start = Instant::now();
    let lag = send(arguments, start, &members, figures).await;
    let sending = start.elapsed();
    settled(figures).await;
    let after = server.map(Process::usage).transpose().context("--pid")?;
    let own = own.zip(Process::own().usage().ok());
    // Without orders the users go.
    drop(members);
    let _ = timeout(PATIENCE, users.join_all()).await;
    Ok(Report {
        asked: arguments.connections,
        rooms,
        connecting,
        sending,
        lag,
        server: before.zip(connected).zip(after).map(|((before, connected), after)| [before, connected, after]),
        own,
    })
}

/// Connects the users one after the other at the rate that was asked for. Each reads what comes from then on.
async fn connect(
    arguments: &Arguments,
    rooms: u32,
    users: Vec<(u32, String)>,
    connector: &Connector,
    figures: &Rc<RefCell<Figures>>,
) -> Crowd {
    /// Orders that may wait for a user. Far more than one may have under way with the default rates.
    const WAITING: usize = 64;
    let start = tokio::time::Instant::now();
    let (connected, mut arrivals) = mpsc::channel(users.len().max(1));
    let mut tasks = JoinSet::new();
    for (number, (room, token)) in users.into_iter().enumerate() {
        sleep_until(start + Duration::from_secs_f64(number as f64 / f64::from(arguments.connect_rate))).await;
        let (connector, figures, connected) = (connector.clone(), Rc::clone(figures), connected.clone());
        tasks.spawn_local(async move {
            let start = Instant::now();
            let user = User::connect(&connector, room, &token).await;
            figures.borrow_mut().connected(start.elapsed(), user.as_ref().err());
            let Ok(user) = user else { return };
            let (orders, taken) = mpsc::channel(WAITING);
            // There is room for each user, and the receiver waits for all of them.
            let _ = connected.try_send((room, orders));
            drop(connected);
            user.run(taken, figures).await;
        });
    }
    drop(connected);
    let mut members = vec![Vec::new(); rooms as usize];
    while let Some((room, orders)) = arrivals.recv().await {
        if let Some(room) = members.get_mut(room as usize) {
            room.push(orders);
        }
    }
    figures.borrow_mut().members = members.iter().map(|room| room.len() as u64).collect();
    members.retain(|room| !room.is_empty());
    Crowd { members, users: tasks }
}

/// Sends messages at the rate that was asked for, room after room, member after member. Returns how late the latest one was.
async fn send(
    arguments: &Arguments,
    start: Instant,
    members: &[Vec<mpsc::Sender<Order>>],
    figures: &RefCell<Figures>,
) -> Duration {
    let count = (f64::from(arguments.rate) * arguments.duration.as_secs_f64()) as usize;
    figures.borrow_mut().start = Some(start);
    let mut lag = Duration::ZERO;
    let mut number = 0;
    while number < count {
        let due = start + Duration::from_secs_f64(number as f64 / f64::from(arguments.rate));
        let now = Instant::now();
        if now < due {
            sleep(TICK.max(due - now)).await;
            continue;
        }
        lag = lag.max(now - due);
        let room = members.get(number % members.len().max(1));
        let member = room.and_then(|room| room.get(number / members.len() % room.len()));
        let Some(member) = member else { break };
        let order = Order { number, due: due - start, size: arguments.size as usize };
        // Whoever waits for so many answers sends no more: that is counted, and the others go on.
        figures.borrow_mut().sent += 1;
        if member.try_send(order).is_err() {
            figures.borrow_mut().withhold();
        }
        number += 1;
        if number.is_multiple_of(BURST) {
            tokio::task::yield_now().await;
        }
    }
    lag
}

/// So many messages that are late are sent before the users have their turn.
const BURST: usize = 32;

/// Waits for the last answers and deliveries, but not for long.
async fn settled(figures: &RefCell<Figures>) {
    let all_there = async {
        while !figures.borrow().is_complete() {
            sleep(10 * TICK).await;
        }
    };
    let _ = timeout(PATIENCE, all_there).await;
}
