//! From another thread to a handler and back: [`engineio::net::Handle`], compared with a tokio channel to a task on a
//! single-threaded runtime. It measures a round trip (a question, answered through a oneshot), and the cost of one
//! message among many.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Message, Outbox, ShardMessage,
    net::{Handle, Reply, Running, Server},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
};

/// How many messages are sent before the one that is answered.
const MANY: u64 = 1000;

enum Ask {
    /// Add this.
    Add(u64),
    /// The sum so far.
    Sum(Reply<u64>),
}

#[derive(Default)]
struct Adder(u64);

impl Handler for Adder {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
    fn on_message(&mut self, _: &mut dyn Outbox, _: ConnKey, _: Message<'_>) {}
    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}

    fn on_shard_message(&mut self, _: &mut dyn Outbox, message: ShardMessage) {
        match message.downcast() {
            Ok(Ask::Add(number)) => self.0 += number,
            Ok(Ask::Sum(reply)) => reply.send(self.0),
            Err(_) => {}
        }
    }
}

fn start() -> std::io::Result<(Running, Handle)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let running = Server::new(Config::default()).serve(listener, Adder::default)?;
    let handle = running.handle();
    Ok((running, handle))
}

/// The same two messages for the channel.
enum Command {
    Add(u64),
    Sum(oneshot::Sender<u64>),
}

/// Starts a thread with a single-threaded runtime, as a shard has, and a task that adds.
fn adding_task() -> mpsc::Sender<Command> {
    let (sender, mut receiver) = mpsc::channel(1024);
    std::thread::spawn(move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            let mut sum = 0;
            while let Some(command) = receiver.recv().await {
                match command {
                    Command::Add(number) => sum += number,
                    Command::Sum(answer) => drop(answer.send(sum)),
                }
            }
        });
    });
    sender
}

async fn ask_task(sender: &mpsc::Sender<Command>) -> Option<u64> {
    let (answer, answered) = oneshot::channel();
    sender.send(Command::Sum(answer)).await.ok()?;
    answered.await.ok()
}

async fn ask_shard(handle: &Handle) -> Option<u64> {
    handle.ask(0, |reply| ShardMessage::new(Ask::Sum(reply))).await.ok()
}

fn round_trips(criterion: &mut Criterion, runtime: &Runtime, handle: &Handle, sender: &mpsc::Sender<Command>) {
    let mut group = criterion.benchmark_group("round trip from another thread");
    group.bench_function("engineio::net::Handle", |bencher| {
        bencher.iter(|| runtime.block_on(async { black_box(ask_shard(handle).await) }));
    });
    group.bench_function("tokio::sync::mpsc", |bencher| {
        bencher.iter(|| runtime.block_on(async { black_box(ask_task(sender).await) }));
    });
    group.finish();
}

fn many(criterion: &mut Criterion, runtime: &Runtime, handle: &Handle, sender: &mpsc::Sender<Command>) {
    let mut group = criterion.benchmark_group("1,000 messages from another thread");
    group.throughput(criterion::Throughput::Elements(MANY));
    group.bench_function("engineio::net::Handle", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                for number in 0..MANY {
                    let _ = handle.send(0, ShardMessage::new(Ask::Add(number))).await;
                }
                black_box(ask_shard(handle).await)
            })
        });
    });
    group.bench_function("tokio::sync::mpsc", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                for number in 0..MANY {
                    let _ = sender.send(Command::Add(number)).await;
                }
                black_box(ask_task(sender).await)
            })
        });
    });
    group.finish();
}

fn handle(criterion: &mut Criterion) {
    let (Ok(runtime), Ok((running, handle))) = (Builder::new_current_thread().build(), start()) else { return };
    let sender = adding_task();
    round_trips(criterion, &runtime, &handle, &sender);
    many(criterion, &runtime, &handle, &sender);
    running.shutdown(Duration::ZERO);
}

criterion_group!(benches, handle);
criterion_main!(benches);
