//! What the engine and the process tell of themselves, as metrics; and histograms that were filled elsewhere.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use engineio::{
    http::RefusalReason,
    net::{LagTimes, ShardStats},
};
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::{Registry, Unit},
};

use crate::store::{TIME_BOUNDS, Times};

/// A histogram that is filled already: sum, and the count of each bucket with its upper bound.
#[derive(Debug)]
pub(super) struct Filled {
    sum: f64,
    buckets: Vec<(f64, u64)>,
}

impl Filled {
    fn new(sum: Duration, buckets: impl Iterator<Item = (Option<Duration>, u64)>) -> Self {
        // Infinity stands for the bucket without a bound.
        let buckets = buckets.map(|(bound, count)| (bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64()), count));
        Self { sum: sum.as_secs_f64(), buckets: buckets.collect() }
    }

    /// How long the store took.
    pub(super) fn of_store(times: &Times) -> Self {
        let bounds = TIME_BOUNDS.into_iter().map(Some).chain([None]);
        Self::new(times.sum, bounds.zip(times.counts))
    }

    fn of_lag(lag: &LagTimes) -> Self {
        Self::new(lag.sum(), lag.buckets())
    }
}

impl EncodeMetric for Filled {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let count = self.buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum, count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A family with one label.
pub(super) fn family<V: Into<String>>(
    registry: &mut Registry,
    (name, help): (&str, &str),
    label: &'static str,
    counts: impl IntoIterator<Item = (V, u64)>,
) {
    let family = Family::<[(&'static str, String); 1], Counter>::default();
    for (value, count) in counts {
        family.get_or_create(&[(label, value.into())]).inc_by(count);
    }
    registry.register(name, help, family);
}

/// Counters without labels.
pub(super) fn counters<const N: usize>(registry: &mut Registry, counters: [(&str, &str, u64); N]) {
    for (name, help, count) in counters {
        registry.register(name, help, ConstCounter::new(count));
    }
}

/// What the engine's shards have counted together, and how busy each was.
pub(super) fn register_engine(registry: &mut Registry, stats: &ShardStats, busy: &[Duration]) {
    let sessions = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    for (transport, count) in [("polling", stats.polling), ("websocket", stats.websocket)] {
        sessions.get_or_create(&[("transport", transport)]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("sessions", "Engine.IO sessions that are open, by the transport that they are on", sessions);
    registry.register(
        "sessions_behind",
        "Sessions that have more than limits.outbound_soft bytes waiting",
        ConstGauge::new(stats.behind),
    );
    registry.register_with_unit(
        "queued",
        "Bytes that wait for clients to read",
        Unit::Bytes,
        ConstGauge::new(stats.queued_bytes),
    );
    let closed = stats.closed().map(|(reason, count)| (reason.as_str().replace(' ', "_"), count));
    family(registry, ("sessions_closed", "Engine.IO sessions that have ended, by reason"), "reason", closed);
    let requests = stats.refused().filter(|(reason, _)| !is_of_handshake(*reason));
    family(
        registry,
        ("requests_refused", "Requests of sessions that were refused, by reason"),
        "reason",
        requests.map(|(reason, count)| (reason.as_str(), count)),
    );
    counters(
        registry,
        [
            ("received_bytes", "Bytes that were read from connections, without TLS", stats.bytes_read),
            ("sent_bytes", "Bytes that were written to connections, without TLS", stats.bytes_written),
            ("packets_received", "Engine.IO packets that were received", stats.packets_received),
        ],
    );
    registry.register_with_unit(
        "shard_lag",
        "How late the shards came to what was due, four samples a second of each",
        Unit::Seconds,
        Filled::of_lag(&stats.lag),
    );
    let family = Family::<[(&'static str, String); 1], Counter<f64, AtomicU64>>::default();
    for (shard, busy) in busy.iter().enumerate() {
        family.get_or_create(&[("shard", shard.to_string())]).inc_by(busy.as_secs_f64());
    }
    registry.register_with_unit("shard_busy", "Time that a shard's thread did something", Unit::Seconds, family);
}

/// Handshakes that the engine refused, by reason. Those for which the chat has a reason of its own are not among them.
pub(super) fn refused_handshakes(stats: &ShardStats) -> impl Iterator<Item = (&'static str, u64)> {
    let full = ("connections", stats.full);
    let is_of_engine = |reason: &RefusalReason| is_of_handshake(*reason) && *reason != RefusalReason::Unavailable;
    let own = stats.refused().filter(move |(reason, _)| is_of_engine(reason));
    own.map(|(reason, count)| (reason.as_str(), count)).chain([full])
}

const fn is_of_handshake(reason: RefusalReason) -> bool {
    use RefusalReason::{BadRequest, BodyTimeout, BodyTooLarge, SessionUnknown};
    !matches!(reason, BadRequest | BodyTimeout | BodyTooLarge | SessionUnknown)
}

/// What every exporter tells of its process.
pub(super) fn register_process(registry: &mut Registry) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    let build = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    build.get_or_create(&version).set(1);
    registry.register("chat_build_info", "The version of this server", build);
    if let Some(bytes) = resident_bytes() {
        let gauge = ConstGauge::new(bytes);
        registry.register_with_unit("process_resident_memory", "Resident memory", Unit::Bytes, gauge);
    }
}

/// The resident memory of this process, where the system says it in the way of Linux.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    Some(kilobytes.parse::<u64>().ok()?.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn the_buckets_of_a_histogram_add_up() {
        let mut registry = Registry::default();
        let buckets = [(Some(Duration::from_millis(1)), 2), (Some(Duration::from_millis(10)), 0), (None, 3)];
        registry.register_with_unit(
            "x",
            "X",
            Unit::Seconds,
            Filled::new(Duration::from_millis(1500), buckets.into_iter()),
        );
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "x_seconds_sum 1.5",
            "x_seconds_count 5",
            r#"x_seconds_bucket{le="0.001"} 2"#,
            r#"x_seconds_bucket{le="0.01"} 2"#,
            r#"x_seconds_bucket{le="+Inf"} 5"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
