//! The header `Sec-WebSocket-Extensions`: negotiates a client's offers.
//!
//! Only permessage-deflate is known. An offer that cannot be met is declined, and the next one is tried. A header with
//! invalid syntax offers nothing. Neither fails the handshake. RFC 6455 section 9.1, RFC 7692 section 7.1.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};

use super::deflate::{Deflate, MAX_WINDOW_BITS, MIN_WINDOW_BITS, PerMessageDeflate};

/// The name of the extension.
const PERMESSAGE_DEFLATE: &[u8] = b"permessage-deflate";

/// The result of a negotiation: the parameters, and the header of the answer that names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// How this side compresses.
    pub deflate: Deflate,
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub header: HeaderValue,
}

/// Chooses the first of the client's offers that can be met. `None` means that the connection has no extension.
#[must_use]
pub fn negotiate(headers: &HeaderMap, config: &PerMessageDeflate) -> Option<Agreed> {
    // 9.1: the header may occur more than once, and then counts as one list. One invalid part invalidates the list.
    let mut offers = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        offers.extend(parse(value.as_bytes())?);
    }
    offers
        .iter()
        .filter(|offer| offer.name.eq_ignore_ascii_case(PERMESSAGE_DEFLATE))
        .find_map(|offer| accept(offer, config))
}

/// Checks one offer as RFC 7692 section 7.1 requires, and makes the answer to it.
fn accept(offer: &Offer<'_>, config: &PerMessageDeflate) -> Option<Agreed> {
    let (mut seen, mut offered_bits) = ([false; 4], None);
    for Param { name, value } in &offer.params {
        let (index, legal) = match (*name, value.as_deref()) {
            (b"server_no_context_takeover", None) => (0, true),
            (b"client_no_context_takeover", None) => (1, true),
            // 7.1.2.1: always with a value.
            (b"server_max_window_bits", Some(value)) => {
                offered_bits = window_bits(value);
                (2, offered_bits.is_some())
            }
            // 7.1.2.2: a hint, with or without a value. We never limit a client's window, since our inflater has the
            // largest.
            (b"client_max_window_bits", value) => (3, value.is_none_or(|value| window_bits(value).is_some())),
            _ => return None,
        };
        // 7.1: an offer with an unknown parameter, an invalid value or the same name twice is declined.
        if !legal || std::mem::replace(seen.get_mut(index)?, true) {
            return None;
        }
    }
    let own_bits = config.server_max_window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
    let window_bits = offered_bits.map_or(own_bits, |bits| bits.min(own_bits));
    // A window of 256 bytes is legal, but the compressor does not support it: declined.
    if window_bits < MIN_WINDOW_BITS {
        return None;
    }
    // 7.1.1: neither side keeps a window from message to message, so that no connection owns one, and a message to many
    // is compressed once.
    let mut answer = String::from("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    if offered_bits.is_some() || window_bits < MAX_WINDOW_BITS {
        answer.push_str(&format!("; server_max_window_bits={window_bits}"));
    }
    let deflate = Deflate { window_bits, threshold: config.threshold, level: config.level };
    Some(Agreed { deflate, header: HeaderValue::try_from(answer).ok()? })
}

/// 7.1.2: "a decimal integer value without leading zeroes between 8 to 15".
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// One extension with its parameters.
#[derive(Debug, PartialEq, Eq)]
struct Offer<'a> {
    name: &'a [u8],
    params: Vec<Param<'a>>,
}

/// A parameter: a name, alone or with a value.
#[derive(Debug, PartialEq, Eq)]
struct Param<'a> {
    name: &'a [u8],
    value: Option<Cow<'a, [u8]>>,
}

/// The offers of one header value; `None` if its syntax is invalid. A quoted value must be a token once unquoted, so it
/// cannot contain a comma or a semicolon.
fn parse(value: &[u8]) -> Option<Vec<Offer<'_>>> {
    value
        .split(|byte| *byte == b',')
        .map(|offer| {
            let mut parts = offer.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().filter(|name| is_token(name))?;
            let params = parts.map(param).collect::<Option<_>>()?;
            Some(Offer { name, params })
        })
        .collect()
}

fn param(part: &[u8]) -> Option<Param<'_>> {
    let equals = part.iter().position(|byte| *byte == b'=');
    let Some((name, value)) = equals.and_then(|at| part.split_at_checked(at)) else {
        return is_token(part).then_some(Param { name: part, value: None });
    };
    let value = match value.get(1..)? {
        [b'"', quoted @ .., b'"'] => Cow::Owned(unescape(quoted)?),
        plain => Cow::Borrowed(plain),
    };
    (is_token(name) && is_token(&value)).then_some(Param { name, value: Some(value) })
}

/// RFC 9110 section 5.6.4: a backslash escapes the next byte.
fn unescape(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = quoted.iter().copied();
    let mut out = Vec::with_capacity(quoted.len());
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'\\' { bytes.next()? } else { byte });
    }
    Some(out)
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(item: &[u8]) -> bool {
    !item.is_empty() && item.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn answer(values: &[&str], config: &PerMessageDeflate) -> Option<(String, u8)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(value).unwrap());
        }
        let agreed = negotiate(&headers, config)?;
        Some((agreed.header.to_str().unwrap().to_owned(), agreed.deflate.window_bits))
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "the rows of a table")]
    fn the_first_offer_that_can_be_met_is_taken() {
        let with_bits = |bits| format!("{BOTH}; server_max_window_bits={bits}");
        let table: &[(&[&str], Option<(String, u8)>)] = &[
            (&[], None),
            (&["permessage-deflate"], Some((BOTH.into(), 15))),
            (&["Permessage-Deflate"], Some((BOTH.into(), 15))),
            (&["permessage-deflate; client_max_window_bits"], Some((BOTH.into(), 15))),
            (&["permessage-deflate; client_max_window_bits=9"], Some((BOTH.into(), 15))),
            (&["permessage-deflate;server_no_context_takeover;client_no_context_takeover"], Some((BOTH.into(), 15))),
            (&["permessage-deflate ; server_max_window_bits=10"], Some((with_bits(10), 10))),
            (&["permessage-deflate; server_max_window_bits=\"12\""], Some((with_bits(12), 12))),
            (&["permessage-deflate; server_max_window_bits=\"1\\2\""], Some((with_bits(12), 12))),
            (&["permessage-deflate; server_max_window_bits=15"], Some((with_bits(15), 15))),
            (&["x-webkit-deflate-frame, permessage-deflate"], Some((BOTH.into(), 15))),
            (&["foo; bar=1", "permessage-deflate"], Some((BOTH.into(), 15))),
            // After a declined offer the next one is tried.
            (
                &["permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9"],
                Some((with_bits(9), 9)),
            ),
            (&["permessage-deflate; new_parameter, permessage-deflate"], Some((BOTH.into(), 15))),
            // Declined.
            (&["permessage-deflate; server_max_window_bits=8"], None),
            (&["permessage-deflate; server_max_window_bits=7"], None),
            (&["permessage-deflate; server_max_window_bits=16"], None),
            (&["permessage-deflate; server_max_window_bits=09"], None),
            (&["permessage-deflate; server_max_window_bits=+9"], None),
            (&["permessage-deflate; server_max_window_bits=x"], None),
            (&["permessage-deflate; server_max_window_bits"], None),
            (&["permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"], None),
            (&["permessage-deflate; client_max_window_bits=16"], None),
            (&["permessage-deflate; client_max_window_bits; client_max_window_bits=10"], None),
            (&["permessage-deflate; server_no_context_takeover=true"], None),
            (&["permessage-deflate; client_no_context_takeover; client_no_context_takeover"], None),
            (&["permessage-deflate; unknown"], None),
            (&["permessage-deflate2"], None),
            // Invalid syntax: nothing is offered.
            (&["permessage-deflate, "], None),
            (&[",permessage-deflate"], None),
            (&["permessage-deflate;"], None),
            (&["permessage-deflate; a b"], None),
            (&["permessage-deflate; server_max_window_bits=\"10"], None),
            (&["permessage-deflate; server_max_window_bits=\"\""], None),
            (&["permessage-deflate; server_max_window_bits=\"1,0\""], None),
            (&["permessage-deflate; server_max_window_bits=\"10\\"], None),
            (&["permessage-deflate; server_max_window_bits="], None),
            (&["permessage-deflate; =10"], None),
            (&["permessage-deflate", "b\u{e9}"], None),
            (&["constructor", "__proto__; __proto__"], None),
        ];
        for (values, expected) in table {
            assert_eq!(answer(values, &PerMessageDeflate::default()), *expected, "{values:?}");
        }
    }

    #[test]
    fn the_server_s_own_limit_is_named_in_the_answer() {
        let config = PerMessageDeflate { server_max_window_bits: 11, ..PerMessageDeflate::default() };
        let expected = |bits| Some((format!("{BOTH}; server_max_window_bits={bits}"), bits));
        assert_eq!(answer(&["permessage-deflate"], &config), expected(11));
        assert_eq!(answer(&["permessage-deflate; server_max_window_bits=13"], &config), expected(11));
        assert_eq!(answer(&["permessage-deflate; server_max_window_bits=9"], &config), expected(9));
    }

    proptest! {
        #[test]
        fn no_header_panics(value in "[a-z_=;,\" \\\\0-9]{0,60}") {
            let value = format!("permessage-deflate;{value}");
            let _ = answer(&[&value], &PerMessageDeflate::default());
        }
    }
}
