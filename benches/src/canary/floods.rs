//! The attacks of clients that are no user.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use super::Field;
use super::attacks::{FROM, exchange, rest};
use super::client::{Client, token};
use crate::frames;

pub(super) fn silent(field: &Field) -> io::Result<()> {
    let mut open = Vec::new();
    for _ in 0..1_300 {
        open.push(Client::tcp(field.address)?);
        field.count();
    }
    field.begin();
    field.wait_until_over();
    Ok(())
}

pub(super) fn handshakes(field: &Field) -> io::Result<()> {
    let request = format!(
        "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: {FROM}\r\n\
         Connection: close\r\n\r\n",
        field.address
    );
    field.begin();
    while field.goes_on() {
        // A refusal is an answer too.
        let _ = exchange(&mut Client::tcp(field.address)?.stream, request.as_bytes());
        field.count();
    }
    Ok(())
}

/// At most so many: what a connection without a limit would take in some seconds.
const WRONG_TOKENS: usize = 93_000;

pub(super) fn tokens(field: &Field) -> io::Result<()> {
    let mut packet = Vec::new();
    let wrong = token("another secret, which is not the server's", "nobody", &[]);
    frames::encode_text(format!("40{{\"token\":\"{wrong}\"}}").as_bytes(), &mut packet);
    let many = packet.repeat(50);
    let mut left = WRONG_TOKENS;
    field.begin();
    while field.goes_on() {
        let Ok(mut client) = Client::websocket(field.address, FROM) else {
            rest();
            continue;
        };
        while field.goes_on() && left > 0 && client.stream.write_all(&many).is_ok() {
            field.count();
            left = left.saturating_sub(50);
        }
        if left == 0 {
            rest();
        }
    }
    Ok(())
}

pub(super) fn fragments(field: &Field) -> io::Result<()> {
    // Not the last, text, one byte; then the same as continuations.
    let first = [0x01, 0x81, 0, 0, 0, 0, b'4'];
    let more = [0x00, 0x81, 0, 0, 0, 0, b'x'].repeat(10_000);
    field.begin();
    while field.goes_on() {
        let Ok(mut client) = Client::websocket(field.address, FROM) else {
            rest();
            continue;
        };
        if client.stream.write_all(&first).is_err() {
            continue;
        }
        while field.goes_on() && client.stream.write_all(&more).is_ok() {
            field.count();
            // Ten million fragments a second are enough, and leave the core to the canaries.
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}
