//! A network that brings the answer to a WebSocket handshake and what follows it in two reads.
//!
//! One test of the official v3 suite begins to listen for messages only after it has heard of the open connection, and so
//! never sees an OPEN packet that came in the read of the 101. The server writes the two apart, but right after another,
//! and the kernel may well join them. Clients listen from the start; the suite gets this relay in between.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// Between the 101 and what follows it.
const PAUSE: Duration = Duration::from_millis(5);

/// Relays every connection to `server`, until the process is ended.
pub(crate) fn serve(listener: &TcpListener, server: SocketAddr) {
    for client in listener.incoming().flatten() {
        thread::spawn(move || relay(&client, server));
    }
}

fn relay(client: &TcpStream, server: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut up_from, mut up_to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        // However it ends, the other side sees an end.
        let _ = io::copy(&mut up_from, &mut up_to);
        let _ = up_to.shutdown(Shutdown::Write);
    });
    let result = answer(&server, client);
    let _ = client.shutdown(Shutdown::Write);
    result
}

fn answer(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        let mut bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.starts_with(b"HTTP/1.1 101")
            && let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n")
            && let Some((head, rest)) = bytes.split_at_checked(end + 4)
        {
            to.write_all(head)?;
            thread::sleep(PAUSE);
            bytes = rest;
        }
        to.write_all(bytes)?;
    }
}
