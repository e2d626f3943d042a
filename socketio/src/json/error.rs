//! [`JsonError`]: why a text was refused.

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not the JSON text that was asked for: bad or missing syntax, another kind of value, or more after its end.
    #[error("invalid JSON")]
    Syntax,
    /// Deeper than [`Limits::depth`](super::Limits::depth).
    #[error("JSON nested too deeply")]
    TooDeep,
    /// A number longer than [`Limits::number_length`](super::Limits::number_length).
    #[error("JSON number too long")]
    NumberTooLong,
    /// The text has more than `u32::MAX` bytes.
    #[error("JSON text too long")]
    TooLong,
}
