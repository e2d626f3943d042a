//! The WebSocket codec and the polling payload, in batches of 64 messages; the decoder compared with tungstenite's.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::time::Duration;

use benches::samples::{self, BATCH};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engineio::ws::Decoder;
use engineio::{SharedFrame, payload};
use tokio_tungstenite::tungstenite::{
    Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

/// The limit that the server sets on messages.
const MAX_PAYLOAD: usize = 1_000_000;

/// A client that sends the same bytes forever, and reads everything it is sent.
struct Endless {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.at = (self.at + len) % self.bytes.len();
        Ok(len)
    }
}

impl Write for Endless {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn decode(c: &mut Criterion) {
    for (name, frames, messages) in
        [("64 messages", samples::text_frames(), BATCH), ("one of 64 KiB", samples::large_frame(), 1)]
    {
        let mut group = c.benchmark_group(format!("websocket decode, {name}"));
        group.throughput(Throughput::Bytes(frames.len() as u64));
        // Each copies the bytes once, as a read from a socket does: both need a buffer that they may write to.
        let (mut buffer, mut decoder) = (frames.clone(), Decoder::new(MAX_PAYLOAD));
        group.bench_function("engineio", |b| {
            b.iter(|| {
                buffer.copy_from_slice(&frames);
                let mut input = &mut *buffer;
                let mut count = 0;
                while let Ok(Some(item)) = decoder.decode(&mut input) {
                    black_box(item);
                    count += 1;
                }
                assert_eq!(count, messages);
            });
        });
        let endless = Endless { bytes: frames.clone(), at: 0 };
        let config = WebSocketConfig::default().read_buffer_size(64 * 1024);
        let mut peer = WebSocket::from_raw_socket(endless, Role::Server, Some(config));
        group.bench_function("tungstenite", |b| {
            b.iter(|| {
                for _ in 0..messages {
                    black_box(peer.read()).expect("the frames are valid");
                }
            });
        });
    }
}

fn encode(c: &mut Criterion) {
    let text = format!("4{}", samples::event_packet());
    let mut group = c.benchmark_group("websocket encode, one message");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("engineio", |b| {
        b.iter(|| SharedFrame::message(&[black_box(&text.as_bytes()[1..])], &[]));
    });
    // Encodes into its write buffer, then writes that out.
    let mut peer = WebSocket::from_raw_socket(Endless { bytes: Vec::new(), at: 0 }, Role::Server, None);
    group.bench_function("tungstenite", |b| {
        b.iter(|| peer.send(Message::text(black_box(&*text))).expect("the stream accepts everything"));
    });
}

fn polling(c: &mut Criterion) {
    let body = samples::payload();
    let mut group = c.benchmark_group("payload, 64 packets");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("decode", |b| {
        b.iter(|| payload::decode(black_box(&body)).expect("it is valid").map(black_box).count());
    });
    let packet = format!("4{}", samples::event_packet());
    group.bench_function("encode", |b| {
        b.iter(|| {
            let mut encoder = payload::Encoder::new(MAX_PAYLOAD);
            for _ in 0..BATCH {
                black_box(encoder.push(black_box(packet.as_bytes())));
            }
            encoder.finish()
        });
    });
    let attachment = [Bytes::from(samples::attachment())];
    group.bench_function("one frame's polling form, 1 KiB attachment", |b| {
        b.iter(|| SharedFrame::message(&[black_box(packet.as_bytes())], &attachment).polling().len());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = decode, encode, polling
}
criterion_main!(benches);
