//! [`Origins`]: which web pages may talk to the server.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::host;

pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

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
        /// The server's own origin: the one whose host is the request's `Host`, or of which the browser says
        /// `Sec-Fetch-Site: same-origin`. See also [`Hosts`](super::Hosts).
        own: bool,
        /// Any origin on a loopback host.
        loopback: bool,
    },
}

impl Origins {
    /// Whether a request with these headers is allowed. `Host` must be what the client sent:
    /// [`Config::judged_headers`](crate::Config::judged_headers).
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
            || (*own && (is_own(origin, headers.get(header::HOST)) || is_same_origin(headers)))
            || (*loopback && is_loopback(origin))
    }
}

/// The default port of an origin's scheme, and the part of the origin after `http://` or `https://`.
fn authority(origin: &str) -> Option<(&'static str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let port = match scheme {
        scheme if scheme.eq_ignore_ascii_case("http") => "80",
        scheme if scheme.eq_ignore_ascii_case("https") => "443",
        _ => return None,
    };
    (!authority.is_empty()).then_some((port, authority))
}

/// Whether the origin is the host that the request asks for. Usually a proxy has decided what `Host` says:
///
/// - nginx's `$host` is the name without its port. Such a host is compared by its name alone.
/// - A proxy that ends TLS may add its own port, 443, or the one it listens on behind another, 80. Both stand for a page
///   on a default port.
fn is_own(origin: &str, host: Option<&HeaderValue>) -> bool {
    let host = host.and_then(|host| host.to_str().ok());
    let Some(((default, authority), host)) = authority(origin).zip(host) else { return false };
    let ((name, port), (host, host_port)) = (host::split(authority), host::split(host));
    let port = port.filter(|port| *port != default);
    let same_port = match (port, host_port) {
        (_, None) => true,
        (None, Some(host_port)) => matches!(host_port, "80" | "443"),
        (Some(port), Some(host_port)) => port == host_port,
    };
    same_port && name.eq_ignore_ascii_case(host)
}

/// Whether the browser itself says that the page is of the server's own origin. A page cannot set this header, and it
/// holds also when a proxy has rewritten `Host`.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(SEC_FETCH_SITE).iter();
    values.next().is_some_and(|value| value == "same-origin") && values.next().is_none()
}

fn is_loopback(origin: &str) -> bool {
    let Some((_, authority)) = authority(origin) else { return false };
    host::is_valid(authority.as_bytes()) && host::is_loopback(host::split(authority).0)
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
            // Default ports are no difference.
            (&[("origin", "http://chat.test"), ("host", "chat.test:80")], true),
            (&[("origin", "http://chat.test:80"), ("host", "chat.test")], true),
            (&[("origin", "https://chat.test"), ("host", "chat.test:443")], true),
            (&[("origin", "https://chat.test"), ("host", "chat.test:80")], true),
            (&[("origin", "https://Chat.test:443"), ("host", "chat.Test:443")], true),
            (&[("origin", "http://chat.test:8080"), ("host", "chat.test:80")], false),
            (&[("origin", "http://chat.test:443"), ("host", "chat.test:80")], false),
            (&[("origin", "http://chat.test:8080"), ("host", "chat.test:3000")], false),
            // A host without a port is compared by its name.
            (&[("origin", "http://chat.test:8080"), ("host", "chat.test")], true),
            (&[("origin", "https://chat.test:8443"), ("host", "chat.test:")], true),
            (&[("origin", "http://[::1]:8080"), ("host", "[::1]")], true),
            (&[("origin", "http://chat.test:8080"), ("host", "test")], false),
            (&[("origin", "http://chat.test.evil:8080"), ("host", "chat.test")], false),
            (&[("origin", "http://chat.test@evil:8080"), ("host", "evil")], false),
            (&[("origin", "ftp://chat.test"), ("host", "chat.test")], false),
            // The browser's own word.
            (&[("origin", "https://chat.test"), ("host", "10.0.0.1:3000"), ("sec-fetch-site", "same-origin")], true),
            (&[("origin", "https://chat.test"), ("host", "10.0.0.1:3000"), ("sec-fetch-site", "same-site")], false),
            (&[("origin", "https://chat.test"), ("host", "10.0.0.1:3000"), ("sec-fetch-site", "cross-site")], false),
            (
                &[
                    ("origin", "https://chat.test"),
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-site", "same-origin"),
                ],
                false,
            ),
            (
                &[("origin", "https://chat.test"), ("origin", "https://chat.test"), ("sec-fetch-site", "same-origin")],
                false,
            ),
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
