//! Rooms, from a client's packet to each member's outbox. The outboxes only count.

use std::hint::black_box;
use std::time::Duration;

use benches::memory::MemoryServer;
use benches::samples;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn rooms(c: &mut Criterion) {
    let mut group = c.benchmark_group("room");
    let mut server = MemoryServer::new(100);
    // The cost of the packets below before a room is involved.
    group.bench_function("an event that does nothing", |b| {
        b.iter(|| server.send(50, black_box(r#"2["none","lobby"]"#)));
    });
    group.bench_function("join and leave a new room", |b| {
        b.iter(|| {
            server.send(50, black_box(r#"2["join","lobby"]"#));
            server.send(50, black_box(r#"2["leave","lobby"]"#));
        });
    });
    group.bench_function("leave and join a room of 100", |b| {
        b.iter(|| {
            server.send(50, black_box(r#"2["leave","room-1"]"#));
            server.send(50, black_box(r#"2["join","room-1"]"#));
        });
    });
    group.bench_function("connect, join a room of 100, go", |b| b.iter(|| server.connect_and_close()));
}

fn broadcast(c: &mut Criterion) {
    let mut group = c.benchmark_group("broadcast");
    let packet = samples::event_packet();
    for members in [1, 10, 100, 1000] {
        let mut server = MemoryServer::new(members);
        group.throughput(Throughput::Elements(members as u64));
        group.bench_function(BenchmarkId::from_parameter(members), |b| b.iter(|| server.send(0, black_box(&packet))));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = rooms, broadcast
}
criterion_main!(benches);
