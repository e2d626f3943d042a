//! From the payload of a signed token to [`Claims`]. A claim that is `null` is absent, as Node's `jsonwebtoken` has it: many
//! serialisers write what they do not have that way. A claim of any other wrong type is refused and never taken for absent:
//! `"exp": "never"` would otherwise be a token that never expires. Specification: docs/chat-protocol.md, "Connect"; RFC 7519
//! section 4.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{error::AuthError, members};
use crate::{
    invisible::is_invisible,
    number::{self, MAX_EXACT},
};

/// Bytes of the longest user id and of the longest room id.
const MAX_ID: usize = 128;
/// Characters of the longest display name; the rest is cut off.
const MAX_NAME: usize = 128;
/// The latest date, in seconds since the Unix epoch: the largest number that every JSON reader takes for the same one (RFC
/// 8259 section 6). Whatever is later counts as it.
pub(super) const MAX_DATE: u64 = 1 << 53;

/// What a token says about its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The user's id: 1 to 128 bytes without control characters. One that was sent as a whole number is its digits.
    pub(crate) sub: String,
    /// Display name: `name`, else `username`, else `sub`; at most 128 characters, none of them a control character.
    pub(crate) name: String,
    /// When the token expires, as the time since the Unix epoch, without the leeway.
    pub(crate) exp: Option<Duration>,
    /// When the token was issued, as the time since the Unix epoch, if it says so: tells which of two tokens is newer.
    pub(crate) iat: Option<Duration>,
    /// The rooms the user may enter; `None`: the configuration's `rooms.default_access` decides.
    pub(crate) rooms: Option<Rooms>,
}

/// The claim `rooms`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rooms {
    /// `*` is among them: any room may be entered.
    pub(crate) any: bool,
    /// The concrete room ids, joined at connect, each once, in the token's order.
    pub(crate) ids: Vec<String>,
}

/// What the configuration demands of the claims.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) issuer: Option<String>,
    pub(super) audience: Vec<String>,
    pub(super) leeway: Duration,
    pub(super) require_exp: bool,
}

pub(super) fn read(payload: &[u8], rules: &Rules, now: Duration) -> Result<Claims, AuthError> {
    let mut members = members::unique(payload).ok_or(AuthError::Claims("payload is no object of unique members"))?;
    members.retain(|_, value| value.get() != "null");
    let claims = Claims {
        sub: read_sub(&members)?,
        name: String::new(),
        exp: date(&members, "exp", "exp is no date")?,
        // Of any other type it is as good as absent.
        iat: date(&members, "iat", "").unwrap_or_default(),
        rooms: read_rooms(&members)?,
    };
    let name = read_name(&members)?.unwrap_or_else(|| claims.sub.clone());
    check_time(claims.exp, date(&members, "nbf", "nbf is no date")?, rules, now)?;
    check_parties(&members, rules)?;
    Ok(Claims { name, ..claims })
}

/// A claim as `T`; `None` if it is absent.
fn claim<T: DeserializeOwned>(
    members: &BTreeMap<String, &RawValue>,
    name: &str,
    wrong: &'static str,
) -> Result<Option<T>, AuthError> {
    let Some(raw) = members.get(name) else { return Ok(None) };
    serde_json::from_str(raw.get()).map(Some).map_err(|_| AuthError::Claims(wrong))
}

/// A NumericDate (RFC 7519 section 2): any JSON number, `1900000000.5` and `1.9e9` too. What lies before 1970 counts as 1970,
/// what lies beyond [`MAX_DATE`] as that.
fn date(members: &BTreeMap<String, &RawValue>, name: &str, wrong: &'static str) -> Result<Option<Duration>, AuthError> {
    let Some(raw) = members.get(name) else { return Ok(None) };
    let seconds = number::number(raw.get()).ok_or(AuthError::Claims(wrong))?;
    Ok(Some(if seconds < MAX_EXACT {
        Duration::from_secs_f64(seconds.max(0.0))
    } else {
        Duration::from_secs(MAX_DATE)
    }))
}

fn read_sub(members: &BTreeMap<String, &RawValue>) -> Result<String, AuthError> {
    let raw = members.get("sub").ok_or(AuthError::Claims("no sub"))?.get();
    let sub = serde_json::from_str(raw).ok().or_else(|| digits(raw));
    let sub = sub.ok_or(AuthError::Claims("sub is neither a string nor a whole number"))?;
    if is_id(&sub) { Ok(sub) } else { Err(AuthError::Claims("sub is empty, too long or holds control characters")) }
}

/// A whole number as its digits. An integer keeps those that were sent, however many; `1e3` and `1000.0` are `1000`, up to
/// 2^53, beyond which readers disagree about what such a number is.
fn digits(json: &str) -> Option<String> {
    let whole = number::whole(json)?;
    let as_sent = whole != 0.0 && json.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    if as_sent {
        return Some(json.to_owned());
    }
    // Adding zero makes a negative one positive.
    (whole.abs() < MAX_EXACT).then(|| format!("{:.0}", whole + 0.0))
}

/// `name`, else `username`. One of which nothing can be seen counts as none: issuers send it for users without a name.
fn read_name(members: &BTreeMap<String, &RawValue>) -> Result<Option<String>, AuthError> {
    for claim_name in ["name", "username"] {
        let name: Option<String> = claim(members, claim_name, "the name is no string")?;
        let Some(name) = name.as_deref().map(str::trim).filter(|name| !is_invisible(name)) else { continue };
        if name.chars().any(char::is_control) {
            return Err(AuthError::Claims("the name holds control characters"));
        }
        return Ok(Some(name.chars().take(MAX_NAME).collect()));
    }
    Ok(None)
}

fn read_rooms(members: &BTreeMap<String, &RawValue>) -> Result<Option<Rooms>, AuthError> {
    let listed: Option<Vec<String>> = claim(members, "rooms", "rooms is no array of strings")?;
    let Some(listed) = listed else { return Ok(None) };
    let mut rooms = Rooms::default();
    let mut seen = std::collections::BTreeSet::new();
    for id in listed {
        if id == "*" {
            rooms.any = true;
        } else if !is_id(&id) {
            return Err(AuthError::Claims("rooms holds an invalid room id"));
        } else if seen.insert(id.clone()) {
            rooms.ids.push(id);
        }
    }
    Ok(Some(rooms))
}

/// Whether `text` can be a user id or a room id.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ID && !text.chars().any(char::is_control)
}

/// Whether `text` can be a display name as it stands.
pub(crate) fn is_name(text: &str) -> bool {
    text.chars().nth(MAX_NAME).is_none() && !text.chars().any(char::is_control) && !is_invisible(text)
}

/// `iat` says nothing about this: a token from an issuer whose clock is ahead is as good as any, until its `exp`.
fn check_time(
    exp: Option<Duration>,
    not_before: Option<Duration>,
    rules: &Rules,
    now: Duration,
) -> Result<(), AuthError> {
    match exp {
        // RFC 7519 section 4.1.4: valid before `exp`, no longer at it.
        Some(exp) if now >= exp.saturating_add(rules.leeway) => return Err(AuthError::Expired),
        None if rules.require_exp => return Err(AuthError::Claims("no exp")),
        _ => {}
    }
    // RFC 7519 section 4.1.5.
    if not_before.is_some_and(|start| start > now.saturating_add(rules.leeway)) {
        return Err(AuthError::NotYetValid);
    }
    Ok(())
}

/// `iss` and `aud`, where the configuration names them. `aud` is a string or an array (RFC 7519 section 4.1.3).
fn check_parties(members: &BTreeMap<String, &RawValue>, rules: &Rules) -> Result<(), AuthError> {
    if let Some(expected) = &rules.issuer {
        let issuer: Option<String> = claim(members, "iss", "iss is no string")?;
        if issuer.as_ref() != Some(expected) {
            return Err(AuthError::Claims("iss is not the one expected"));
        }
    }
    if rules.audience.is_empty() {
        return Ok(());
    }
    let audience: Vec<String> = match claim::<String>(members, "aud", "") {
        Ok(one) => one.into_iter().collect(),
        Err(_) => claim(members, "aud", "aud is no string and no array of strings")?.unwrap_or_default(),
    };
    if audience.iter().any(|one| rules.audience.contains(one)) {
        Ok(())
    } else {
        Err(AuthError::Claims("aud does not name this server"))
    }
}
