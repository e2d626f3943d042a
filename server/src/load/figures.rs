//! Counts and latencies of all users.

use std::{
    collections::BTreeMap,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::bail;
use hdrhistogram::Histogram;

use super::process::Usage;
use crate::client::ClientError;

/// What all users have counted.
pub(super) struct Figures {
    /// When the first message was due.
    pub(super) start: Option<Instant>,
    /// Users of each room.
    pub(super) members: Vec<u64>,
    /// Messages sent, or about to be.
    pub(super) sent: u64,
    /// Messages that were due, but whose user waited for too many answers.
    withheld: u64,
    /// Packets of other kinds, mostly who is online.
    pub(super) others: u64,
    connects: Histogram<u64>,
    failed: BTreeMap<String, u64>,
    ended: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    acks: Histogram<u64>,
    deliveries: Histogram<u64>,
    expected: u64,
}

/// Of latencies in microseconds, up to an hour, with two significant digits.
fn histogram() -> Histogram<u64> {
    // It fails only for bounds that are none, and for more than five digits.
    Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("bounds and digits are allowed")
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            start: None,
            members: Vec::new(),
            sent: 0,
            withheld: 0,
            others: 0,
            connects: histogram(),
            failed: BTreeMap::new(),
            ended: BTreeMap::new(),
            refused: BTreeMap::new(),
            acks: histogram(),
            deliveries: histogram(),
            expected: 0,
        }
    }
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

/// Time since the first message, less when this one was due.
fn latency(start: Option<Instant>, due: Duration) -> Duration {
    start.map_or(Duration::ZERO, |start| start.elapsed().saturating_sub(due))
}

impl Figures {
    /// A message that counts as sent is not sent after all: its user waits for too many answers, or is gone.
    pub(super) fn withhold(&mut self) {
        self.sent = self.sent.saturating_sub(1);
        self.withheld += 1;
    }

    /// A connect took this long, or failed.
    pub(super) fn connected(&mut self, time: Duration, error: Option<&ClientError>) {
        match error {
            None => record(&mut self.connects, time),
            Some(error) => *self.failed.entry(error.to_string()).or_default() += 1,
        }
    }

    /// A user's connection ended before its time.
    pub(super) fn ended(&mut self, error: &ClientError) {
        *self.ended.entry(error.to_string()).or_default() += 1;
    }

    /// A message came to one member.
    pub(super) fn delivered(&mut self, due: Duration) {
        record(&mut self.deliveries, latency(self.start, due));
    }

    /// A message to this room was acknowledged, or refused with a code.
    pub(super) fn acknowledged(&mut self, due: Duration, code: Option<&str>, room: u32) {
        match code {
            None => {
                record(&mut self.acks, latency(self.start, due));
                self.expected += self.members.get(room as usize).copied().unwrap_or_default();
            }
            Some(code) => *self.refused.entry(code.chars().take(64).collect()).or_default() += 1,
        }
    }

    /// Why connects failed.
    pub(super) fn failures(&self) -> String {
        listed(&self.failed)
    }

    fn unanswered(&self) -> u64 {
        self.sent.saturating_sub(self.acks.len() + self.refused.values().sum::<u64>())
    }

    /// Whether all answers and deliveries are there.
    pub(super) fn is_complete(&self) -> bool {
        self.unanswered() == 0 && self.deliveries.len() >= self.expected
    }
}

fn listed(reasons: &BTreeMap<String, u64>) -> String {
    reasons.iter().map(|(reason, count)| format!("{count} x {reason}")).collect::<Vec<_>>().join("; ")
}

/// What is printed beside the counts.
#[derive(Debug)]
pub(super) struct Report {
    /// Connections that were asked for.
    pub(super) asked: u32,
    /// Rooms.
    pub(super) rooms: u32,
    /// Time in which the users connected.
    pub(super) connecting: Duration,
    /// Time in which messages were sent.
    pub(super) sending: Duration,
    /// How late the latest message was sent.
    pub(super) lag: Duration,
    /// The server's process: before the first connection, with all of them, after the messages.
    pub(super) server: Option<[Usage; 3]>,
    /// This process, before and after the messages.
    pub(super) own: Option<(Usage, Usage)>,
}

/// How busy this process may be before its own delays count.
const BUSY: f64 = 0.7;

/// How late a message may be sent.
const LATE: Duration = Duration::from_millis(50);

impl Report {
    /// Prints everything.
    ///
    /// # Errors
    /// Somebody did not get in, or something was lost.
    pub(super) fn print(&self, figures: &Figures) -> anyhow::Result<()> {
        let text = self.text(figures);
        let mut output = std::io::stdout().lock();
        output.write_all(text.as_bytes())?;
        output.flush()?;
        let lost = figures.expected.abs_diff(figures.deliveries.len());
        if !figures.failed.is_empty() || !figures.ended.is_empty() || lost > 0 || figures.unanswered() > 0 {
            bail!("the server did not hold this load: see above");
        }
        Ok(())
    }

    fn text(&self, figures: &Figures) -> String {
        let Figures { sent, withheld, others, connects, acks, deliveries, expected, .. } = figures;
        let mut lines = vec![format!(
            "connections  {} of {} in {:.1} s, in {} rooms; {others} other events came",
            connects.len(),
            self.asked,
            self.connecting.as_secs_f64(),
            self.rooms
        )];
        for (word, reasons) in [("failed", &figures.failed), ("ended", &figures.ended)] {
            if !reasons.is_empty() {
                lines.push(format!("             {word}: {}", listed(reasons)));
            }
        }
        lines.push(format!(
            "messages     {sent} in {:.1} s: {} acknowledged, {} refused, {} unanswered, {withheld} not sent",
            self.sending.as_secs_f64(),
            acks.len(),
            figures.refused.values().sum::<u64>(),
            figures.unanswered()
        ));
        if !figures.refused.is_empty() {
            lines.push(format!("             refused: {}", listed(&figures.refused)));
        }
        lines.push(format!("deliveries   {} of {expected}", deliveries.len()));
        lines.push("latency, ms       p50       p90       p99     p99.9       max".to_owned());
        for (name, histogram) in [("connect", connects), ("acknowledged", acks), ("delivered", deliveries)] {
            if !histogram.is_empty() {
                lines.push(percentiles(name, histogram));
            }
        }
        self.usage(connects.len(), &mut lines);
        lines.join("\n") + "\n"
    }

    fn usage(&self, connections: u64, lines: &mut Vec<String>) {
        let percent = |cpu: Duration| 100.0 * cpu.as_secs_f64() / self.sending.as_secs_f64().max(1e-3);
        if let Some([before, connected, after]) = self.server {
            let grown = connected.memory.saturating_sub(before.memory);
            lines.push(format!(
                "server       memory {:.1} MiB before, {:.1} with connections ({} bytes each), {:.1} after the messages",
                mebibytes(before.memory),
                mebibytes(connected.memory),
                grown / connections.max(1),
                mebibytes(after.memory)
            ));
            let (connecting, sending) =
                (connected.cpu.saturating_sub(before.cpu), after.cpu.saturating_sub(connected.cpu));
            lines.push(format!(
                "             CPU {:.2} s for the connections, {:.2} s for the messages ({:.0} % of one core)",
                connecting.as_secs_f64(),
                sending.as_secs_f64(),
                percent(sending)
            ));
        }
        if let Some((before, after)) = self.own {
            let busy = percent(after.cpu.saturating_sub(before.cpu));
            lines.push(format!(
                "this client  CPU {busy:.0} % of one core; the latest message was sent {:.1} ms late",
                self.lag.as_secs_f64() * 1000.0
            ));
            if busy > 100.0 * BUSY || self.lag > LATE {
                lines.push(
                    "             it was busy or late itself, so the latencies are its own in part: use less load, or another machine".to_owned(),
                );
            }
        }
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn percentiles(name: &str, histogram: &Histogram<u64>) -> String {
    let mut line = format!("  {name:12}");
    let values = [50.0, 90.0, 99.0, 99.9].map(|percentile| histogram.value_at_percentile(percentile));
    for value in values.into_iter().chain([histogram.max()]) {
        line.push_str(&format!(" {:>8.2} ", value as f64 / 1000.0));
    }
    line.trim_end().to_owned()
}
