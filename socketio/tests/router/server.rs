//! The client's bundles, and the end of a server.

use std::{io, time::Duration};

use socketio::{
    DisconnectReason,
    router::{Router, Running, Socket},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use crate::client::Client;

fn serve(app: Router) -> Running {
    app.serve("127.0.0.1:0").unwrap()
}

/// One request on a connection of its own: the whole answer.
async fn get(running: &Running, path: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(running.local_addr()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn end(running: Running) {
    running.shutdown(Duration::ZERO);
    tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn browsers_get_the_bundles_of_the_client() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("socket.io.min.js"), "io()").unwrap();
    std::fs::write(folder.path().join("socket.io.min.js.map"), "{}").unwrap();
    std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    let mut app = Router::new();
    app.serve_client(&folder).unwrap();
    let running = serve(app);
    // The files were read at the start.
    drop(folder);
    let bundle = get(&running, "/socket.io/socket.io.min.js", "").await;
    assert!(bundle.starts_with("HTTP/1.1 200 ") && bundle.ends_with("\r\n\r\nio()"), "{bundle}");
    assert!(bundle.contains("content-type: application/javascript; charset=utf-8\r\n"), "{bundle}");
    let etag = bundle.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let known = get(&running, "/socket.io/socket.io.min.js", &format!("If-None-Match: {etag}\r\n")).await;
    assert!(known.starts_with("HTTP/1.1 304 "), "{known}");
    let map = get(&running, "/socket.io/socket.io.min.js.map", "").await;
    assert!(map.contains("content-type: application/json; charset=utf-8\r\n") && map.ends_with("{}"), "{map}");
    for path in ["/socket.io/secret.txt", "/socket.io/socket.io.js", "/socket.io/../secret.txt"] {
        assert!(get(&running, path, "").await.starts_with("HTTP/1.1 400 "), "{path}");
    }
    Client::connect(running.local_addr(), "").await;
    end(running).await;
}

#[test]
fn a_folder_without_a_bundle_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = Router::new().serve_client(&folder).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("socket.io.js"), "{error}");
}

#[tokio::test]
async fn a_server_that_drains_tells_its_handlers_and_stops() {
    let (reasons, mut said) = mpsc::unbounded_channel();
    let mut app = Router::new();
    app.of("/").on_disconnect(move |reason: DisconnectReason, _: Socket| {
        let _ = reasons.send(reason.to_string());
    });
    let running = serve(app);
    let clients = [Client::connect(running.local_addr(), "").await, Client::connect(running.local_addr(), "").await];
    running.drain(Duration::from_millis(100));
    let refused = get(&running, "/socket.io/?EIO=4&transport=polling", "").await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    for mut client in clients {
        // No packet says why: a client that is told to leave would not come back.
        assert!(client.is_cut().await);
    }
    tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
    for _ in 0..2 {
        assert_eq!(said.recv().await.unwrap(), "server shutting down");
    }
}
