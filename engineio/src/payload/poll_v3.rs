//! The answer to a poll in Engine.IO protocol v3, built from the frames of a queue.

use crate::SharedFrame;

/// The answer to a poll in v3.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the bytes have the binary form, and so the content type `application/octet-stream`.
    pub binary: bool,
    /// How many of the frames it contains.
    pub taken: usize,
}

/// Builds the answer to a poll from the frames at the front of a queue: at most `max` bytes, but at least one frame. It
/// has the binary form if the peer accepts that and one of `frames` is binary, else the text form.
#[must_use]
pub fn encode<'a>(frames: impl Iterator<Item = &'a SharedFrame> + Clone, takes_binary: bool, max: usize) -> Body {
    let binary = takes_binary && frames.clone().any(SharedFrame::has_binary);
    let mut body = Body { bytes: Vec::new(), binary, taken: 0 };
    for frame in frames {
        let packets = if binary { frame.polling_v3_binary() } else { frame.polling_v3() };
        if body.taken > 0 && body.bytes.len().saturating_add(packets.len()) > max {
            break;
        }
        body.bytes.extend_from_slice(packets);
        body.taken += 1;
    }
    body
}
