//! Why a token is refused.

/// Why a token is refused. The text is for the log: a client is told the [code](AuthError::code) and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AuthError {
    /// There is none.
    #[error("no token")]
    Missing,
    /// Its form, header or signature is wrong.
    #[error("invalid token: {0}")]
    Invalid(&'static str),
    /// It names a key that is not known and may be published yet: ask again soon.
    #[error("its key is not known yet")]
    KeyPending,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It is signed, but its claims are not what they must be.
    #[error("invalid claims: {0}")]
    Claims(&'static str),
}

impl AuthError {
    /// It is longer than a token may be.
    pub(crate) const TOO_LONG: Self = Self::Invalid("longer than auth.max_token_bytes");

    /// The code in the `data` of `CONNECT_ERROR`.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Invalid(_) | Self::KeyPending => "token_invalid",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Claims(_) => "claims_invalid",
        }
    }
}
