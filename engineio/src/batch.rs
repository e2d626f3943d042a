//! [`Batch`]: frames that many connections get in the same order, kept together so that one write sends them all.

use crate::SharedFrame;

/// Frames in order, with their WebSocket bytes in one contiguous buffer.
#[derive(Debug, Default)]
pub struct Batch {
    frames: Vec<SharedFrame>,
    /// Where each frame ends in `bytes`.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl Batch {
    /// Adds a frame. Its bytes are copied once, not once for each recipient.
    pub fn push(&mut self, frame: SharedFrame) {
        self.bytes.extend_from_slice(frame.websocket());
        self.ends.push(self.bytes.len());
        self.frames.push(frame);
    }

    /// The frames from index `first` on.
    #[must_use]
    pub fn frames(&self, first: usize) -> &[SharedFrame] {
        self.frames.get(first..).unwrap_or_default()
    }

    /// The WebSocket bytes of the frames from index `first` on.
    #[must_use]
    pub fn websocket(&self, first: usize) -> &[u8] {
        self.bytes.get(self.start_of(first)..).unwrap_or_default()
    }

    /// Where writing goes on after `written` bytes of [`Batch::websocket`]: the index of the first frame that is not
    /// completely written, and how many of its bytes are.
    #[must_use]
    pub fn after(&self, first: usize, written: usize) -> (usize, usize) {
        let position = self.start_of(first) + written;
        let frame = self.ends.partition_point(|end| *end <= position);
        (frame, position - self.start_of(frame).min(position))
    }

    fn start_of(&self, frame: usize) -> usize {
        frame.checked_sub(1).map_or(0, |before| self.ends.get(before).copied().unwrap_or(self.bytes.len()))
    }

    /// How many bytes the frames have together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no frames.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Removes all frames. The memory is kept for the next turn, unless it was unusually much.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.ends.clear();
        self.bytes.clear();
        self.bytes.shrink_to(64 * 1024);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_write_names_the_frame_and_the_offset_in_it() {
        let mut batch = Batch::default();
        let frames: Vec<_> = [0, 5, 200].map(|len| SharedFrame::message(&[&vec![b'x'; len]], &[])).into();
        frames.iter().for_each(|frame| batch.push(frame.clone()));
        for first in 0..=3 {
            let all: Vec<u8> = frames[first..].iter().flat_map(|frame| frame.websocket().to_vec()).collect();
            assert_eq!(batch.websocket(first), all);
            assert_eq!(batch.frames(first).len(), 3 - first);
            for written in 0..=all.len() {
                let (next, part) = batch.after(first, written);
                let done: usize = frames[first..next].iter().map(|frame| frame.websocket().len()).sum();
                assert_eq!(done + part, written, "{first} {written}");
                assert!(next == 3 || part < frames[next].websocket().len());
            }
        }
        batch.clear();
        assert!(batch.is_empty() && batch.websocket(0).is_empty());
    }
}
