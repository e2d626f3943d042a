//! [`Query`]: the parameters of a request that the protocol defines.

use std::borrow::Cow;

use http::Uri;

#[cfg(feature = "net")]
use crate::Sid;
use crate::{Config, Protocol, error::HandshakeError};

/// The parameters of one request, decoded. If a key is repeated, the last one counts, as in Node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `transport`.
    pub transport: Option<Cow<'a, str>>,
    /// `sid`; an empty one counts as missing, as in Node.
    pub sid: Option<Cow<'a, str>>,
    /// `EIO`.
    pub version: Option<Cow<'a, str>>,
    /// The digits in `j`: the number of the function that a JSONP answer calls. Only v3 has JSONP.
    pub jsonp: Option<String>,
    /// Whether `b64` is there and not empty: the client accepts no binary.
    pub base64: bool,
}

impl<'a> Query<'a> {
    /// Decodes the query of a request.
    #[must_use]
    pub fn parse(uri: &'a Uri) -> Self {
        Self::of(uri.query().unwrap_or_default())
    }

    /// Decodes the part of a target after the `?`.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        // Queries of official clients need no decoding. Decoding them all the same took an eighth of the
        // instructions of a poll.
        Self::plain(text).unwrap_or_else(|| {
            let mut query = Self::default();
            form_urlencoded::parse(text.as_bytes()).for_each(|(key, value)| query.take(&key, value));
            query
        })
    }

    /// Reads a query that needs no decoding; `None` for any other.
    fn plain(text: &'a str) -> Option<Self> {
        let mut query = Self::default();
        let (mut start, mut equals) = (0, None);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                // All characters with a special meaning come before the letters.
                b'>'.. => {}
                b'%' | b'+' => return None,
                b'=' if equals.is_none() => equals = Some(at),
                b'&' => {
                    query.take_pair(text.get(start..at)?, equals.map(|equals| equals - start));
                    (start, equals) = (at + 1, None);
                }
                _ => {}
            }
        }
        query.take_pair(text.get(start..)?, equals.map(|equals| equals - start));
        Some(query)
    }

    /// Adds `key=value`, or a key alone.
    fn take_pair(&mut self, pair: &'a str, equals: Option<usize>) {
        let (key, value) = equals.and_then(|equals| pair.split_at_checked(equals)).unwrap_or((pair, ""));
        self.take(key, value.get(1..).unwrap_or_default().into());
    }

    fn take(&mut self, key: &str, value: Cow<'a, str>) {
        match key {
            "transport" => self.transport = Some(value),
            "sid" => self.sid = Some(value).filter(|sid| !sid.is_empty()),
            "EIO" => self.version = Some(value),
            "j" => self.jsonp = Some(value.chars().filter(char::is_ascii_digit).collect()),
            "b64" => self.base64 = !value.is_empty(),
            _ => {}
        }
    }

    /// The sid, if a server may have issued it.
    #[cfg(feature = "net")]
    pub(crate) fn named_sid(&self) -> Option<Sid> {
        self.sid.as_deref().and_then(Sid::parse_chosen)
    }

    /// The protocol revision of the request, allowed or not.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        Protocol::from_query(self.version.as_deref())
    }

    /// Whether it says `EIO=3`. Clients of Engine.IO v3 always do.
    #[cfg(feature = "net")]
    pub(crate) fn names_v3(&self) -> bool {
        self.version.as_deref() == Some("3")
    }

    /// The last check of a handshake: its protocol revision must be allowed.
    ///
    /// # Errors
    /// [`HandshakeError::UnsupportedProtocolVersion`].
    pub fn check_protocol(&self, config: &Config) -> Result<Protocol, HandshakeError> {
        match self.protocol() {
            Protocol::V3 if !config.allow_eio3 => Err(HandshakeError::UnsupportedProtocolVersion),
            protocol => Ok(protocol),
        }
    }

    /// The number for a JSONP answer, if this is a JSONP request of a session that speaks `protocol`. v4 has no JSONP
    /// and ignores `j`.
    #[must_use]
    pub fn jsonp_for(&self, protocol: Protocol) -> Option<&str> {
        self.jsonp.as_deref().filter(|_| protocol == Protocol::V3)
    }

    /// Whether the answer to a poll may be binary (v3 only): the client does not exclude it, and the answer is not a
    /// script, which cannot hold bytes.
    #[must_use]
    pub fn takes_binary(&self) -> bool {
        !self.base64 && self.jsonp.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Query<'static> {
        let uri = Box::leak(Box::new(format!("/engine.io/?{query}").parse().unwrap()));
        Query::parse(uri)
    }

    #[test]
    fn the_last_of_a_repeated_key_counts_and_everything_is_decoded() {
        let query = parse("transport=websocket&transport=poll%69ng&sid=a&sid=&EIO=3&EIO=4&__proto__=x");
        assert_eq!(
            query,
            Query {
                transport: Some("polling".into()),
                sid: None,
                version: Some("4".into()),
                jsonp: None,
                base64: false
            }
        );
        assert_eq!(parse("sid=%2B%20+").sid.as_deref(), Some("+  "));
    }

    #[test]
    fn a_query_without_escapes_reads_like_one_with_escapes() {
        for query in [
            "",
            "&",
            "=",
            "sid",
            "sid=",
            "sid=a=b&&EIO=4&",
            "EIO=3&EIO=4&transport=polling&t=x",
            "b64&j=1",
            "sid=é",
            "=sid&sid==",
            "sid=a?b#",
        ] {
            let (plain, decoded) = (parse(query), parse(&format!("{query}&t=%20")));
            assert_eq!(plain, decoded, "{query}");
        }
    }

    #[test]
    fn v3_is_refused_unless_allowed() {
        let mut config = Config::default();
        for (query, expected) in [
            ("EIO=4", Ok(Protocol::V4)),
            ("EIO=3", Err(HandshakeError::UnsupportedProtocolVersion)),
            ("EIO=", Err(HandshakeError::UnsupportedProtocolVersion)),
            ("", Err(HandshakeError::UnsupportedProtocolVersion)),
            ("EIO=3&EIO=4", Ok(Protocol::V4)),
        ] {
            assert_eq!(parse(query).check_protocol(&config), expected, "{query}");
        }
        config.allow_eio3 = true;
        for (query, expected) in
            [("EIO=4", Protocol::V4), ("EIO=3", Protocol::V3), ("", Protocol::V3), ("EIO=5", Protocol::V3)]
        {
            assert_eq!(parse(query).check_protocol(&config), Ok(expected), "{query}");
        }
    }

    #[test]
    fn jsonp_is_v3_only_and_keeps_digits_only() {
        let query = parse("j=1%29%3Balert(2)");
        assert_eq!(query.jsonp_for(Protocol::V3), Some("12"));
        assert_eq!(query.jsonp_for(Protocol::V4), None);
        assert_eq!(parse("j=").jsonp_for(Protocol::V3), Some(""));
        assert_eq!(parse("").jsonp_for(Protocol::V3), None);
    }

    #[test]
    fn binary_is_accepted_unless_the_client_excludes_it() {
        for (query, expected) in [("", true), ("b64=1", false), ("b64=0", false), ("b64=", true), ("j=0", false)] {
            assert_eq!(parse(query).takes_binary(), expected, "{query}");
        }
    }
}
