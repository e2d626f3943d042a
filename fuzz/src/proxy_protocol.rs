//! `engineio::proxy_protocol`: the header in front of a connection's own bytes.
//!
//! The bytes are used twice. Once they are what a connection begins with. Once they are decisions, from which a header is
//! written that must be read back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use engineio::proxy_protocol::{self, Header, MAX_HEADER, NoHeader};

use crate::input::Input;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Runs the target. See the module.
pub fn proxy_protocol(data: &[u8]) {
    let _ = check(data);
    let mut input = Input::new(data);
    let (mut bytes, client) = if input.byte() & 1 == 0 { version_1(&mut input) } else { version_2(&mut input) };
    let len = bytes.len();
    bytes.extend_from_slice(input.rest());
    let expected = Header { len, client };
    assert_eq!(check(&bytes), Ok(Some(expected)), "{}", bytes.escape_ascii());
}

/// Reads `bytes` as they arrive, cut anywhere.
fn check(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let whole = proxy_protocol::read(bytes);
    // What was read is only complete once; more bytes change nothing. Beyond the longest header nothing changes, so it
    // is enough to cut there.
    let mut known = Ok(None);
    for cut in 0..=bytes.len().min(MAX_HEADER + 1) {
        let read = proxy_protocol::read(&bytes[..cut]);
        if known != Ok(None) {
            assert_eq!(read, known, "{cut} of {}", bytes.escape_ascii());
        } else if let Ok(Some(header)) = read {
            assert_eq!(header.len, cut, "it is complete with its last byte");
        }
        known = read;
    }
    assert_eq!(whole, known, "{}", bytes.escape_ascii());
    let mut longest = bytes.to_vec();
    longest.resize(bytes.len().max(MAX_HEADER), 0);
    assert_ne!(proxy_protocol::read(&longest), Ok(None), "nothing longer is waited for");
    if let Ok(Some(header)) = whole {
        assert!(header.len <= bytes.len().min(MAX_HEADER));
        assert_eq!(Some(header.client), second_reading(&bytes[..header.len]), "{}", bytes.escape_ascii());
    }
    whole
}

/// The client of a complete header, read without looking for its end; `None` if it is no header.
fn second_reading(header: &[u8]) -> Option<Option<SocketAddr>> {
    if let Some(rest) = header.strip_prefix(SIGNATURE) {
        let (fixed, rest) = rest.split_at_checked(4)?;
        let named = usize::from(fixed[2]) * 256 + usize::from(fixed[3]);
        let ip = |bytes: &[u8]| match fixed[1] {
            0x11 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?)),
            _ => Some(IpAddr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?)),
        };
        let client = match fixed[..2] {
            [0x20, _] => None,
            [0x21, family @ (0x11 | 0x21)] => {
                let at = if family == 0x11 { 8 } else { 32 };
                let port = rest.get(at..at + 4)?;
                Some((ip(rest)?, u16::from_be_bytes([port[0], port[1]])).into())
            }
            [0x21, _] => None,
            _ => return None,
        };
        return (named == rest.len()).then_some(client);
    }
    let line = std::str::from_utf8(header).ok()?.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    if family == "UNKNOWN" {
        return Some(None);
    }
    let [source, target, port, target_port]: [&str; 4] = rest.split(' ').collect::<Vec<_>>().try_into().ok()?;
    target_port.parse::<u16>().ok()?;
    let (source, port) = (source, port.parse().ok()?);
    let client = match family {
        "TCP4" => target.parse::<Ipv4Addr>().and_then(|_| source.parse()).map(|ip: Ipv4Addr| (ip, port).into()),
        "TCP6" => target.parse::<Ipv6Addr>().and_then(|_| source.parse()).map(|ip: Ipv6Addr| (ip, port).into()),
        _ => return None,
    };
    Some(Some(client.ok()?))
}

fn port(input: &mut Input<'_>) -> u16 {
    u16::from_be_bytes([input.byte(), input.byte()])
}

/// Bytes of an address; those that the input does not have are 0.
fn octets<const N: usize>(input: &mut Input<'_>) -> [u8; N] {
    std::array::from_fn(|_| input.byte())
}

fn version_1(input: &mut Input<'_>) -> (Vec<u8>, Option<SocketAddr>) {
    let (family, source, target): (_, IpAddr, IpAddr) = match input.byte() % 3 {
        0 => return (b"PROXY UNKNOWN\r\n".into(), None),
        1 => ("TCP4", octets::<4>(input).into(), octets::<4>(input).into()),
        _ => ("TCP6", octets::<16>(input).into(), octets::<16>(input).into()),
    };
    let (port, target_port) = (port(input), port(input));
    let line = format!("PROXY {family} {source} {target} {port} {target_port}\r\n");
    (line.into_bytes(), Some((source, port).into()))
}

fn version_2(input: &mut Input<'_>) -> (Vec<u8>, Option<SocketAddr>) {
    let command = input.byte() & 1;
    let family = [0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32][usize::from(input.byte() % 7)];
    let mut rest = Vec::new();
    let source: IpAddr = match family >> 4 {
        1 => octets::<4>(input).into(),
        _ => octets::<16>(input).into(),
    };
    match source {
        IpAddr::V4(ip) => rest.extend([ip.octets(), octets(input)].concat()),
        IpAddr::V6(ip) => rest.extend([ip.octets(), octets(input)].concat()),
    }
    let port = port(input);
    rest.extend([port.to_be_bytes(), octets(input)].concat());
    // Further fields, which are skipped whatever they are.
    rest.extend_from_slice(input.record());
    let len = u16::try_from(rest.len()).expect("a few hundred bytes");
    let bytes = [SIGNATURE, &[0x20 | command, family], &len.to_be_bytes(), &rest].concat();
    let names = command == 1 && (family == 0x11 || family == 0x21);
    (bytes, names.then(|| (source, port).into()))
}
