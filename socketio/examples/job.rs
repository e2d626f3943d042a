//! Work in the background that emits: a thread tells everyone in a room the time, once a second.
//!
//! `cargo run --release -p socketio --example job`, then with `socket.io-client`:
//! `socket.on('time', console.log); socket.emit('subscribe');`

use std::{error::Error, sync::mpsc, thread, time::Duration};

use socketio::router::{Ack, Router, SendError, Socket, SocketIo};

fn app() -> Router {
    let mut app = Router::new();
    app.of("/").on("subscribe", |socket: Socket, ack: Ack| {
        socket.join("time")?;
        ack.send("subscribed")
    });
    app
}

/// Emits what it is told, until the server or the other end of the channel is gone.
fn publish(io: &SocketIo, seconds: &mpsc::Receiver<u64>) {
    for second in seconds {
        match io.of("/").to("time").emit("time", &second) {
            Ok(()) => {}
            Err(SendError::NotRunning) => return,
            // A shard that has too much to do has no time for this second.
            Err(error) => eprintln!("not sent: {error}"),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let running = app().serve("127.0.0.1:3000")?;
    let (clock, seconds) = mpsc::channel();
    thread::spawn(move || {
        for second in 0.. {
            if clock.send(second).is_err() {
                return;
            }
            thread::sleep(Duration::from_secs(1));
        }
    });
    let io = running.io();
    thread::spawn(move || publish(&io, &seconds));
    running.join()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpStream;
    use tokio_tungstenite::{client_async, tungstenite::Message};

    use super::*;

    #[tokio::test]
    async fn a_thread_reaches_who_subscribed_until_the_server_ends() {
        let running = app().serve("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(running.local_addr()).await.unwrap();
        let url = "ws://localhost/socket.io/?EIO=4&transport=websocket";
        let mut client = client_async(url, stream).await.unwrap().0;
        client.send(Message::text("40")).await.unwrap();
        client.send(Message::text(r#"420["subscribe"]"#)).await.unwrap();
        // OPEN, CONNECT, and the acknowledgement.
        while client.next().await.unwrap().unwrap() != Message::text(r#"430["subscribed"]"#) {}

        let (clock, seconds) = mpsc::channel();
        let io = running.io();
        let publisher = thread::spawn(move || publish(&io, &seconds));
        clock.send(7).unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text(r#"42["time",7]"#));

        drop(client);
        running.shutdown(Duration::ZERO);
        tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
        clock.send(8).unwrap();
        publisher.join().unwrap();
        assert!(clock.send(9).is_err(), "the thread has ended");
    }
}
