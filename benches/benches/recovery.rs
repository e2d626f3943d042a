//! Connection state recovery: what it adds to a broadcast, and what it costs a client to come back.

use std::hint::black_box;
use std::time::Duration;

use benches::memory::MemoryServer;
use benches::samples;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engineio::{CloseReason, testing::Shard};
use socketio::{
    AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, Server, SocketKey,
    recovery::{Options, Recovery},
};

fn recovering() -> Config {
    let mut config = Config::default();
    config.recovery = Some(Recovery::new(Options::default()));
    config
}

fn broadcast(c: &mut Criterion) {
    let mut group = c.benchmark_group("broadcast");
    let packet = samples::event_packet();
    for members in [1, 100, 1000] {
        group.throughput(Throughput::Elements(members as u64));
        for (name, config) in [("without recovery", Config::default()), ("with recovery", recovering())] {
            let mut server = MemoryServer::with_config(members, config);
            group.bench_function(BenchmarkId::new(name, members), |b| b.iter(|| server.send(0, black_box(&packet))));
        }
    }
}

/// An event goes to the room that its name says. Everybody is in `mine`.
struct App;

impl Handler for App {
    type Admission = ();

    fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
        Decision::Admit(())
    }

    fn readmit(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>, _: Option<&str>) -> Option<()> {
        Some(())
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, (): ()) {
        io.join(socket, "mine");
    }

    fn on_event(&mut self, io: &mut Io<'_>, _: SocketKey, event: &Event<'_>, _: Option<AckId>) {
        let sent = io.of("/").to(&event.name).emit("message", event.args.raw(), &[]);
        debug_assert!(sent.is_ok(), "the name is not reserved");
    }

    fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
}

/// Connections that break, each with its client that comes back. Meanwhile `others` events were logged for other rooms, and ten
/// for it.
fn claim(c: &mut Criterion) {
    let mut group = c.benchmark_group("a client comes back");
    group.bench_function("to a server without recovery", |b| {
        let mut shard = Shard::new(Server::new(Config::default(), App));
        let mut conn = shard.open();
        b.iter(|| {
            shard.close(conn, CloseReason::TransportClose);
            conn = shard.open();
            shard.text(conn, "0");
            shard.engine.take_sent(conn)
        });
    });
    for others in [0, 1_000, 10_000, 50_000] {
        let mut shard = Shard::new(Server::new(recovering(), App));
        let sender = shard.open();
        shard.text(sender, "0");
        let mut conn = shard.open();
        shard.text(conn, "0");
        let answer = shard.sent(conn).concat();
        let pid = answer.split('"').nth(7).unwrap_or_default();
        let claim = format!(r#"0{{"pid":"{pid}"}}"#);
        for _ in 0..others {
            shard.text(sender, r#"2["other","some text"]"#);
        }
        for _ in 0..10 {
            shard.text(sender, r#"2["mine","some text"]"#);
        }
        shard.sent(sender);
        group.bench_function(BenchmarkId::new("events of others", others), |b| {
            b.iter(|| {
                shard.close(conn, CloseReason::TransportClose);
                conn = shard.open();
                shard.text(conn, &claim);
                assert_eq!(shard.engine.take_sent(conn).len(), 11, "what it missed, and the answer");
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = broadcast, claim
}
criterion_main!(benches);
