//! `engineio::http::forwarded`: whom the headers of proxies name.
//!
//! The bytes are used twice. Once they are lines: the address of the peer, the trusted networks with spaces between them,
//! then one header in each line, `name: value`. Once they are decisions: a client and a row of trusted proxies, each of
//! which adds to the headers in a way of its own, behind whatever the client sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engineio::http::{Network, TrustedProxies};
use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};

use crate::input::Input;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Runs the target. See the module.
pub fn forwarded(data: &[u8]) {
    any_headers(data);
    headers_of_proxies(&mut Input::new(data));
}

fn any_headers(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let (peer, networks) = (text(), text());
    let Ok(peer) = peer.parse::<IpAddr>() else { return };
    let networks: Vec<Network> = networks.split(' ').filter_map(|text| text.parse().ok()).collect();
    for network in &networks {
        assert_eq!(network.to_string().parse(), Ok(*network), "a network reads back");
    }
    let proxies: TrustedProxies = networks.into_iter().collect();
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    believed_only_from_trusted(&proxies, peer, &headers);
    from_the_right(&proxies, peer, &headers);
}

/// An address that is not trusted is the client, whatever it says. One that is trusted is never the client.
fn believed_only_from_trusted(proxies: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) {
    let (client, host) = (proxies.client(peer, headers), proxies.host(peer, headers));
    if proxies.trusts(peer) {
        assert!(client.is_none_or(|client| !proxies.trusts(client)), "{headers:?}");
        assert!(client.is_none_or(|client| client == client.to_canonical()));
    } else {
        assert_eq!((client, host), (Some(peer.to_canonical()), None), "{headers:?}");
    }
    let nobody = TrustedProxies::default();
    assert_eq!((nobody.client(peer, headers), nobody.host(peer, headers)), (Some(peer.to_canonical()), None));
}

/// What stands in front of a client that was found changes nothing, whether as a field of its own or in the same one.
fn from_the_right(proxies: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) {
    let Some(client) = proxies.client(peer, headers) else { return };
    for (name, junk) in [(FOR, "\", 192.0.2.99"), (FOR, "\u{e9}"), (FORWARDED, "for=\"x"), (FORWARDED, ";,\u{e9}")] {
        let Some(first) = headers.get(&name) else { continue };
        let mut fields = headers.clone();
        let others: Vec<_> = headers.get_all(&name).iter().skip(1).collect();
        fields.insert(&name, HeaderValue::from_bytes(junk.as_bytes()).expect("no control characters"));
        fields.append(&name, first.clone());
        let joined = [junk.as_bytes(), b", ", first.as_bytes()].concat();
        let mut one = headers.clone();
        one.insert(&name, HeaderValue::from_bytes(&joined).expect("no control characters"));
        for other in others {
            fields.append(&name, other.clone());
            one.append(&name, other.clone());
        }
        // Where no address was in the field, the junk may be the first.
        let named = headers.get_all(&FOR).iter().any(|field| !field.as_bytes().trim_ascii().is_empty());
        if named || name == FORWARDED {
            assert_eq!(proxies.client(peer, &fields), Some(client), "{fields:?}");
            assert_eq!(proxies.client(peer, &one), Some(client), "{one:?}");
        }
    }
}

/// An address outside the trusted networks of [`headers_of_proxies`], or within.
fn address(input: &mut Input<'_>, trusted: bool) -> IpAddr {
    if input.byte() & 1 == 0 {
        let [_, b, c, d] = std::array::from_fn(|_| input.byte());
        return Ipv4Addr::new(if trusted { 10 } else { 203 }, b, c, d).into();
    }
    let mut octets: [u8; 16] = std::array::from_fn(|_| input.byte());
    octets[0] = if trusted { 0xfd } else { 0x20 };
    Ipv6Addr::from(octets).into()
}

/// An address as proxies write it.
fn written(address: IpAddr, form: u8) -> String {
    match (address, form % 4) {
        (IpAddr::V4(ip), 0) => ip.to_ipv6_mapped().to_string(),
        (IpAddr::V6(ip), 0) => format!("[{ip}]"),
        (IpAddr::V4(ip), 1) => format!("{ip}:{form}"),
        (IpAddr::V6(ip), 1) => format!("[{ip}]:{form}"),
        _ => address.to_string(),
    }
}

/// Adds an element to a list: to the last field, or as a field of its own (RFC 9110, 5.3).
fn add(headers: &mut HeaderMap, name: &HeaderName, element: &str, form: u8) {
    let mut fields: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    let element = element.as_bytes();
    let joined = fields.last().filter(|_| form & 16 == 0).map(|last| {
        let comma: &[u8] = if form & 32 == 0 { b", " } else { b" ,\t" };
        [last.as_bytes(), comma, element].concat()
    });
    if joined.is_some() {
        fields.pop();
    }
    fields.push(HeaderValue::from_bytes(joined.as_deref().unwrap_or(element)).expect("no control characters"));
    headers.remove(name);
    for field in fields {
        headers.append(name, field);
    }
}

fn headers_of_proxies(input: &mut Input<'_>) {
    let trusted: [Network; 2] = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().expect("a network"));
    let proxies: TrustedProxies = trusted.into_iter().collect();
    let client = address(input, false);
    let modern = input.byte() & 1 == 1;
    let names = if modern { [FORWARDED, FORWARDED] } else { [FOR, HOST] };
    let mut headers = HeaderMap::new();
    // What the client itself sends.
    for name in names.iter().take(if modern { 1 } else { 2 }) {
        if let Ok(value) = HeaderValue::from_bytes(input.record()) {
            headers.append(name, value);
        }
    }
    let mut peer = client;
    for step in 0..=input.byte() % 4 {
        let (form, host) = (input.byte(), format!("host{step}.example:{step}"));
        let named = written(peer, form);
        if modern {
            let quoted = if named.contains(':') || form & 64 == 0 { format!("\"{named}\"") } else { named };
            let element = match form & 8 {
                0 => format!("for={quoted};host=\"{host}\";proto=https"),
                _ => format!("proto=https; Host={host} ; For={quoted}"),
            };
            add(&mut headers, &FORWARDED, &element, form);
        } else {
            add(&mut headers, &FOR, &named, form);
            add(&mut headers, &HOST, &host, form);
        }
        peer = address(input, true);
    }
    assert_eq!(proxies.client(peer, &headers), Some(client), "{headers:?}");
    assert_eq!(proxies.host(peer, &headers), Some("host0.example:0"), "{headers:?}");
    // The same headers, sent by the client itself.
    believed_only_from_trusted(&proxies, client, &headers);
}
