//! Logs go to standard error, as text or as one JSON object a line, from a level up.
//!
//! An event is one line, whatever it holds (`log_line`); one that repeats is counted, not repeated (`log_repeats`).
//!
//! A thread of its own writes them. If whoever reads standard error stops reading, only that thread waits: further lines
//! are dropped and counted, and the number is said when there is room again.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    time::{Duration, Instant, SystemTime},
};

use tracing_subscriber::{
    Registry, filter::LevelFilter, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::{
    config::{Log, LogFormat, LogLevel},
    log_line::escape,
    log_repeats::{Repeated, Repeats},
};

/// How many lines may wait for standard error.
const WAITING: usize = 4096;

/// How often to look whether it is time to say what was held back, while something is.
const LOOK: Duration = Duration::from_secs(1);

/// How long the end of the process waits for the lines that are not written yet.
const FLUSH: Duration = Duration::from_secs(1);

static LINES: OnceLock<Lines> = OnceLock::new();

/// The level that counts, of the log that is installed.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// What the thread that writes does next.
enum Order {
    Write(Vec<u8>),
    /// Something is held back: look from time to time.
    Look,
    /// All lines before this one are written: say so.
    Flushed(Sender<()>),
}

/// The way to the thread that writes. Never waits.
#[derive(Clone)]
struct Lines {
    orders: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
    repeats: Repeats,
    form: Form,
}

/// The form of a line.
#[derive(Debug, Clone, Copy)]
struct Form {
    json: bool,
    coloured: bool,
}

impl Lines {
    /// Starts the thread that writes to `output`.
    fn start(form: Form, output: impl Write + Send + 'static) -> io::Result<Self> {
        let (orders, next) = sync_channel(WAITING);
        let dropped = Arc::<AtomicU64>::default();
        let look = orders.clone();
        // If the queue is full, the thread is not waiting.
        let repeats = Repeats::new(move || drop(look.try_send(Order::Look)));
        let lines = Self { orders, dropped: Arc::clone(&dropped), repeats: repeats.clone(), form };
        let writer = Writer { dropped, repeats, form, output };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&next))?;
        Ok(lines)
    }

    /// Waits until the lines so far are written, but not for long.
    fn flush(&self, within: Duration) {
        let (flushed, done) = channel();
        // If the queue is full, standard error is blocked.
        if self.orders.try_send(Order::Flushed(flushed)).is_ok() {
            let _ = done.recv_timeout(within);
        }
    }
}

impl Write for Lines {
    /// Takes one line; it is dropped if too many wait.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let escaped = escape(line, self.form.coloured).into_owned();
        if self.orders.try_send(Order::Write(escaped)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread that writes.
struct Writer<W> {
    dropped: Arc<AtomicU64>,
    repeats: Repeats,
    form: Form,
    output: W,
}

impl<W: Write> Writer<W> {
    /// Writes lines until nobody can send one any more.
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let order = match self.repeats.holds() {
                true => orders.recv_timeout(LOOK),
                false => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                // If nobody can read it, there is nobody to tell.
                Ok(Order::Write(line)) => drop(self.output.write_all(&line)),
                Ok(Order::Flushed(flushed)) => drop(flushed.send(())),
                Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // These are lines like others, which this thread gets in its turn.
            self.repeats.take(Instant::now(), false).iter().for_each(Repeated::log);
            let count = self.dropped.swap(0, Ordering::Relaxed);
            if count > 0 {
                let line = self.form.warning(&format!("{count} log lines were dropped: standard error took no more"));
                let _ = self.output.write_all(line.as_bytes());
            }
        }
    }
}

impl Form {
    /// A line beside the log's own, which may not be written the usual way.
    fn warning(self, message: &str) -> String {
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        let target = env!("CARGO_CRATE_NAME");
        if self.json {
            let fields = serde_json::json!({ "message": message });
            let line = serde_json::json!({ "timestamp": time.to_string(), "level": "WARN", "fields": fields, "target": target });
            format!("{line}\n")
        } else {
            format!("{time}  WARN {target}: {message}\n")
        }
    }
}

/// Installs the process's log. Later calls change nothing.
///
/// # Errors
/// The operating system gives no thread.
pub(crate) fn install(log: &Log) -> io::Result<()> {
    let form = Form { json: log.format == LogFormat::Json, coloured: io::stderr().is_terminal() };
    let lines = Lines::start(form, io::stderr())?;
    if LINES.set(lines.clone()).is_err() {
        return Ok(());
    }
    let panics = lines.clone();
    // The default hook writes to standard error by itself, and would wait for it.
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let line = panics.form.warning(&format!("thread '{}' {panic}", thread.name().unwrap_or("without a name")));
        let _ = panics.clone().write_all(line.as_bytes());
    }));
    let (filter, level) = reload::Layer::new(filter(log.level));
    let registry = tracing_subscriber::registry().with(filter).with(lines.repeats.clone());
    let layer = tracing_subscriber::fmt::layer().with_ansi(form.coloured).with_writer(move || lines.clone());
    // It fails only if a log is installed already.
    let _ = match log.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
    let _ = LEVEL.set(level);
    Ok(())
}

/// Another level counts from now on.
pub(crate) fn set_level(level: LogLevel) {
    if let Some(current) = LEVEL.get() {
        // It fails only where there is no log.
        let _ = current.reload(filter(level));
    }
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Waits until the log is written, at most a second.
pub(crate) fn flush() {
    if let Some(lines) = LINES.get() {
        lines.repeats.take(Instant::now(), true).iter().for_each(Repeated::log);
        lines.flush(FLUSH);
    }
}

/// Logs what was found before there was a log.
pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// An output that takes nothing until it is opened.
    #[derive(Clone, Default)]
    struct Gate(Arc<Gated>);

    #[derive(Default)]
    struct Gated {
        is_open: Mutex<bool>,
        opened: Condvar,
        written: Mutex<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Gated { is_open, opened, written } = &*self.0;
            drop(opened.wait_while(is_open.lock().unwrap(), |open| !*open).unwrap());
            written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_output_stops_nobody_and_what_is_dropped_is_counted() {
        let gate = Gate::default();
        let mut lines = Lines::start(Form { json: false, coloured: false }, gate.clone()).unwrap();
        let sent = 2 * WAITING;
        for n in 0..sent {
            lines.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        // The end of the process does not wait for it either.
        lines.flush(Duration::from_millis(1));
        *gate.0.is_open.lock().unwrap() = true;
        gate.0.opened.notify_all();
        // The queue may be full for a moment yet, before each of these.
        let (flushed, done) = channel();
        lines.orders.send(Order::Write(b"last\n".to_vec())).unwrap();
        lines.orders.send(Order::Flushed(flushed)).unwrap();
        done.recv_timeout(Duration::from_secs(20)).unwrap();
        let text = String::from_utf8(gate.0.written.lock().unwrap().clone()).unwrap();
        let said: Vec<usize> = text
            .lines()
            .filter_map(|line| line.strip_suffix(" log lines were dropped: standard error took no more"))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        let written = text.lines().filter(|line| line.parse::<usize>().is_ok()).count();
        assert_eq!(written + said.iter().sum::<usize>(), sent);
        assert!(written >= WAITING && text.contains("last\n"));
    }
}
