//! JWT with HS256: signature, `exp` and `nbf`, without leeway.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

/// Who a token names.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct User {
    #[serde(rename = "sub")]
    pub(crate) id: String,
    name: Option<String>,
    username: Option<String>,
    /// The rooms that it is in from the start.
    #[serde(default)]
    pub(crate) rooms: Vec<String>,
}

impl User {
    pub(crate) fn name(&self) -> &str {
        self.name.as_ref().or(self.username.as_ref()).unwrap_or(&self.id)
    }
}

/// Verifies tokens of one secret.
pub(crate) struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl Verifier {
    pub(crate) fn new(secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        Self { key: DecodingKey::from_secret(secret.as_bytes()), validation }
    }

    /// The token's user, if it holds.
    pub(crate) fn verify(&self, token: &str) -> Option<User> {
        decode(token, &self.key, &self.validation).ok().map(|token| token.claims)
    }
}
