//! `POST /dev/token?name=NAME`: a token for whoever gives a name. Only in development mode, whose page so needs no pasting of tokens.
//!
//! It is for programs and pages of this machine: the connection comes from loopback, through no proxy, for a loopback name, and not
//! from a page of another origin. A page can send [`MARK`] to another origin only after a preflight, which nobody answers here.

use std::time::Duration;

use bytes::Bytes;
use engineio::{
    http::{Hosts, Origins},
    net::OtherRequest,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::response::with_type;
use crate::{
    auth::{SignError, TokenRequest, sign},
    clock::wall_clock,
    config::{Auth, Config},
};

/// The path of the request.
pub(super) const PATH: &str = "/dev/token";

/// The header that a request must have, whatever its value.
const MARK: &str = "x-chat-development";

/// How long a token lasts: a day of work.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Headers by which proxies say that the client is somebody else.
const FORWARDED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Signs people in by their names alone.
#[derive(Debug, Clone)]
pub(crate) struct SignIn {
    auth: Auth,
}

impl SignIn {
    /// Of a server with this configuration; `None` outside development mode.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        config.development.then(|| Self { auth: config.auth.clone() })
    }

    /// The answer: a token as JSON, or why there is none.
    pub(super) fn answer(&self, request: &OtherRequest<'_>) -> Response<Bytes> {
        let (headers, uri) = (&request.parts.headers, &request.parts.uri);
        let mut response = if !request.remote.ip().to_canonical().is_loopback() || !is_own(headers) {
            refusal(
                StatusCode::FORBIDDEN,
                "forbidden",
                "tokens are given to this machine, and to the server's own page, only",
            )
        } else {
            let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
            let name = query.into_iter().find_map(|(key, value)| (key == "name").then_some(value));
            match self.token(name.unwrap_or_default().trim(), wall_clock()) {
                Ok(token) => json(StatusCode::OK, &serde_json::json!({ "token": token })),
                Err(error) => refusal(StatusCode::BAD_REQUEST, "invalid_name", &error.to_string()),
            }
        };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// `Alice` and `alice` are one user, to whom also the token of `alice` belongs that is printed at the start.
    fn token(&self, name: &str, now: Duration) -> Result<String, SignError> {
        let request = TokenRequest { sub: &name.to_lowercase(), name: Some(name), rooms: None, lifetime: LIFETIME };
        sign(&self.auth, &request, now)
    }
}

/// Whether a request with these headers was made on this machine, and not by a page of another origin.
fn is_own(headers: &HeaderMap) -> bool {
    let hosts = Hosts::Listed { hosts: Vec::new(), loopback: true };
    let origins = Origins::Listed { origins: Vec::new(), own: true, loopback: false };
    headers.contains_key(MARK)
        && hosts.allow(headers)
        && origins.allow(headers)
        && !FORWARDED.iter().any(|name| headers.contains_key(*name))
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    json(status, &serde_json::json!({ "error": { "code": code, "message": message } }))
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Bytes> {
    with_type(status, "application/json", value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::Verifier, config::Secret};

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_this_machine_and_the_page_itself_get_tokens() {
        let host = ("host", "localhost:3000");
        for (given, own) in [
            (vec![host, (MARK, "1")], true),
            (vec![host, (MARK, "1"), ("origin", "http://localhost:3000")], true),
            // A page of another origin, who may even be on this machine; a form or an image of any page.
            (vec![host, (MARK, "1"), ("origin", "http://localhost:8080")], false),
            (vec![host, (MARK, "1"), ("origin", "null")], false),
            (vec![host, (MARK, "1"), ("origin", "https://evil.example")], false),
            (vec![host], false),
            // A name that somebody let point at this machine, and a tunnel or proxy that passes foreign requests on.
            (vec![("host", "evil.example:3000"), (MARK, "1"), ("origin", "http://evil.example:3000")], false),
            (vec![host, (MARK, "1"), ("x-forwarded-for", "192.0.2.1")], false),
            (vec![host, (MARK, "1"), ("forwarded", "for=_hidden")], false),
        ] {
            assert_eq!(is_own(&headers(&given)), own, "{given:?}");
        }
    }

    #[test]
    fn a_name_gets_the_token_of_the_user_of_that_name() {
        let auth = Auth { jwt_secret: Some(Secret::new("s")), ..Auth::default() };
        let config = Config { auth: auth.clone(), ..Config::default() };
        let sign_in = SignIn::new(&config).unwrap();
        let now = Duration::from_secs(1_800_000_000);
        let claims = Verifier::new(&auth).verify(&sign_in.token("Zoë B", now).unwrap(), now).unwrap();
        assert_eq!((claims.sub.as_str(), claims.name.as_str()), ("zoë b", "Zoë B"));
        for name in ["", "a\nb", &"x".repeat(129)] {
            assert!(sign_in.token(name, now).is_err(), "{name:?}");
        }
        assert!(SignIn::new(&Config { development: false, ..config }).is_none());
    }
}
