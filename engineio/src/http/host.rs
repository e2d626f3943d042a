//! The header `Host`: whether its value is a valid host.

use std::net::Ipv6Addr;

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
