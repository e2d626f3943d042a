//! Tokens: who a socket belongs to, decided once at CONNECT, and the tokens this program makes itself.
//!
//! The time is an argument, keys and rules come from the configuration. The signature is checked before a claim is read. Left
//! to others: when to call it, and ending a socket whose token expires. Specification: docs/chat-protocol.md, "Connect"; RFC
//! 7515, RFC 7517, RFC 7519, RFC 8725.
//!
//! | file | what it does |
//! |---|---|
//! | `key` | one key, and the algorithms it is for |
//! | `pem`, `jwk_set` | keys out of PEM and JSON |
//! | `jwks`, `jwks_schedule` | a set that is fetched and kept fresh; when that is, and which keys it has not |
//! | `jwks_source` | where it comes from |
//! | `load` | the keys of a configuration |
//! | `claims`, `members` | what a signed token says |
//! | `sign` | tokens of our own |

mod claims;
mod error;
mod jwk_set;
mod jwks;
mod jwks_schedule;
mod jwks_source;
mod key;
mod load;
mod members;
mod pem;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;

pub(crate) use claims::{Claims, Rooms, is_id, is_name};
pub(crate) use error::AuthError;
pub(crate) use jwks::JwksCounts;
pub(crate) use sign::{SignError, TokenRequest, sign};

use jwks::Jwks;
use key::Key;

/// How many keys are tried on a token that names none, or whose name several have.
const MAX_TRIES: usize = 16;

/// What a token is checked against.
#[derive(Debug, Clone)]
pub(crate) struct Verifier {
    /// Secrets and the keys in PEM files.
    keys: Vec<Key>,
    /// The keys that an issuer publishes.
    jwks: Option<Arc<Jwks>>,
    /// The algorithms that the configuration pins; none: those of the keys.
    pinned: Vec<Algorithm>,
    /// Bytes of the longest token that is looked at.
    max_bytes: usize,
    rules: claims::Rules,
}

/// What counts of a token's header.
struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
}

impl Verifier {
    /// Checks a token. `wall_clock` is the time since the Unix epoch.
    ///
    /// # Errors
    /// The first thing wrong: form and header, then signature, then the claims' types, then time, issuer and audience.
    /// [`AuthError::KeyPending`]: it cannot be told yet.
    pub(crate) fn verify(&self, token: &str, wall_clock: Duration) -> Result<Claims, AuthError> {
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
        let header = self.header(header)?;
        self.check_signature(&header, message, signature)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| AuthError::Invalid("payload is not base64url"))?;
        claims::read(&payload, &self.rules, wall_clock)
    }

    /// How the fetching of the issuer's keys goes; `None` where they do not come from a URL.
    pub(crate) fn jwks_counts(&self) -> Option<JwksCounts> {
        self.jwks.as_ref()?.counts()
    }

    /// The header, if the configuration accepts its algorithm (RFC 8725 section 3.1).
    fn header(&self, header: &str) -> Result<Header, AuthError> {
        let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| AuthError::Invalid("header is not base64url"))?;
        let members = members::unique(&json).ok_or(AuthError::Invalid("header is no object of unique members"))?;
        // RFC 7515 section 4.1.11: an extension that is not understood must be refused, and none is understood here.
        // A key, or where to find one, is never taken from the token; one that brings it is an attack or for another
        // kind of server (RFC 8725 section 3.10).
        let names_key = |name: &&str| members.get(*name).is_some_and(|value| value.get() != "null");
        if members.contains_key("crit") || ["jwk", "jku", "x5u"].iter().any(names_key) {
            return Err(AuthError::Invalid("header holds crit, jwk, jku or x5u"));
        }
        let text = |name| members.get(name).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let name = text("alg").ok_or(AuthError::Invalid("header without alg"))?;
        // The newer name of EdDSA with this curve (RFC 9864).
        let name = if name == "Ed25519" { "EdDSA" } else { name.as_str() };
        let algorithm = name.parse().ok().filter(|algorithm| self.accepts(*algorithm));
        let algorithm = algorithm.ok_or(AuthError::Invalid("alg is not accepted here"))?;
        Ok(Header { algorithm, kid: text("kid") })
    }

    /// Whether a token may use this algorithm: one that is pinned, or one of any key's.
    fn accepts(&self, algorithm: Algorithm) -> bool {
        if !self.pinned.is_empty() {
            return self.pinned.contains(&algorithm);
        }
        let own = self.keys.iter().any(|key| key.algorithms().contains(&algorithm));
        // Before the set is there it may hold keys for any but a secret.
        own || self.jwks.is_some() && algorithm.family() != jsonwebtoken::AlgorithmFamily::Hmac
    }

    /// Looks for a key that is for the token's algorithm, has the token's `kid` where both have one, and has signed it.
    fn check_signature(&self, header: &Header, message: &str, signature: &str) -> Result<(), AuthError> {
        const WRONG: AuthError = AuthError::Invalid("wrong signature");
        let Header { algorithm, ref kid } = *header;
        let fits = |key: &&Key| {
            let is_named = kid.as_deref().zip(key.kid()).is_none_or(|(of_token, of_key)| of_token == of_key);
            is_named && key.algorithms().contains(&algorithm)
        };
        let has_signed = |key: &Key| key.has_signed(message, signature, algorithm);
        if self.keys.iter().filter(fits).take(MAX_TRIES).any(has_signed) {
            return Ok(());
        }
        let Some(jwks) = &self.jwks else { return Err(WRONG) };
        let mut set = jwks.keys();
        for may_wait in [true, false] {
            if set.iter().filter(fits).take(MAX_TRIES).any(has_signed) {
                return Ok(());
            }
            let is_known = match kid {
                Some(kid) => set.iter().any(|key| key.kid() == Some(kid)),
                None => !set.is_empty(),
            };
            // Another issuer's key may have the same name.
            if !may_wait || (is_known && jwks.has_fetched()) {
                return Err(WRONG);
            }
            if !jwks.is_none_of_them(kid.as_deref(), Instant::now()) {
                return Err(AuthError::KeyPending);
            }
            // It may have come between the look and the question.
            set = jwks.keys();
        }
        Err(WRONG)
    }
}
