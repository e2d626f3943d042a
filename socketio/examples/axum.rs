//! The router in an axum application, and a route of the application that emits to a room.
//!
//! `cargo run --release -p socketio --features tower --example axum`, then
//! `curl -d 'tea is ready' http://127.0.0.1:3000/rooms/kitchen/news`; with `socket.io-client`:
//! `socket.on('news', console.log); socket.emit('join', 'kitchen');`

use std::{error::Error, io, time::Duration};

use axum::{
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use socketio::router::{Ack, Data, Router, Running, SendError, Socket, SocketIo};

/// Has the axum application's state: [`SocketIo`] is cheap to clone.
async fn publish(State(io): State<SocketIo>, Path(room): Path<String>, news: String) -> StatusCode {
    match io.of("/").to(&room).emit("news", &news) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(SendError::Busy | SendError::NotRunning) => StatusCode::SERVICE_UNAVAILABLE,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn app() -> io::Result<(Running, axum::Router)> {
    let mut news = Router::new();
    news.shards(2).of("/").on("join", |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.join(&room)?;
        ack.send(&room)
    });
    let (running, engine) = news.attach()?;
    let app = axum::Router::new()
        .route("/", get(async || "hello"))
        .route("/rooms/{room}/news", post(publish))
        // Not `nest_service`, which takes the path away.
        .route_service("/socket.io/", engine)
        .with_state(running.io());
    Ok((running, app))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (running, app) = app()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    // Before axum: it would wait for connections that Socket.IO keeps open.
    let end = async move {
        // Without signals it ends with the process.
        if tokio::signal::ctrl_c().await.is_ok() {
            running.drain(Duration::from_secs(5));
            let _ = tokio::task::spawn_blocking(|| running.join()).await;
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(end).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };
    use tokio_tungstenite::{client_async, tungstenite::Message};

    use super::*;

    /// One request on a connection of its own: the whole answer.
    async fn ask(server: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_route_of_the_application_emits_to_a_room() {
        let (running, app) = app().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, app).await });

        // One client on each shard.
        let mut clients = Vec::new();
        for _ in 0..2 {
            let stream = TcpStream::connect(server).await.unwrap();
            let url = format!("ws://{server}/socket.io/?EIO=4&transport=websocket");
            let mut client = client_async(url, stream).await.unwrap().0;
            client.send(Message::text("40")).await.unwrap();
            client.send(Message::text(r#"420["join","kitchen"]"#)).await.unwrap();
            while client.next().await.unwrap().unwrap() != Message::text(r#"430["kitchen"]"#) {}
            clients.push(client);
        }
        let answer = ask(
            server,
            "POST /rooms/kitchen/news HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\ntea",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
        for client in &mut clients {
            assert_eq!(client.next().await.unwrap().unwrap(), Message::text(r#"42["news","tea"]"#));
        }
        let page = ask(server, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(page.ends_with("\r\n\r\nhello"), "{page}");

        drop(clients);
        running.shutdown(Duration::ZERO);
        tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
        let late = ask(
            server,
            "POST /rooms/kitchen/news HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\ntea",
        )
        .await;
        assert!(late.starts_with("HTTP/1.1 503 "), "{late}");
    }
}
