//! [`Cors`]: the headers that tell browsers whose pages may read the answers.
//!
//! The option `cors` of Node's server, which passes it to the npm package `cors`; this makes the same headers. They
//! only control reading. [`Origins`] controls who may talk to the server at all; an origin refused there gets no CORS
//! headers.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Origins;

/// Headers for browsers (CORS). `default()` is the default of the npm package: every origin, no credentials.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Cors {
    /// The origins that may read. Default [`CorsOrigins::Any`].
    pub origins: CorsOrigins,
    /// `Access-Control-Allow-Methods` of a preflight. Default `GET,HEAD,PUT,PATCH,POST,DELETE`.
    pub methods: HeaderValue,
    /// `Access-Control-Allow-Headers` of a preflight. Default `None`: what the request asks for.
    pub allowed_headers: Option<HeaderValue>,
    /// `Access-Control-Expose-Headers`. Default `None`.
    pub exposed_headers: Option<HeaderValue>,
    /// Whether to send `Access-Control-Allow-Credentials: true`. Browsers then require an exact origin, so it does not
    /// work with [`CorsOrigins::Any`]. Default false.
    pub credentials: bool,
    /// `Access-Control-Max-Age` of a preflight, in whole seconds. Default `None`.
    pub max_age: Option<Duration>,
    /// The status of a preflight's answer. Default 204.
    pub options_success_status: StatusCode,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            origins: CorsOrigins::Any,
            methods: HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"),
            allowed_headers: None,
            exposed_headers: None,
            credentials: false,
            max_age: None,
            options_success_status: StatusCode::NO_CONTENT,
        }
    }
}

impl Cors {
    /// The default with other origins.
    #[must_use]
    pub fn with_origins(origins: CorsOrigins) -> Self {
        Self { origins, ..Self::default() }
    }
}

/// Which origins may read the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Every one: `*`.
    Any,
    /// This one, whatever origin the request has.
    Fixed(HeaderValue),
    /// Those in the list, compared byte for byte: the request's origin is named if it is in the list.
    Listed(Vec<HeaderValue>),
    /// The request's origin, whatever it is.
    Reflect,
    /// The request's origin, if the test accepts it.
    Test(OriginTest),
}

/// A test for an origin: a regular expression or a function in Node. If the test panics, the origin does not pass.
#[derive(Clone)]
pub struct OriginTest(Arc<dyn Fn(&HeaderValue) -> bool + Send + Sync>);

impl OriginTest {
    /// Makes a test from a function.
    #[must_use]
    pub fn new(test: impl Fn(&HeaderValue) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(test))
    }

    /// Whether the origin passes. After a panic it does not: that costs the browser its answer, but not the shard.
    fn passes(&self, origin: &HeaderValue) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.0)(origin))).unwrap_or(false)
    }
}

impl fmt::Debug for OriginTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OriginTest")
    }
}

impl PartialEq for OriginTest {
    /// Whether both are clones of the same test.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OriginTest {}

impl Cors {
    /// Adds the headers that every answer has, including refusals and the 101.
    pub fn apply(&self, request: &HeaderMap, rule: &Origins, answer: &mut HeaderMap) {
        let asking = request.get(header::ORIGIN);
        let named = match &self.origins {
            CorsOrigins::Any => Some(HeaderValue::from_static("*")),
            CorsOrigins::Fixed(origin) => Some(origin.clone()),
            CorsOrigins::Listed(origins) => asking.filter(|asking| origins.contains(asking)).cloned(),
            CorsOrigins::Reflect => asking.cloned(),
            CorsOrigins::Test(test) => asking.filter(|asking| test.passes(asking)).cloned(),
        };
        let allowed = rule.allow(request);
        if let Some(origin) = named.filter(|_| allowed) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        if self.origins != CorsOrigins::Any {
            add_vary(answer, "Origin");
        }
        if self.credentials && allowed {
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(exposed) = &self.exposed_headers {
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }

    /// Adds the further headers of the answer to a preflight.
    pub(super) fn apply_preflight(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if self.allowed_headers.is_none() {
            add_vary(answer, "Access-Control-Request-Headers");
        }
        if let Some(allowed) = self.allowed_headers.as_ref().or(asked).filter(|allowed| !allowed.is_empty()) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
        }
        if let Some(max_age) = self.max_age {
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(max_age.as_secs()));
        }
    }
}

/// Adds a name to `Vary`, which stays one header line.
fn add_vary(answer: &mut HeaderMap, name: &'static str) {
    let value = match answer.get(header::VARY).and_then(|vary| vary.to_str().ok()) {
        Some(vary) if vary == "*" || vary.split(',').any(|item| item.trim().eq_ignore_ascii_case(name)) => {
            return;
        }
        Some(vary) => HeaderValue::try_from(format!("{vary}, {name}")).ok(),
        None => None,
    };
    answer.insert(header::VARY, value.unwrap_or_else(|| HeaderValue::from_static(name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "https://good.example";
    const EVIL: &str = "https://evil.example";

    fn request(origin: Option<&'static str>) -> HeaderMap {
        origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))).into_iter().collect()
    }

    fn applied(cors: &Cors, rule: &Origins, origin: Option<&'static str>) -> HeaderMap {
        let mut answer = HeaderMap::new();
        cors.apply(&request(origin), rule, &mut answer);
        answer
    }

    #[test]
    fn the_named_origin_follows_the_option() {
        let good = || HeaderValue::from_static(GOOD);
        let test = OriginTest::new(|origin| origin.as_bytes().starts_with(b"https://good."));
        let table: &[(CorsOrigins, Option<&'static str>, Option<&str>, bool)] = &[
            (CorsOrigins::Any, None, Some("*"), false),
            (CorsOrigins::Any, Some(EVIL), Some("*"), false),
            (CorsOrigins::Fixed(good()), None, Some(GOOD), true),
            (CorsOrigins::Fixed(good()), Some(EVIL), Some(GOOD), true),
            (CorsOrigins::Listed(vec![good()]), Some(GOOD), Some(GOOD), true),
            (CorsOrigins::Listed(vec![good()]), Some("https://GOOD.example"), None, true),
            (CorsOrigins::Listed(vec![good()]), Some(EVIL), None, true),
            (CorsOrigins::Listed(vec![good()]), None, None, true),
            (CorsOrigins::Reflect, Some(EVIL), Some(EVIL), true),
            (CorsOrigins::Reflect, None, None, true),
            (CorsOrigins::Test(test.clone()), Some(GOOD), Some(GOOD), true),
            (CorsOrigins::Test(test), Some(EVIL), None, true),
        ];
        for (origins, origin, named, varies) in table {
            let answer = applied(&Cors::with_origins(origins.clone()), &Origins::Any, *origin);
            let text = |name| answer.get(name).map(|value: &HeaderValue| value.to_str().unwrap());
            assert_eq!(text(header::ACCESS_CONTROL_ALLOW_ORIGIN), *named, "{origins:?} {origin:?}");
            assert_eq!(text(header::VARY), varies.then_some("Origin"), "{origins:?} {origin:?}");
            assert_eq!(answer.len(), usize::from(named.is_some()) + usize::from(*varies));
        }
    }

    #[test]
    fn an_origin_that_is_refused_is_told_nothing() {
        let rule = Origins::Listed { origins: vec![GOOD.into()], own: false, loopback: false };
        for origins in [CorsOrigins::Any, CorsOrigins::Reflect, CorsOrigins::Fixed(HeaderValue::from_static(GOOD))] {
            let cors = Cors::with_origins(origins);
            let cors = Cors { credentials: true, ..cors };
            for name in [header::ACCESS_CONTROL_ALLOW_ORIGIN, header::ACCESS_CONTROL_ALLOW_CREDENTIALS] {
                let told = |origin| applied(&cors, &rule, Some(origin)).contains_key(&name);
                assert!(told(GOOD) && !told(EVIL), "{name} {cors:?}");
            }
        }
    }

    #[test]
    fn credentials_and_exposed_headers_are_on_every_answer_to_an_allowed_origin() {
        let cors =
            Cors { credentials: true, exposed_headers: Some(HeaderValue::from_static("X-A,X-B")), ..Cors::default() };
        let answer = applied(&cors, &Origins::Any, None);
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(answer[header::ACCESS_CONTROL_EXPOSE_HEADERS], "X-A,X-B");
    }

    #[test]
    fn a_preflight_repeats_what_was_asked_unless_a_list_is_set() {
        let mut asking = request(None);
        asking.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("x-a, x-b"));
        let (cors, mut answer) = (Cors::with_origins(CorsOrigins::Reflect), HeaderMap::new());
        cors.apply(&asking, &Origins::Any, &mut answer);
        cors.apply_preflight(&asking, &mut answer);
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_METHODS], "GET,HEAD,PUT,PATCH,POST,DELETE");
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_HEADERS], "x-a, x-b");
        assert_eq!(answer[header::VARY], "Origin, Access-Control-Request-Headers");
        assert!(!answer.contains_key(header::ACCESS_CONTROL_MAX_AGE));

        let cors = Cors {
            allowed_headers: Some(HeaderValue::from_static("x-c")),
            methods: HeaderValue::from_static("GET,POST"),
            max_age: Some(Duration::from_secs(600)),
            ..Cors::default()
        };
        let mut answer = HeaderMap::new();
        cors.apply_preflight(&asking, &mut answer);
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_HEADERS], "x-c");
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_METHODS], "GET,POST");
        assert_eq!(answer[header::ACCESS_CONTROL_MAX_AGE], "600");
        assert!(!answer.contains_key(header::VARY));
    }
}
