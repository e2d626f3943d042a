//! Tokens: who a socket belongs to, decided once at CONNECT, and the tokens this program makes itself.
//!
//! Pure: the time is an argument, keys and rules come from the configuration. The signature is checked before a claim is
//! read. Left to others: when to call it, and ending a socket whose token expires. Specification: docs/chat-protocol.md,
//! "Connect"; RFC 7515, RFC 7519, RFC 8725.

mod claims;
mod error;
mod members;
mod sign;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use crate::config::Auth;

pub(crate) use claims::{Claims, Rooms};
pub(crate) use error::AuthError;
pub(crate) use sign::{SignError, TokenRequest, sign};

/// What a token is checked against.
#[derive(Clone)]
pub(crate) struct Verifier {
    keys: Vec<DecodingKey>,
    algorithms: Vec<Algorithm>,
    /// Bytes of the longest token that is looked at.
    max_bytes: usize,
    rules: claims::Rules,
}

impl fmt::Debug for Verifier {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, algorithms, max_bytes, rules } = self;
        f.debug_struct("Verifier")
            .field("keys", &keys.len())
            .field("algorithms", algorithms)
            .field("max_bytes", max_bytes)
            .field("rules", rules)
            .finish()
    }
}

impl Verifier {
    /// Keys and rules of the configuration. Without a secret in it every token is refused.
    pub(crate) fn new(auth: &Auth) -> Self {
        let secrets = [&auth.jwt_secret, &auth.jwt_previous_secret];
        Self {
            keys: secrets.into_iter().flatten().map(|secret| DecodingKey::from_secret(secret.expose())).collect(),
            algorithms: auth.algorithms.clone(),
            max_bytes: auth.max_token_bytes,
            rules: claims::Rules {
                issuer: auth.issuer.clone(),
                audience: auth.audience.clone(),
                leeway: auth.leeway,
                require_exp: auth.require_exp,
            },
        }
    }

    /// Checks a token. `now` is the time since the Unix epoch.
    ///
    /// # Errors
    /// The first thing wrong: form and header, then signature, then the claims' types, then time, issuer and audience.
    pub(crate) fn verify(&self, token: &str, now: Duration) -> Result<Claims, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > self.max_bytes {
            return Err(AuthError::TOO_LONG);
        }
        // RFC 7515 section 7.1: three parts, not fewer (an unsecured token) and not more (an encrypted one).
        let parts = token.rsplit_once('.').and_then(|(message, signature)| {
            message.split_once('.').map(|(header, payload)| (message, header, payload, signature))
        });
        let Some((message, header, payload, signature)) = parts.filter(|(_, _, payload, _)| !payload.contains('.'))
        else {
            return Err(AuthError::Invalid("not three parts"));
        };
        let algorithm = self.algorithm(header)?;
        let signed_with = |key| crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false);
        if !self.keys.iter().any(signed_with) {
            return Err(AuthError::Invalid("wrong signature"));
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| AuthError::Invalid("payload is not base64url"))?;
        claims::read(&payload, &self.rules, now)
    }

    /// The header's algorithm, if the configuration pins it (RFC 8725 section 3.1).
    fn algorithm(&self, header: &str) -> Result<Algorithm, AuthError> {
        let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| AuthError::Invalid("header is not base64url"))?;
        let members = members::unique(&json).ok_or(AuthError::Invalid("header is no object of unique members"))?;
        // RFC 7515 section 4.1.11: an extension that is not understood must be refused, and none is understood here.
        // A key, or where to find one, is never taken from the token; one that brings it is an attack or for another
        // kind of server (RFC 8725 section 3.10).
        let names_key = |name: &&str| members.get(*name).is_some_and(|value| value.get() != "null");
        if members.contains_key("crit") || ["jwk", "jku", "x5u"].iter().any(names_key) {
            return Err(AuthError::Invalid("header holds crit, jwk, jku or x5u"));
        }
        let name = members.get("alg").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let name = name.ok_or(AuthError::Invalid("header without alg"))?;
        let pinned = self.algorithms.iter().find(|algorithm| name.parse() == Ok(**algorithm));
        pinned.copied().ok_or(AuthError::Invalid("alg is not accepted here"))
    }
}
