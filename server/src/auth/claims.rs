//! From the payload of a signed token to [`Claims`]. A claim of the wrong type is refused and never taken for absent:
//! `"exp": "never"` would otherwise be a token that never expires. Specification: docs/chat-protocol.md, "Connect"; RFC 7519 section 4.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{error::AuthError, members};

/// Bytes of the longest user id and of the longest room id.
const MAX_ID: usize = 128;
/// Characters of the longest display name; the rest is cut off.
const MAX_NAME: usize = 128;
/// The largest number that every JSON reader takes for the same one (RFC 8259 section 6).
pub(super) const MAX_DATE: u64 = 1 << 53;

/// What a token says about its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The user's id: 1 to 128 bytes without control characters.
    pub(crate) sub: String,
    /// Display name: `name`, else `username`, else `sub`; at most 128 characters, none of them a control character.
    pub(crate) name: String,
    /// When the token expires, in seconds since the Unix epoch, without the leeway.
    pub(crate) exp: Option<u64>,
    /// When the token was issued, in seconds since the Unix epoch: tells which of two tokens is newer.
    pub(crate) iat: Option<u64>,
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
    let members = members::unique(payload).ok_or(AuthError::Claims("payload is no object of unique members"))?;
    let claims = Claims {
        sub: read_sub(&members)?,
        name: String::new(),
        exp: date(&members, "exp", "exp is no date")?,
        iat: date(&members, "iat", "iat is no date")?,
        rooms: read_rooms(&members)?,
    };
    let name = read_name(&members)?.unwrap_or_else(|| claims.sub.clone());
    let not_before = date(&members, "nbf", "nbf is no date")?;
    check_time(&claims, [not_before, claims.iat], rules, now)?;
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

/// A NumericDate in whole seconds. The text decides, so that `1.5`, `1e400` and `-1` are refused whatever a number type
/// would make of them.
fn date(members: &BTreeMap<String, &RawValue>, name: &str, wrong: &'static str) -> Result<Option<u64>, AuthError> {
    let Some(raw) = members.get(name) else { return Ok(None) };
    let date = raw.get().parse::<u64>().ok().filter(|date| *date <= MAX_DATE);
    date.map(Some).ok_or(AuthError::Claims(wrong))
}

fn read_sub(members: &BTreeMap<String, &RawValue>) -> Result<String, AuthError> {
    let sub: String = claim(members, "sub", "sub is no string")?.ok_or(AuthError::Claims("no sub"))?;
    if is_id(&sub) { Ok(sub) } else { Err(AuthError::Claims("sub is empty, too long or holds control characters")) }
}

/// `name`, else `username`. `null` and a blank name count as none, as issuers send them for users without one.
fn read_name(members: &BTreeMap<String, &RawValue>) -> Result<Option<String>, AuthError> {
    for claim_name in ["name", "username"] {
        let name: Option<String> = claim(members, claim_name, "the name is no string")?.flatten();
        let Some(name) = name.as_deref().map(str::trim).filter(|name| !name.is_empty()) else { continue };
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
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ID && !text.chars().any(char::is_control)
}

fn check_time(claims: &Claims, starts: [Option<u64>; 2], rules: &Rules, now: Duration) -> Result<(), AuthError> {
    match claims.exp {
        // RFC 7519 section 4.1.4: valid before `exp`, no longer at it.
        Some(exp) if now >= Duration::from_secs(exp).saturating_add(rules.leeway) => return Err(AuthError::Expired),
        None if rules.require_exp => return Err(AuthError::Claims("no exp")),
        _ => {}
    }
    // RFC 7519 section 4.1.5 for `nbf`. A token issued in the future comes from a clock that cannot be trusted with
    // `exp` either.
    let latest = now.saturating_add(rules.leeway);
    if starts.into_iter().flatten().any(|start| Duration::from_secs(start) > latest) {
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
