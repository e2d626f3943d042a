//! `/metrics`: what all shards have counted, in the text format of OpenMetrics, which Prometheus reads. What each metric means is in
//! docs/chat-protocol.md, section HTTP.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use engineio::{
    ShardMessage,
    net::{Handle, ShardStats},
};
use http::{Response, StatusCode};
use prometheus_client::{
    encoding::text::encode,
    metrics::gauge::ConstGauge,
    registry::{Registry, Unit},
};

use super::{
    api::Api,
    health::Readiness,
    measures::{Filled, counters, family, refused_handshakes, register_engine, register_process},
    response::{text, with_type},
};
use crate::{
    auth::JwksCounts,
    chat::{Counters, CountersQuery, Shared},
    store::{Health, StoreCounts},
    webhooks::{WebhookCounts, Webhooks},
};

/// How long the shards together may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What counts beside the shards.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) readiness: Readiness,
    pub(super) chat: Arc<Shared>,
    pub(super) api: Api,
    pub(super) webhooks: Webhooks,
}

/// What all shards have counted.
#[derive(Debug, Default)]
struct Counted {
    chat: Counters,
    engine: ShardStats,
    /// Of each shard.
    busy: Vec<Duration>,
}

/// Asks one shard after another. Without the counters of a shard the sums would seem to have gone back, so there are none then, but
/// the number of that shard.
async fn ask(shards: &Handle) -> Result<Counted, u16> {
    let mut counted = Counted::default();
    let deadline = tokio::time::Instant::now() + ANSWER_WITHIN;
    for shard in 0..shards.shards() {
        let answers = async {
            let chat = shards.ask(shard, |reply| ShardMessage::new(CountersQuery(reply))).await?;
            Ok::<_, engineio::net::ShardGone>((chat, shards.stats(shard).await?))
        };
        let Ok(Ok((chat, engine))) = tokio::time::timeout_at(deadline, answers).await else { return Err(shard) };
        counted.chat.add(&chat);
        counted.engine.merge(&engine);
        counted.busy.push(engine.busy);
    }
    Ok(counted)
}

/// The answer to `/metrics`.
pub(super) async fn metrics(shards: Handle, sources: Sources) -> Response<Bytes> {
    let counted = match ask(&shards).await {
        Ok(counted) => counted,
        Err(shard) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("shard {shard} does not answer\n")),
    };
    let mut root = Registry::default();
    register_process(&mut root);
    let registry = root.sub_registry_with_prefix("chat");
    register_engine(registry, &counted.engine, &counted.busy);
    register_chat(registry, &counted);
    family(
        registry,
        ("api_requests", "Answers of the HTTP API, by status"),
        "status",
        sources.api.counts().into_iter().map(|(status, count)| (status.to_string(), count)),
    );
    if let Some(counts) = sources.chat.verifier().jwks_counts() {
        register_jwks(registry, counts);
    }
    if let Some(store) = sources.readiness.store() {
        register_store(registry, store);
    }
    if let Some(counts) = sources.webhooks.counts() {
        register_webhooks(registry, counts);
    }
    let mut content = String::new();
    // Writing into a string does not fail.
    let _ = encode(&mut content, &root);
    with_type(StatusCode::OK, CONTENT_TYPE, content)
}

fn register_store(registry: &mut Registry, store: &Health) {
    let up = ConstGauge::new(u64::from(store.fault().is_none()));
    registry.register("store_up", "Whether the store works", up);
    let StoreCounts { messages, batches, failures } = store.counts();
    counters(
        registry,
        [
            ("store_messages", "Messages that were stored", messages),
            ("store_batches", "Transactions that they were stored in", batches),
            ("store_failures", "Attempts of the store to write or read that failed", failures),
        ],
    );
    let [commits, reads] = store.times();
    for (name, help, times) in [
        ("store_commit", "How long transactions took", commits),
        ("store_read", "How long questions took, such as for a page of the history", reads),
    ] {
        registry.register_with_unit(name, help, Unit::Seconds, Filled::of_store(&times));
    }
}

fn register_jwks(registry: &mut Registry, JwksCounts { age, failures }: JwksCounts) {
    let age = ConstGauge::new(age.as_secs_f64());
    registry.register_with_unit("jwks_age", "How long ago the keys of auth.jwks were fetched", Unit::Seconds, age);
    counters(registry, [("jwks_failures", "Fetches of auth.jwks that failed", failures)]);
}

fn register_webhooks(registry: &mut Registry, counts: WebhookCounts) {
    let WebhookCounts { waiting, sent, dropped, failures } = counts;
    registry.register("webhooks_waiting", "Events that wait to be sent to webhooks.url", ConstGauge::new(waiting));
    counters(
        registry,
        [
            ("webhooks_sent", "Events that webhooks.url has accepted", sent),
            ("webhooks_dropped", "Events that did not fit into the queue, or were given up", dropped),
            ("webhooks_failures", "Requests to webhooks.url that failed", failures),
        ],
    );
}

fn register_chat(registry: &mut Registry, counted: &Counted) {
    let chat = &counted.chat;
    registry.register(
        "sockets",
        "Sockets that are connected",
        ConstGauge::new(chat.connected.saturating_sub(chat.disconnected)),
    );
    counters(
        registry,
        [
            ("sockets_connected", "Sockets that were connected", chat.connected),
            ("sockets_replaced", "Sockets that made room for newer ones of their users", chat.replaced),
            ("sessions_displaced", "Sessions without a valid token that made room for newer ones", chat.displaced),
            ("messages_received", "Events \"message\" of clients, accepted or not", chat.messages),
            (
                "messages_delivered",
                "Messages that were sent to sockets in their rooms, once for each socket",
                chat.delivered,
            ),
            ("messages_replayed", "Messages that clients had missed, and got when they came back", chat.replayed),
        ],
    );
    family(
        registry,
        ("sessions_opened", "Engine.IO sessions by the transport that they began with"),
        "transport",
        [("polling", chat.opened_polling), ("websocket", chat.opened_websocket)],
    );
    let own = [("sockets_per_ip", chat.refused_places), ("connect_rate", chat.refused_rate)];
    family(
        registry,
        ("handshakes_refused", "Handshakes that were refused, by reason"),
        "reason",
        refused_handshakes(&counted.engine).chain(own),
    );
    family(
        registry,
        ("recoveries", "Clients that came back and asked for their sockets, by whether they got them"),
        "recovered",
        [("true", chat.recovered), ("false", chat.unrecovered)],
    );
    family(registry, ("connects_refused", "CONNECTs that were refused, by code"), "code", chat.connects_refused());
    family(registry, ("rate_limited", "Events that were refused as rate_limited"), "event", chat.rate_limited());
}
