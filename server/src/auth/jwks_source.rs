//! Where a JWKS comes from, and the reading of it: bounded in bytes and time, without redirects.

use std::{fmt, fs::File, io::Read as _, path::PathBuf, time::Duration};

use http::Uri;

use crate::{config::Url, http_client};

/// Bytes of the longest set.
const MAX_BYTES: u64 = 1024 * 1024;

/// How long a fetch may take, from the look-up of the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a set of keys is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum JwksSource {
    /// In a file.
    File(PathBuf),
    /// At an address, with `http` or `https`.
    Url(Uri),
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            // A query may hold a key of the issuer's interface.
            Self::Url(uri) => write!(f, "{}", Url::new(uri.to_string())),
        }
    }
}

impl fmt::Debug for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Host and port, without the user that may stand before them.
fn host(uri: &Uri) -> &str {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

impl JwksSource {
    /// Reads the value of `auth.jwks`.
    ///
    /// # Errors
    /// It looks like a URL and is none. Nothing of it is repeated.
    pub(crate) fn parse(url: &Url) -> Result<Self, String> {
        let text = url.expose();
        match text.split_once("://") {
            None if text.starts_with("http:") || text.starts_with("https:") => {
                Err("a URL begins with https://".to_owned())
            }
            None => Ok(Self::File(PathBuf::from(text))),
            Some(("http" | "https", _)) => {
                let uri: Uri = text.parse().map_err(|error| format!("not a valid URL: {error}"))?;
                if host(&uri).is_empty() { Err("a URL without a host".to_owned()) } else { Ok(Self::Url(uri)) }
            }
            Some(_) => Err("a file, an https:// or an http:// URL is expected, not one of another kind".to_owned()),
        }
    }

    /// Reads the set, whatever it holds.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::File(path) => {
                let mut bytes = Vec::new();
                let file = File::open(path).map_err(|error| error.to_string())?;
                file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
                if bytes.len() as u64 > MAX_BYTES { Err(too_long()) } else { Ok(bytes) }
            }
            Self::Url(uri) => fetch(uri),
        }
    }
}

fn too_long() -> String {
    format!("it has more than {MAX_BYTES} bytes")
}

fn fetch(uri: &Uri) -> Result<Vec<u8>, String> {
    // Made anew each time: a set is fetched seldom, and certificate authorities change.
    let agent = http_client::agent(TIMEOUT, uri.scheme_str() == Some("https"))?;
    let request = agent.get(uri).header(http::header::ACCEPT, "application/json, application/jwk-set+json");
    let response = request.call().map_err(|error| match error {
        // It repeats the URL.
        ureq::Error::BadUri(_) => "the URL cannot be used".to_owned(),
        error => error.to_string(),
    })?;
    let status = response.status();
    if status.is_redirection() {
        return Err(format!("the answer is {status}, a redirect, which is not followed; name its target"));
    }
    if status != http::StatusCode::OK {
        return Err(format!("the answer is {status}"));
    }
    response.into_body().into_with_config().limit(MAX_BYTES).read_to_vec().map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => too_long(),
        error => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_is() {
        for (text, shown) in [
            ("keys.json", Some("keys.json")),
            ("/etc/keys.json", Some("/etc/keys.json")),
            ("https://a.example/jwks", Some("https://a.example/jwks")),
            ("http://127.0.0.1:8080/jwks?key=hunter2", Some("http://127.0.0.1:8080/jwks?(hidden)")),
            ("https://user:hunter2@a.example/jwks", Some("https://(hidden)@a.example/jwks")),
            ("https:/user:hunter2@a.example/?x=http://", None),
            ("https:user:hunter2@a.example/", None),
            ("https://", None),
            ("https:///jwks", None),
            ("ftp://a.example/jwks", None),
        ] {
            let source = JwksSource::parse(&Url::new(text));
            assert!(!format!("{source:?}").contains("hunter2"), "{source:?}");
            assert_eq!(source.ok().map(|source| source.to_string()).as_deref(), shown, "{text}");
        }
    }
}
