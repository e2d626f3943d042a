//! [`Origins`]: which web pages may talk to the server.

use http::{HeaderMap, HeaderValue, header};

/// Which origins may talk to the server. Enforced on every request and upgrade, not only announced in CORS headers.
/// (Node accepts every origin.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Every origin.
    Any,
    /// Requests without `Origin`, and those that a rule below names.
    Listed {
        /// Exact origins, such as `https://chat.example.com`, compared without regard to case. `null` and `file://` too, which
        /// pages without a server of their own send.
        origins: Vec<String>,
        /// The server's own origin: the one whose host is the request's `Host`.
        own: bool,
        /// Any origin on a loopback host.
        loopback: bool,
    },
}

impl Origins {
    /// Whether a request with these headers is allowed.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Self::Listed { origins, own, loopback } = self else { return true };
        let mut values = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = values.next() else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        if values.next().is_some() {
            return false;
        }
        origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
            || (*own && is_own(origin, headers.get(header::HOST)))
            || (*loopback && is_loopback(origin))
    }
}

/// The part of an origin after `http://` or `https://`.
fn authority(origin: &str) -> Option<&str> {
    let (scheme, authority) = origin.split_once("://")?;
    let plain = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    (plain && !authority.is_empty()).then_some(authority)
}

fn is_own(origin: &str, host: Option<&HeaderValue>) -> bool {
    let host = host.and_then(|host| host.to_str().ok());
    authority(origin).zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

fn is_loopback(origin: &str) -> bool {
    let Some(Ok(authority)) = authority(origin).map(str::parse::<http::uri::Authority>) else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_without_a_server_are_welcome_where_they_are_listed() {
        let rule = |origins: &[&str]| Origins::Listed {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            own: true,
            loopback: true,
        };
        for origin in ["null", "file://", "capacitor://localhost", "app://."] {
            let map = HeaderMap::from_iter([
                (header::ORIGIN, HeaderValue::from_static(origin)),
                (header::HOST, HeaderValue::from_static("")),
            ]);
            assert!(rule(&[origin]).allow(&map), "{origin}");
            assert!(!rule(&["https://good.example"]).allow(&map), "{origin} is nobody's own origin");
        }
    }

    #[test]
    fn origins_are_compared_whole() {
        let rule = Origins::Listed { origins: vec!["https://good.example".into()], own: true, loopback: false };
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("origin", "https://good.example")], true),
            (&[("origin", "HTTPS://GOOD.example")], true),
            (&[("origin", "http://good.example")], false),
            (&[("origin", "https://good.example.evil")], false),
            (&[("origin", "https://good.example:8443")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", "http://chat.test:3000"), ("host", "chat.test:3000")], true),
            (&[("origin", "http://chat.test"), ("host", "chat.test:3000")], false),
            (&[("origin", "http://localhost:5173")], false),
            (&[("origin", "https://good.example"), ("origin", "https://evil.example")], false),
        ];
        for (pairs, expected) in cases {
            let mut map = HeaderMap::new();
            for (name, value) in *pairs {
                map.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(rule.allow(&map), *expected, "{pairs:?}");
        }
        let development = Origins::Listed { origins: vec![], own: false, loopback: true };
        for (origin, expected) in [
            ("http://localhost:5173", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:80", true),
            ("http://127.0.0.1.evil.example", false),
            ("http://localhost@evil.example", false),
            ("http://evil@localhost", false),
            ("file://localhost", false),
        ] {
            let map = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
            assert_eq!(development.allow(&map), expected, "{origin}");
        }
    }
}
