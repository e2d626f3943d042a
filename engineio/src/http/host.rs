//! The header `Host`: whether its value is a valid host, and whether the server answers for that host.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, header};

/// For which hosts the server answers requests on the engine's path. A page can make its own name point at the server's
/// address (DNS rebinding); the browser then takes the server for a part of that page's origin. But `Host` is that name.
/// (Node answers for every host.)
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Hosts {
    /// Every host.
    #[default]
    Any,
    /// Requests without `Host`, and for these hosts.
    Listed {
        /// Names or addresses, without ports, compared without regard to case.
        hosts: Vec<String>,
        /// Any loopback address, `localhost`, and the names below it.
        loopback: bool,
    },
}

impl Hosts {
    /// Whether a request with these headers is answered. `Host` must be what the client sent:
    /// [`Config::judged_headers`](crate::Config::judged_headers).
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Self::Listed { hosts, loopback } = self else { return true };
        let Some(host) = headers.get(header::HOST) else { return true };
        let Ok(host) = host.to_str() else { return false };
        let (name, _) = split(host);
        // The root of all names may be written out: `chat.example.` is `chat.example`.
        let name = name.strip_suffix('.').unwrap_or(name);
        hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)) || (*loopback && is_loopback(name))
    }
}

/// A host and its port, if there is one.
pub(super) fn split(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        // A colon inside brackets is part of an address.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port).filter(|port| !port.is_empty())),
        _ => (host, None),
    }
}

/// Whether a host without its port is this machine for whoever names it.
pub(super) fn is_loopback(name: &str) -> bool {
    let plain = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let top = name.rsplit('.').next().unwrap_or_default();
    top.eq_ignore_ascii_case("localhost")
        || plain.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a value of `Host` follows its grammar, `uri-host [ ":" port ]` (RFC 9110, 7.2); an empty value does. RFC
/// 9112, 3.2: a server must answer 400 to any other.
#[must_use]
pub fn is_valid(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|byte| *byte == b':') {
        // A colon inside brackets is part of an address.
        Some(at) if !value.ends_with(b"]") => {
            let (host, port) = value.split_at(at);
            (host, port.get(1..).unwrap_or_default())
        }
        _ => (value, &[][..]),
    };
    port.iter().all(u8::is_ascii_digit)
        && match host {
            [b'[', literal @ .., b']'] => is_ip_literal(literal),
            name => is_reg_name(name),
        }
}

/// RFC 3986, 3.2.2: `IP-literal` without its brackets.
fn is_ip_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = literal {
        let mut parts = future.splitn(2, |byte| *byte == b'.');
        let (version, address) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|byte| is_plain(*byte) || *byte == b':');
    }
    std::str::from_utf8(literal).is_ok_and(|literal| literal.parse::<Ipv6Addr>().is_ok())
}

/// RFC 3986, 3.2.2: `reg-name`, which every IPv4 address matches too.
fn is_reg_name(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        let legal = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(u8::is_ascii_hexdigit)),
            byte => is_plain(*byte),
        };
        if !legal {
            return false;
        }
    }
    true
}

/// `unreserved` or `sub-delims`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_answers_for_the_hosts_that_are_listed() {
        let hosts = vec!["chat.example".to_owned(), "192.0.2.1".to_owned(), "[2001:db8::1]".to_owned()];
        let rules = [(hosts, false), (Vec::new(), true)].map(|(hosts, loopback)| Hosts::Listed { hosts, loopback });
        for (host, listed, loopback) in [
            ("chat.example", true, false),
            ("Chat.Example:3000", true, false),
            ("chat.example.", true, false),
            ("192.0.2.1:80", true, false),
            ("[2001:db8::1]:80", true, false),
            ("localhost:3000", false, true),
            ("a.LOCALHOST", false, true),
            ("127.0.0.1:3000", false, true),
            ("127.8.9.10", false, true),
            ("[::1]:3000", false, true),
            ("[::ffff:127.0.0.1]", false, true),
            ("evil.example", false, false),
            ("chat.example.evil", false, false),
            ("localhost.evil", false, false),
            ("notlocalhost", false, false),
            ("127.0.0.1.evil", false, false),
            ("", false, false),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            assert_eq!([&rules[0], &rules[1]].map(|rule| rule.allow(&headers)), [listed, loopback], "{host}");
            assert!(Hosts::Any.allow(&headers));
        }
        assert!(rules.iter().all(|rule| rule.allow(&HeaderMap::new())));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for (value, valid) in [
            ("", true),
            ("localhost", true),
            ("chat.example:3000", true),
            ("chat.example:", true),
            ("127.0.0.1:1", true),
            ("[::1]", true),
            ("[::1]:3000", true),
            ("[v1.a:b]:1", true),
            ("a%20b", true),
            ("x_y,z", true),
            ("a b", false),
            ("a, b", false),
            ("a/b", false),
            ("user@a", false),
            ("a:x", false),
            ("a:+1", false),
            ("a:1:2", false),
            ("::1", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[::1%eth0]", false),
            ("[v.a]", false),
            ("[v1.]", false),
            ("a%2", false),
            ("a%zz", false),
            ("http://a", false),
            ("a?b", false),
            ("a#b", false),
            ("\u{e9}", false),
        ] {
            assert_eq!(is_valid(value.as_bytes()), valid, "{value}");
        }
        assert!(!is_valid(b"\xff"));
    }
}
