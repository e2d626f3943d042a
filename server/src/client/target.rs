//! [`Target`]: the URL of a server, as an operator types it.

use http::Uri;

/// Where a server is, seen from here: perhaps a proxy in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Whether to use TLS.
    pub(crate) tls: bool,
    /// Name or address, without brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// What the requests name in `Host`: the host, and the port unless it is the scheme's own.
    pub(crate) authority: String,
    /// What a proxy puts before the server's own paths: empty, or `/chat`.
    prefix: String,
}

impl Target {
    /// Reads a URL with `http`, `https`, `ws` or `wss`.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const WANTED: &str = "expected a URL such as https://chat.example.com or http://127.0.0.1:3000";
        let uri: Uri = text.parse().map_err(|error| format!("{WANTED} ({error})"))?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(WANTED.to_owned()),
        };
        let authority = uri.authority().ok_or(WANTED)?;
        if authority.as_str().contains('@') {
            return Err("a user and a password are of no use here".to_owned());
        }
        if uri.query().is_some() {
            return Err("expected a URL without a query".to_owned());
        }
        let host = authority.host();
        let own_port = if tls { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(own_port);
        let shown = if port == own_port { host.to_owned() } else { format!("{host}:{port}") };
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix("/socket.io").unwrap_or(path).to_owned();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { tls, host, port, authority: shown, prefix })
    }

    /// The request's target of one of the server's own paths.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Whether only this machine reaches it.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}/", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers_and_of_proxies() {
        for (text, tls, host, port, authority, path) in [
            ("http://127.0.0.1:3000", false, "127.0.0.1", 3000, "127.0.0.1:3000", "/readyz"),
            ("https://chat.example.com", true, "chat.example.com", 443, "chat.example.com", "/readyz"),
            ("wss://chat.example.com:443/", true, "chat.example.com", 443, "chat.example.com", "/readyz"),
            ("ws://a:8080/chat/", false, "a", 8080, "a:8080", "/chat/readyz"),
            ("http://a/chat/socket.io/", false, "a", 80, "a", "/chat/readyz"),
            ("https://[::1]:3000/socket.io", true, "::1", 3000, "[::1]:3000", "/readyz"),
        ] {
            let target = Target::parse(text).unwrap();
            let found =
                (target.tls, target.host.as_str(), target.port, target.authority.as_str(), target.path("/readyz"));
            assert_eq!(found, (tls, host, port, authority, path.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_server() {
        for text in ["", "chat.example.com", "ftp://a", "http://", "http://a:b@c", "http://a/?b=c", "http://a b", "/x"]
        {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
