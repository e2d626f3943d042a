//! WebSocket frames as a client writes them, and tungstenite as the other implementation.

use std::io::{self, Read, Write};

use engineio::ws::header::{self, Opcode};
use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket, error,
    protocol::{Role, WebSocketConfig},
};

/// Appends a masked frame: `first` is FIN, RSV and opcode; the length has its shortest form.
pub(crate) fn client_frame(first: u8, key: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&header::encode(Opcode::Text, payload.len()));
    out[start] = first;
    out[start + 1] |= 0x80;
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// The input of a tungstenite WebSocket; its answers are dropped.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of a stream: its messages up to the first close frame or error, and the close code of that
/// error. The end of the stream is not an error.
pub(crate) fn tungstenite(role: Role, max_message: usize, bytes: &[u8]) -> (Vec<Message>, Option<u16>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message));
    let mut socket = WebSocket::from_raw_socket(Wire(bytes), role, Some(config));
    let mut messages = Vec::new();
    loop {
        let code = match socket.read() {
            Ok(Message::Close(frame)) => {
                messages.push(Message::Close(frame));
                None
            }
            Ok(message) => {
                messages.push(message);
                continue;
            }
            Err(Error::Protocol(error::ProtocolError::ResetWithoutClosingHandshake)) => None,
            Err(Error::Protocol(_)) => Some(1002),
            Err(Error::Utf8(_)) => Some(1007),
            Err(Error::Capacity(_)) => Some(1009),
            Err(error) => panic!("the wire never fails: {error}"),
        };
        return (messages, code);
    }
}

/// The frames of a server: the byte with FIN, RSV and opcode, and the payload.
pub(crate) fn server_frames(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (first, len) = (*bytes.first()?, bytes[1]);
        let (start, len) = match len {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (10, u64::from_be_bytes(bytes[2..10].try_into().expect("eight bytes")) as usize),
            len => (2, usize::from(len)),
        };
        let payload = &bytes[start..start + len];
        bytes = &bytes[start + len..];
        Some((first, payload))
    })
}
