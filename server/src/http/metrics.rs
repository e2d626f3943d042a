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

use super::{
    health::Readiness,
    response::{text, with_type},
};
use crate::{
    chat::{Counters, CountersQuery},
    store::StoreCounts,
    webhooks::{WebhookCounts, Webhooks},
};

/// How long the shards together may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The answer to `/metrics`. Without the counters of a shard the sums would seem to have gone back, so there is none then.
pub(super) async fn metrics(shards: Handle, readiness: Readiness, webhooks: Webhooks) -> Response<Bytes> {
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
    let mut registry = registry(&sum);
    if let Some(store) = readiness.store() {
        register_store(&mut registry, store.counts(), store.fault().is_none());
    }
    if let Some(counts) = webhooks.counts() {
        register_webhooks(&mut registry, counts);
    }
    let _ = encode(&mut content, &registry);
    with_type(StatusCode::OK, CONTENT_TYPE, content)
}

fn register_store(registry: &mut Registry, counts: StoreCounts, works: bool) {
    let up: Gauge = Gauge::default();
    up.set(works.into());
    registry.register("store_up", "Whether the store works", up);
    let StoreCounts { messages, batches, failures } = counts;
    for (name, help, count) in [
        ("store_messages", "Messages that were stored", messages),
        ("store_batches", "Transactions that they were stored in", batches),
        ("store_failures", "Attempts of the store to write or read that failed", failures),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    }
}

fn register_webhooks(registry: &mut Registry, counts: WebhookCounts) {
    let WebhookCounts { waiting, sent, dropped, failures } = counts;
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    registry.register("webhooks_waiting", "Events that wait to be sent to webhooks.url", gauge);
    for (name, help, count) in [
        ("webhooks_sent", "Events that webhooks.url has accepted", sent),
        ("webhooks_dropped", "Events that did not fit into the queue, or were given up", dropped),
        ("webhooks_failures", "Requests to webhooks.url that failed", failures),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    }
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
    counter("messages_replayed", "Messages that clients had missed, and got when they came back", counters.replayed);
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
    family(
        "recoveries",
        "Clients that came back and asked for their sockets, by whether they got them",
        "recovered",
        &mut [("true", counters.recovered), ("false", counters.unrecovered)].into_iter(),
    );
    family("rate_limited", "Events that were refused as rate_limited", "event", &mut counters.rate_limited());
    registry
}
