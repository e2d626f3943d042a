//! [`Handshake`]: the request that opened a client's session, as its sockets keep it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, Uri, header};
use serde::{Serialize, ser::SerializeMap};

/// The request that opened a session. All sockets of a client share it.
///
/// It serialises like the `handshake` object of Node, but for `auth`, which belongs to the socket.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Handshake {
    /// The request's headers.
    pub headers: HeaderMap,
    /// Path and query.
    pub uri: Uri,
    /// The decoded query parameters; of a repeated one the last value.
    pub query: BTreeMap<String, String>,
    /// The peer of the TCP connection, which may be a proxy.
    pub remote: SocketAddr,
    /// The client's address: that of the peer, or the one that trusted proxies name. `None` if only trusted proxies are known.
    pub client: Option<IpAddr>,
    /// When it came.
    pub time: SystemTime,
}

impl Handshake {
    pub(crate) fn new(handshake: &engineio::Handshake<'_>, time: SystemTime) -> Self {
        let query = handshake.uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes());
        Self {
            headers: handshake.headers.clone(),
            uri: handshake.uri.clone(),
            query: query.map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
            remote: handshake.remote,
            client: handshake.client,
            time,
        }
    }

    /// Whether the request names an origin, as browsers do for pages of other origins.
    #[must_use]
    pub fn is_cross_domain(&self) -> bool {
        self.headers.contains_key(header::ORIGIN)
    }
}

/// Header names to values; several values of one name are joined as Node joins them.
struct Headers<'a>(&'a HeaderMap);

impl Serialize for Headers<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.keys_len()))?;
        for name in self.0.keys() {
            let separator = if name == header::COOKIE { "; " } else { ", " };
            let values: Vec<_> =
                self.0.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            map.serialize_entry(name.as_str(), &values.join(separator))?;
        }
        map.end()
    }
}

impl Serialize for Handshake {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let issued = self.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let address = self.client.unwrap_or_else(|| self.remote.ip());
        let mut map = serializer.serialize_map(Some(8))?;
        map.serialize_entry("headers", &Headers(&self.headers))?;
        map.serialize_entry("time", &httpdate::fmt_http_date(self.time))?;
        map.serialize_entry("address", &address)?;
        map.serialize_entry("xdomain", &self.is_cross_domain())?;
        map.serialize_entry("secure", &false)?;
        map.serialize_entry("issued", &u64::try_from(issued).unwrap_or(u64::MAX))?;
        map.serialize_entry("url", &self.uri.to_string())?;
        map.serialize_entry("query", &self.query)?;
        map.end()
    }
}
