//! `/metrics`: what all shards have counted, in the text format of OpenMetrics, which Prometheus reads.

use std::time::Duration;

use bytes::Bytes;
use engineio::{ShardMessage, net::Handle};
use http::{Response, StatusCode};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::response::{text, with_type};
use crate::chat::{Counters, CountersQuery};

/// How long the shards together may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The answer to `/metrics`. Without the counters of a shard the sums would seem to have gone back, so there is none then.
pub(super) async fn metrics(shards: Handle) -> Response<Bytes> {
    let mut sum = Counters::default();
    let deadline = tokio::time::Instant::now() + ANSWER_WITHIN;
    for shard in 0..shards.shards() {
        let counted = shards.ask(shard, |reply| ShardMessage::new(CountersQuery(reply)));
        match tokio::time::timeout_at(deadline, counted).await {
            Ok(Ok(counters)) => sum.add(&counters),
            _ => return text(StatusCode::SERVICE_UNAVAILABLE, format!("shard {shard} does not answer\n")),
        }
    }
    let mut content = String::new();
    // Writing into a string does not fail.
    let _ = encode(&mut content, &registry(&sum));
    with_type(StatusCode::OK, CONTENT_TYPE, content)
}

fn registry(counters: &Counters) -> Registry {
    let mut registry = Registry::with_prefix("chat");
    let mut gauge = |name: &str, help: &str, added: u64, removed: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(added.saturating_sub(removed)).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    let opened = counters.opened_polling + counters.opened_websocket;
    gauge("sessions", "Engine.IO sessions that are open", opened, counters.closed);
    gauge("sockets", "Sockets that are connected", counters.connected, counters.disconnected);
    let mut counter = |name: &str, help: &str, count: u64| {
        let counter: Counter = Counter::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    };
    counter("sockets_replaced", "Sockets that made room for newer ones of their users", counters.replaced);
    counter(
        "sessions_displaced",
        "Sessions without a valid token that made room for newer ones of their addresses",
        counters.displaced,
    );
    counter("connects_refused", "CONNECTs without a valid token", counters.wrong_tokens);
    counter("messages_received", "Events \"message\" of clients, accepted or not", counters.messages);
    let mut family =
        |name: &str, help: &str, label: &'static str, counts: &mut dyn Iterator<Item = (&'static str, u64)>| {
            let family = Family::<[(&str, &str); 1], Counter>::default();
            for (value, count) in counts {
                family.get_or_create(&[(label, value)]).inc_by(count);
            }
            registry.register(name, help, family);
        };
    family(
        "sessions_opened",
        "Engine.IO sessions by the transport that they began with",
        "transport",
        &mut [("polling", counters.opened_polling), ("websocket", counters.opened_websocket)].into_iter(),
    );
    family(
        "handshakes_refused",
        "Handshakes that got 503 because of their address, by the limit",
        "limit",
        &mut [("sockets_per_ip", counters.refused_places), ("connect_rate", counters.refused_rate)].into_iter(),
    );
    family("rate_limited", "Events that were refused as rate_limited", "event", &mut counters.rate_limited());
    registry
}
