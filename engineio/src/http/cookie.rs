//! [`Cookie`]: the cookie that a polling handshake may set, for load balancers that keep a session on one server.

use std::time::{Duration, SystemTime};

use http::HeaderValue;

/// The option `cookie` of Node's server. It is sent only in the answer to a polling handshake, not with a 101, because
/// only polling sends later requests. `default()` gives `io=<sid>; Path=/; HttpOnly; SameSite=Lax`.
///
/// The sid in it is a secret: `http_only` hides it from scripts, `secure` keeps it off unencrypted connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cookie {
    /// The cookie's name. Default `io`.
    pub name: String,
    /// `Path`. Default `/`.
    pub path: Option<String>,
    /// `Domain`. Default `None`: only the host itself.
    pub domain: Option<String>,
    /// `Max-Age`, in whole seconds. Default `None`: until the browser is closed.
    pub max_age: Option<Duration>,
    /// `Expires`. Default `None`.
    pub expires: Option<SystemTime>,
    /// `HttpOnly`. Default true.
    pub http_only: bool,
    /// `Secure`. Default false.
    pub secure: bool,
    /// `Partitioned`. Default false.
    pub partitioned: bool,
    /// `Priority`. Default `None`.
    pub priority: Option<Priority>,
    /// `SameSite`. Default [`SameSite::Lax`].
    pub same_site: Option<SameSite>,
}

/// For which requests from other sites a browser sends the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// For none.
    Strict,
    /// When the user follows a link.
    Lax,
    /// For all; browsers require `secure` with it.
    None,
}

/// Which cookies a browser drops first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// First.
    Low,
    /// Then.
    Medium,
    /// Last.
    High,
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "io".to_owned(),
            path: Some("/".to_owned()),
            domain: None,
            max_age: None,
            expires: None,
            http_only: true,
            secure: false,
            partitioned: false,
            priority: None,
            same_site: Some(SameSite::Lax),
        }
    }
}

/// A cookie whose name, path or domain is invalid in a header: a mistake in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name, path or domain of the cookie is not valid in a header")]
pub struct InvalidCookie;

impl Cookie {
    /// The value of `Set-Cookie`, with the attributes in Node's order.
    ///
    /// # Errors
    /// When name, path or domain is invalid in a header. [`crate::Config::validate`] checks this once.
    pub fn set_cookie(&self, sid: &str) -> Result<HeaderValue, InvalidCookie> {
        let token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
        // RFC 6265, 4.1.1: path-value and domain-value contain no control characters and no `;`.
        let plain = |value: &Option<String>| {
            value.iter().all(|value| value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b';'))
        };
        if self.name.is_empty() || !self.name.bytes().all(token) || !plain(&self.path) || !plain(&self.domain) {
            return Err(InvalidCookie);
        }
        let mut text = format!("{}=", self.name);
        push_component(sid, &mut text);
        let mut attribute = |name: &str, value: Option<&str>| {
            text.push_str("; ");
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        };
        if let Some(max_age) = self.max_age {
            attribute("Max-Age", Some(&max_age.as_secs().to_string()));
        }
        if let Some(domain) = &self.domain {
            attribute("Domain", Some(domain));
        }
        if let Some(path) = &self.path {
            attribute("Path", Some(path));
        }
        if let Some(expires) = self.expires {
            attribute("Expires", Some(&httpdate::fmt_http_date(expires)));
        }
        for (set, name) in [(self.http_only, "HttpOnly"), (self.secure, "Secure"), (self.partitioned, "Partitioned")] {
            if set {
                attribute(name, None);
            }
        }
        if let Some(priority) = self.priority {
            attribute(
                "Priority",
                Some(match priority {
                    Priority::Low => "Low",
                    Priority::Medium => "Medium",
                    Priority::High => "High",
                }),
            );
        }
        if let Some(same_site) = self.same_site {
            attribute(
                "SameSite",
                Some(match same_site {
                    SameSite::Strict => "Strict",
                    SameSite::Lax => "Lax",
                    SameSite::None => "None",
                }),
            );
        }
        HeaderValue::try_from(text).map_err(|_| InvalidCookie)
    }
}

/// Like JavaScript's `encodeURIComponent`.
fn push_component(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_in_the_reference_s_order() {
        let default = Cookie::default();
        assert_eq!(default.set_cookie("a-B_1").unwrap(), "io=a-B_1; Path=/; HttpOnly; SameSite=Lax");
        let full = Cookie {
            name: "session".into(),
            path: Some("/chat".into()),
            domain: Some("example.com".into()),
            max_age: Some(Duration::from_millis(86_400_900)),
            expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)),
            secure: true,
            partitioned: true,
            priority: Some(Priority::High),
            same_site: Some(SameSite::None),
            ..Cookie::default()
        };
        assert_eq!(
            full.set_cookie("é ;").unwrap(),
            "session=%C3%A9%20%3B; Max-Age=86400; Domain=example.com; Path=/chat; \
             Expires=Sun, 06 Nov 1994 08:49:37 GMT; HttpOnly; Secure; Partitioned; Priority=High; SameSite=None"
        );
        let bare = Cookie { path: None, http_only: false, same_site: None, ..Cookie::default() };
        assert_eq!(bare.set_cookie("x").unwrap(), "io=x");
    }

    #[test]
    fn a_cookie_that_would_break_the_header_is_refused() {
        for cookie in [
            Cookie { name: String::new(), ..Cookie::default() },
            Cookie { name: "a b".into(), ..Cookie::default() },
            Cookie { name: "a=b".into(), ..Cookie::default() },
            Cookie { name: "é".into(), ..Cookie::default() },
            Cookie { path: Some("/; Secure".into()), ..Cookie::default() },
            Cookie { domain: Some("a\r\nSet-Cookie: x".into()), ..Cookie::default() },
        ] {
            assert_eq!(cookie.set_cookie("x"), Err(InvalidCookie), "{cookie:?}");
        }
    }
}
