//! [`TrustedProxies`]: what proxies in front of the server say about the client: its address, and the host that it asked
//! for.
//!
//! Each proxy adds the address of its own peer at the end of `X-Forwarded-For` (or `Forwarded`, RFC 7239). So the list is
//! read from the right, as long as the addresses are those of trusted proxies: the first other address is the client. All
//! that is further to the left was sent by the client, which may have invented it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use http::{HeaderMap, HeaderName, header};

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// All addresses that begin with the same bits, such as `10.0.0.0/8`; one address is a network too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text is no network: write `10.0.0.0/8`, `2001:db8::/32` or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no address and no network such as 10.0.0.0/8")]
pub struct InvalidNetwork;

impl Network {
    const fn width(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }

    /// Whether `address` is in this network. An IPv4 address that is written as IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let width = Self::width(address);
        let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| InvalidNetwork))?;
        if bits > width {
            return Err(InvalidNetwork);
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.bits < Self::width(self.address) { write!(f, "/{}", self.bits) } else { Ok(()) }
    }
}

/// The proxies whose headers are believed. Default: none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies(Vec<Network>);

impl FromIterator<Network> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl TrustedProxies {
    /// Whether the headers of a request from this address are believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(peer))
    }

    /// The client of a request that came from `peer`. `None` if only trusted proxies are named: theirs are the addresses
    /// of many clients, or of programs of the operator.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        self.walk(peer, headers).0
    }

    /// The host that the client of a request from `peer` asked for, if trusted proxies say so.
    #[must_use]
    pub fn host<'a>(&self, peer: IpAddr, headers: &'a HeaderMap) -> Option<&'a str> {
        if !self.trusts(peer) {
            return None;
        }
        let mut hosts: Vec<&str> = elements(headers, &X_FORWARDED_HOST, Quotes::Plain).collect();
        if hosts.is_empty() {
            let forwarded = elements(headers, &header::FORWARDED, Quotes::Enclose);
            hosts.extend(forwarded.filter_map(|element| parameter(element, "host")));
        }
        if hosts.is_empty() {
            return None;
        }
        let (_, steps) = self.walk(peer, headers);
        // Each trusted proxy adds one host; one that adds none leaves fewer.
        hosts.get(..steps.min(hosts.len()))?.last().copied()
    }

    /// The client, and how many proxies were trusted on the way to it.
    fn walk(&self, peer: IpAddr, headers: &HeaderMap) -> (Option<IpAddr>, usize) {
        let (mut address, mut steps) = (peer.to_canonical(), 0);
        if !self.trusts(address) {
            return (Some(address), 0);
        }
        let mut named = addresses(headers).into_iter();
        while self.trusts(address) {
            steps += 1;
            match named.next() {
                Some(Some(next)) => address = next,
                // An unknown or hidden client, or one of the proxies says nothing.
                Some(None) | None => return (None, steps),
            }
        }
        (Some(address), steps)
    }
}

/// The addresses that the headers name, from the last proxy to the client; `None` for a name that is no address.
///
/// `X-Forwarded-For` counts before `Forwarded`, because more proxies set it: one that sets only the former passes on what
/// the client sent as the latter.
fn addresses(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let mut named: Vec<_> = elements(headers, &X_FORWARDED_FOR, Quotes::Plain).map(address).collect();
    if named.is_empty() {
        let forwarded = elements(headers, &header::FORWARDED, Quotes::Enclose);
        named.extend(forwarded.map(|element| parameter(element, "for").and_then(address)));
    }
    named
}

/// What a quotation mark is in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// A character like any other.
    Plain,
    /// The begin or the end of a string, in which a separator separates nothing.
    Enclose,
}

/// The elements of a list that may be spread over several fields (RFC 9110, 5.3), the last one first.
///
/// A proxy may add its element to the field that the client sent. So the list is read from its end, and each element by
/// itself: what the client sent must not change what is read of the rest, not even a quotation mark without its
/// counterpart, or bytes that are no text.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName, quotes: Quotes) -> impl Iterator<Item = &'a str> {
    let fields = headers.get_all(name).iter().rev();
    fields
        .flat_map(move |field| split_from_end(field.as_bytes(), b',', quotes))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .map(|element| std::str::from_utf8(element).unwrap_or("?"))
}

fn split_from_end(bytes: &[u8], separator: u8, quotes: Quotes) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    bytes.rsplit(move |byte| {
        quoted ^= quotes == Quotes::Enclose && *byte == b'"';
        !quoted && *byte == separator
    })
}

/// The value of a parameter of an element of `Forwarded`: `for=192.0.2.1;host="a:1"`. If one name comes twice, the last
/// one counts.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let pairs = split_from_end(element.as_bytes(), b';', Quotes::Enclose);
    let mut pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// An address, perhaps in brackets, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = plain.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn trusted(networks: &[&str]) -> TrustedProxies {
        networks.iter().map(|network| network.parse::<Network>().unwrap()).collect()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).fold(
            HeaderMap::new(),
            |mut map, (name, value)| {
                map.append(name, value);
                map
            },
        )
    }

    #[test]
    fn the_client_is_the_first_address_from_the_right_that_is_no_trusted_proxy() {
        let proxies = trusted(&["127.0.0.0/8", "::1", "10.0.0.0/8"]);
        let (lo, out) = ("127.0.0.1", "203.0.113.7");
        type Row<'a> = (&'a str, &'a [(&'static str, &'static str)], Option<&'a str>);
        let rows: &[Row<'_>] = &[
            // Without a proxy, whatever the peer says of itself.
            (out, &[], Some(out)),
            (out, &[("x-forwarded-for", "192.0.2.1")], Some(out)),
            ("::ffff:203.0.113.7", &[], Some(out)),
            // A proxy that names nobody.
            (lo, &[], None),
            (lo, &[("x-forwarded-for", "")], None),
            (lo, &[("x-forwarded-for", "unknown")], None),
            (lo, &[("x-forwarded-for", "127.0.0.1")], None),
            (lo, &[("x-forwarded-for", "192.0.2.1")], Some("192.0.2.1")),
            ("::1", &[("x-forwarded-for", "192.0.2.1")], Some("192.0.2.1")),
            ("::ffff:127.0.0.1", &[("x-forwarded-for", "192.0.2.1")], Some("192.0.2.1")),
            // What the client sent stands at the left.
            (lo, &[("x-forwarded-for", "1.1.1.1, 192.0.2.1")], Some("192.0.2.1")),
            (lo, &[("x-forwarded-for", "127.0.0.1, 192.0.2.1")], Some("192.0.2.1")),
            (lo, &[("x-forwarded-for", "garbage, 192.0.2.1")], Some("192.0.2.1")),
            (lo, &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.1")], Some("192.0.2.1")),
            // Two proxies.
            (lo, &[("x-forwarded-for", "1.1.1.1, 192.0.2.1,10.1.2.3")], Some("192.0.2.1")),
            (lo, &[("x-forwarded-for", "192.0.2.1, 198.51.100.1")], Some("198.51.100.1")),
            // With ports and brackets.
            (lo, &[("x-forwarded-for", "192.0.2.1:4711")], Some("192.0.2.1")),
            (lo, &[("x-forwarded-for", "2001:db8::1")], Some("2001:db8::1")),
            (lo, &[("x-forwarded-for", "[2001:db8::1]")], Some("2001:db8::1")),
            (lo, &[("x-forwarded-for", "[2001:db8::1]:4711")], Some("2001:db8::1")),
            (lo, &[("x-forwarded-for", "::ffff:192.0.2.1")], Some("192.0.2.1")),
            // RFC 7239.
            (lo, &[("forwarded", "for=192.0.2.1;proto=https;by=10.0.0.1")], Some("192.0.2.1")),
            (lo, &[("forwarded", "For=\"[2001:db8::1]:4711\"")], Some("2001:db8::1")),
            (lo, &[("forwarded", "for=\"a,b\", for=192.0.2.1;host=\"x,y;z\"")], Some("192.0.2.1")),
            (lo, &[("forwarded", "for=1.1.1.1, for=192.0.2.1, for=10.0.0.9")], Some("192.0.2.1")),
            (lo, &[("forwarded", "for=_hidden")], None),
            (lo, &[("forwarded", "proto=https")], None),
            (lo, &[("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "192.0.2.1")], Some("192.0.2.1")),
            // What the client sent cannot hide what a proxy adds to the same field.
            (lo, &[("x-forwarded-for", "\", 192.0.2.1")], Some("192.0.2.1")),
            (lo, &[("x-forwarded-for", "1.1.1.1\", 192.0.2.1, 10.1.2.3")], Some("192.0.2.1")),
            (lo, &[("forwarded", "for=\", for=192.0.2.1")], Some("192.0.2.1")),
            (lo, &[("forwarded", "for=\"a;b, for=\"[2001:db8::1]:4711\";proto=http")], Some("2001:db8::1")),
        ];
        for (peer, pairs, expected) in rows {
            let client = proxies.client(peer.parse().unwrap(), &headers(pairs));
            assert_eq!(client, expected.map(|text| text.parse().unwrap()), "{peer} {pairs:?}");
        }
    }

    #[test]
    fn what_is_no_text_hides_no_address_behind_it() {
        let proxies = trusted(&["127.0.0.1"]);
        for (name, value) in [
            ("x-forwarded-for", &b"\xff, 192.0.2.1"[..]),
            ("x-forwarded-for", "\u{e9}\", 192.0.2.1".as_bytes()),
            ("forwarded", b"for=\xff, for=192.0.2.1"),
        ] {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())]);
            let client = proxies.client("127.0.0.1".parse().unwrap(), &headers);
            assert_eq!(client, "192.0.2.1".parse().ok(), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn the_host_is_what_the_outermost_trusted_proxy_was_asked_for() {
        let proxies = trusted(&["127.0.0.1", "10.0.0.0/8"]);
        type Row<'a> = (&'a str, &'a [(&'static str, &'static str)], Option<&'a str>);
        let rows: &[Row<'_>] = &[
            ("203.0.113.7", &[("x-forwarded-host", "chat.example")], None),
            ("127.0.0.1", &[], None),
            ("127.0.0.1", &[("x-forwarded-host", "chat.example:8080")], Some("chat.example:8080")),
            ("127.0.0.1", &[("x-forwarded-host", "evil.example, chat.example")], Some("chat.example")),
            (
                "127.0.0.1",
                &[("x-forwarded-host", "chat.example, inner"), ("x-forwarded-for", "192.0.2.1, 10.0.0.1")],
                Some("chat.example"),
            ),
            (
                "127.0.0.1",
                &[("x-forwarded-host", "evil, chat.example, inner"), ("x-forwarded-for", "192.0.2.1, 10.0.0.1")],
                Some("chat.example"),
            ),
            (
                "127.0.0.1",
                &[("x-forwarded-host", "chat.example"), ("x-forwarded-for", "192.0.2.1, 10.0.0.1")],
                Some("chat.example"),
            ),
            ("127.0.0.1", &[("forwarded", "for=192.0.2.1;host=\"chat.example:1\"")], Some("chat.example:1")),
        ];
        for (peer, pairs, expected) in rows {
            assert_eq!(proxies.host(peer.parse().unwrap(), &headers(pairs)), *expected, "{peer} {pairs:?}");
        }
    }

    #[test]
    fn a_network_is_an_address_or_a_prefix() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/31", "10.1.2.2", "10.1.2.4"),
            ("0.0.0.0/0", "192.0.2.1", "::1"),
            ("::/0", "::1", "192.0.2.1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("192.0.2.0/24", "::ffff:192.0.2.9", "::ffff:192.0.3.9"),
        ] {
            let network: Network = text.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{text}");
            assert!(!network.contains(outside.parse().unwrap()), "{text}");
            assert_eq!(network.to_string(), text);
        }
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/-1", "localhost", "10.0.0.0/", "/8"] {
            assert_eq!(text.parse::<Network>(), Err(InvalidNetwork), "{text}");
        }
    }
}
