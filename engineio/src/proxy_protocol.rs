//! The PROXY protocol, versions 1 and 2: a header in front of a connection's own bytes, by which a proxy that passes on
//! bytes without reading them says who the client is.
//!
//! Only the address is read; the further fields of version 2 are skipped. The specification is "The PROXY protocol" of
//! HAProxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first bytes of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The first bytes of version 1.
const PREFIX: &[u8] = b"PROXY ";

/// The longest header of version 1, with its line end.
const MAX_LINE: usize = 107;

/// The length of version 2's fixed part.
const FIXED: usize = 16;

/// The longest header that is read. Version 2 allows 64 KiB; what proxies send has a few hundred bytes.
pub const MAX_HEADER: usize = 4096;

/// The bytes do not begin with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a header of the PROXY protocol")]
pub struct NoHeader;

/// A header at the front of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes.
    pub len: usize,
    /// The client. `None` if the proxy speaks for itself (a health check), or the client has no IP address.
    pub client: Option<SocketAddr>,
}

/// Reads the header at the front of `bytes`; `None` if it is not complete yet.
///
/// # Errors
/// What the bytes begin with can never be a header, or one that is too long.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(byte, expected)| byte == expected);
    if begins(&SIGNATURE) {
        if bytes.len() < FIXED { Ok(None) } else { read_2(bytes) }
    } else if begins(PREFIX) {
        if bytes.len() < PREFIX.len() { Ok(None) } else { read_1(bytes) }
    } else {
        Err(NoHeader)
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 4711 80` and a line end.
fn read_1(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let Some(end) = bytes.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() < MAX_LINE { Ok(None) } else { Err(NoHeader) };
    };
    let line = bytes.get(PREFIX.len()..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(NoHeader)?;
    let line = std::str::from_utf8(line).map_err(|_| NoHeader)?;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match *words {
        // The rest of the line must be ignored.
        ["UNKNOWN", ..] => None,
        [family @ ("TCP4" | "TCP6"), source, target, port, target_port] => {
            let address = |text: &str| text.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == (family == "TCP4"));
            let number =
                |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
            address(target).zip(number(target_port)).ok_or(NoHeader)?;
            Some(address(source).zip(number(port)).ok_or(NoHeader)?.into())
        }
        _ => return Err(NoHeader),
    };
    Ok(Some(Header { len: end + 1, client }))
}

/// Version 2: the signature, version and command, family and protocol, the length of the rest, and the rest.
fn read_2(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let Some([version_and_command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else { return Ok(None) };
    let len = FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    if version_and_command >> 4 != 2 || len > MAX_HEADER {
        return Err(NoHeader);
    }
    let Some(rest) = bytes.get(FIXED..len) else { return Ok(None) };
    let client = match (version_and_command & 0xf, family) {
        // LOCAL: the proxy's own connection, whatever the rest says.
        (0, _) => None,
        // Over TCP, or over UDP, which counts as unknown here.
        (1, 0x11) => Some(addresses(rest).map(|(ip, port)| (Ipv4Addr::from(ip), port).into()).ok_or(NoHeader)?),
        (1, 0x21) => Some(addresses(rest).map(|(ip, port)| (Ipv6Addr::from(ip), port).into()).ok_or(NoHeader)?),
        (1, _) => None,
        _ => return Err(NoHeader),
    };
    Ok(Some(Header { len, client }))
}

/// The client's address and port: after them and the server's address comes the client's port.
fn addresses<const N: usize>(rest: &[u8]) -> Option<([u8; N], u16)> {
    let ports = rest.get(2 * N..2 * N + 4)?;
    Some((*rest.first_chunk::<N>()?, u16::from_be_bytes(*ports.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &len, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 127, 0, 0, 1, 0x12, 0x67, 0, 80];

    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let v6 = [&Ipv6Addr::from_bits(0x2001_0db8 << 96 | 1).octets()[..], &[0; 16], &[0x12, 0x67, 0, 80]].concat();
        let fields = [&V4[..], b"\x03\x00\x04abcd"].concat();
        vec![
            (b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n".into(), Some("192.0.2.1:4711")),
            (b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n".into(), Some("[2001:db8::1]:4711")),
            (b"PROXY UNKNOWN\r\n".into(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".into(), None),
            (v2(0x21, 0x11, &V4), Some("192.0.2.1:4711")),
            (v2(0x21, 0x11, &fields), Some("192.0.2.1:4711")),
            (v2(0x21, 0x21, &v6), Some("[2001:db8::1]:4711")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &V4), None),
            (v2(0x21, 0x12, &V4), None),
            (v2(0x21, 0x31, &[0; 216]), None),
            (v2(0x21, 0x00, &[]), None),
        ]
    }

    #[test]
    fn a_header_names_the_client_and_ends_where_it_says() {
        for (header, client) in headers() {
            let len = header.len();
            let expected = Header { len, client: client.map(|text| text.parse().unwrap()) };
            for behind in [&b""[..], b"GET / HTTP/1.1\r\n", b"PROXY TCP4"] {
                let bytes = [&header[..], behind].concat();
                assert_eq!(read(&bytes), Ok(Some(expected)), "{}", header.escape_ascii());
            }
            for cut in 0..len {
                assert_eq!(read(&header[..cut]), Ok(None), "{cut} of {}", header.escape_ascii());
            }
        }
    }

    #[test]
    fn anything_else_is_no_header() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE));
        let rows: [&[u8]; 18] = [
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01",
            b"PROXX",
            b"proxy TCP4 192.0.2.1 127.0.0.1 4711 80\r\n",
            b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\n",
            b"PROXY TCP4 192.0.2.1 127.0.0.1 4711\r\n",
            b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80 1\r\n",
            b"PROXY TCP4 192.0.2.1  127.0.0.1 4711 80\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 4711 80\r\n",
            b"PROXY TCP6 192.0.2.1 127.0.0.1 4711 80\r\n",
            b"PROXY TCP4 192.0.2.1 127.0.0.1 65536 80\r\n",
            b"PROXY TCP4 192.0.2.1 127.0.0.1 +1 80\r\n",
            b"PROXY TCP4 \xff 127.0.0.1 1 80\r\n",
            long.as_bytes(),
            &v2(0x11, 0x11, &V4),
            &v2(0x22, 0x11, &V4),
            &v2(0x21, 0x11, &V4[..11]),
            &v2(0x21, 0x11, &[0; MAX_HEADER]),
        ];
        for bytes in rows {
            assert_eq!(read(bytes), Err(NoHeader), "{}", bytes.escape_ascii());
        }
    }
}
