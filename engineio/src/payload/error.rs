//! Why the body of a POST is refused as a whole.

/// How many packets that have no effect (`0`, `3`, `5`, `6`) one body may hold. An honest client sends one pong for
/// each heartbeat; thousands of them only keep the server busy.
pub const MAX_IDLE_PACKETS: usize = 64;

/// Why a whole body is refused before its first packet. Always the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The body is not UTF-8.
    #[error("payload is not UTF-8")]
    Utf8,
    /// More than [`MAX_IDLE_PACKETS`] packets that have no effect.
    #[error("too many noop or pong packets in one payload")]
    TooManyIdlePackets,
}
