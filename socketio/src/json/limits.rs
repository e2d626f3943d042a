//! [`Limits`]: what JSON text may cost those who read it next.

/// The greatest depth that any [`Limits`] can allow; the scanner keeps one bit for each open array or object.
pub const MAX_DEPTH: u32 = u128::BITS;

/// What valid JSON text may cost those who read it next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nesting of arrays and objects; one without nested ones has depth 1, other values have depth 0. More than
    /// [`MAX_DEPTH`] counts as [`MAX_DEPTH`].
    pub depth: u32,
    /// Characters of one number. Parsers of big numbers take more than linear time; IEEE doubles need at most 25.
    pub number_length: usize,
}

impl Limits {
    /// None.
    #[cfg(feature = "router")]
    pub(crate) const NONE: Self = Self { depth: MAX_DEPTH, number_length: usize::MAX };
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: MAX_DEPTH, number_length: 40 }
    }
}
