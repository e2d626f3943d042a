//! Tokens that this program makes: for `chat-server token` and in development mode.

use std::time::Duration;

use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header};
use serde::Serialize;

use super::claims::{MAX_DATE, is_id};
use crate::config::Auth;

/// What a token shall say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenRequest<'a> {
    /// The user's id.
    pub(crate) sub: &'a str,
    /// Display name; `None`: the id.
    pub(crate) name: Option<&'a str>,
    /// Rooms the user may enter, `*` for any; `None`: no such claim.
    pub(crate) rooms: Option<&'a [String]>,
    /// Time from now to `exp`.
    pub(crate) lifetime: Duration,
}

/// Why no token is made: the server itself would refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SignError {
    /// `sub` cannot be a user id.
    #[error("a user id has 1 to 128 bytes and no control characters")]
    Sub,
    /// `name` cannot be shown.
    #[error("a name has no control characters")]
    Name,
    /// One of `rooms` cannot be a room id.
    #[error("a room id has 1 to 128 bytes and no control characters")]
    Rooms,
    /// `exp` would lie beyond 2^53 seconds.
    #[error("too far in the future")]
    Lifetime,
    /// There is no secret to sign with.
    #[error("there is no secret to sign with")]
    Secret,
}

#[derive(Serialize)]
struct Payload<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [String]>,
}

/// Signs with the configuration's secret and the first algorithm that is pinned for one, for its issuer and its first audience, so that a server
/// of the same configuration takes the token. `now` is the time since the Unix epoch.
///
/// # Errors
/// What a server of this configuration would refuse.
pub(crate) fn sign(auth: &Auth, request: &TokenRequest<'_>, now: Duration) -> Result<String, SignError> {
    if !is_id(request.sub) {
        return Err(SignError::Sub);
    }
    if request.name.is_some_and(|name| name.chars().any(char::is_control)) {
        return Err(SignError::Name);
    }
    if request.rooms.is_some_and(|rooms| !rooms.iter().all(|id| is_id(id))) {
        return Err(SignError::Rooms);
    }
    let exp = now.checked_add(request.lifetime).map(|exp| exp.as_secs()).filter(|exp| *exp <= MAX_DATE);
    let payload = Payload {
        sub: request.sub,
        name: request.name,
        iat: now.as_secs(),
        exp: exp.ok_or(SignError::Lifetime)?,
        iss: auth.issuer.as_deref(),
        aud: auth.audience.first().map(String::as_str),
        rooms: request.rooms,
    };
    let secret = auth.jwt_secret.as_ref().ok_or(SignError::Secret)?;
    let hmac = auth.algorithms.iter().find(|algorithm| algorithm.family() == AlgorithmFamily::Hmac);
    let header = Header::new(hmac.copied().unwrap_or(Algorithm::HS256));
    // Of an HMAC key nothing can fail but its being absent.
    jsonwebtoken::encode(&header, &payload, &EncodingKey::from_secret(secret.expose())).map_err(|_| SignError::Secret)
}
