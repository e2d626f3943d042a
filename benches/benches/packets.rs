//! Socket.IO packets and their JSON: parse, scan, encode; compared with serde_json.

use std::hint::black_box;
use std::time::Duration;

use benches::samples;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::value::RawValue;
use socketio::{AckId, json, parser};

fn scan(c: &mut Criterion) {
    for (name, text) in [("message", samples::message_json()), ("rich", samples::rich_json())] {
        let mut group = c.benchmark_group(format!("json scan, {name}"));
        group.throughput(Throughput::Bytes(text.len() as u64));
        let limits = json::Limits::default();
        group.bench_function("socketio", |b| {
            b.iter(|| json::array_items(black_box(&text), &limits).expect("it is valid").len());
        });
        // What serde_json needs for the same slices: no tree, and no limits on numbers or on depth below 128.
        group.bench_function("serde_json RawValue", |b| {
            b.iter(|| serde_json::from_str::<Vec<&RawValue>>(black_box(&text)).expect("it is valid").len());
        });
        group.bench_function("serde_json Value", |b| {
            b.iter(|| serde_json::from_str::<serde_json::Value>(black_box(&text)).expect("it is valid"));
        });
    }
}

fn parse(c: &mut Criterion) {
    let limits = parser::Limits::default();
    let mut group = c.benchmark_group("packet parse");
    let text = samples::event_packet();
    group.bench_function("event", |b| {
        b.iter(|| black_box(parser::Decoder::default().decode_text(black_box(&text), &limits)).is_ok());
    });
    let (text, attachment) = (samples::binary_event_packet(), samples::attachment());
    group.bench_function("event with 2 attachments of 1 KiB", |b| {
        b.iter(|| {
            let mut decoder = parser::Decoder::default();
            _ = black_box(decoder.decode_text(black_box(&text), &limits));
            _ = black_box(decoder.decode_binary(black_box(&attachment), &limits));
            decoder.decode_binary(black_box(&attachment), &limits).expect("it is valid").is_some()
        });
    });
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("event encode");
    let args = samples::message_args();
    group.bench_function("event", |b| {
        b.iter(|| parser::encode::event("/chat", Some(AckId(17)), "message", black_box(&args), &[]));
    });
    // From a tree to text, without frame or packet: what forwarding through serde_json would cost in addition.
    let value: serde_json::Value = serde_json::from_str(&samples::message_json()).expect("it is valid");
    group.bench_function("serde_json Value to text", |b| {
        b.iter(|| serde_json::to_string(black_box(&value)).expect("it is a tree"));
    });
    let attachments = [Bytes::from(samples::attachment()), Bytes::from(samples::attachment())];
    let args = format!("{},{}", parser::attachments::placeholder(0), parser::attachments::placeholder(1));
    group.bench_function("event with 2 attachments of 1 KiB", |b| {
        b.iter(|| parser::encode::event("/", None, "upload", black_box(&args), &attachments));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = scan, parse, encode
}
criterion_main!(benches);
