//! What waits to be written to one peer: frames in order, counted in bytes.

use std::{collections::VecDeque, io};

use crate::{SharedFrame, payload::Encoder};

/// Frames up to this many bytes together are copied into one buffer for one write; a larger frame is written from where
/// it lies. (A copy of a few hundred bytes costs less than an entry of a vectored write.)
const GATHER: usize = 16 * 1024;

/// What a queued frame costs beside its bytes, so that a flood of tiny ones (an empty pong has 2 bytes) meets the limits
/// before it fills memory. About a third of the allocations' true size: a frame is often shared by many queues.
const FRAME_COST: usize = 32;

/// Frames in order. Mostly there is one at a time, and an idle connection has none: only more than one need memory of
/// their own.
#[derive(Debug, Default)]
struct Frames {
    first: Option<SharedFrame>,
    /// Never empty.
    #[expect(clippy::box_collection, reason = "a pointer is all that an idle connection pays for it")]
    rest: Option<Box<VecDeque<SharedFrame>>>,
}

impl Frames {
    fn push(&mut self, frame: SharedFrame) {
        match &mut self.first {
            first @ None => *first = Some(frame),
            Some(_) => self.rest.get_or_insert_default().push_back(frame),
        }
    }

    fn pop(&mut self) {
        let rest = self.rest.as_mut();
        self.first = rest.and_then(|rest| rest.pop_front());
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
    }

    /// All but the first.
    fn rest(&self) -> impl Iterator<Item = &SharedFrame> {
        self.rest.iter().flat_map(|rest| rest.iter())
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }
}

/// An ordered queue of encoded frames.
#[derive(Debug, Default)]
pub(super) struct OutQueue {
    frames: Frames,
    /// Bytes of the first frame that are written already.
    written: usize,
    bytes: usize,
}

impl OutQueue {
    /// Adds a frame of which `written` bytes are out already. The queue must be empty.
    pub(super) fn push_rest(&mut self, frame: SharedFrame, written: usize) {
        self.written = written;
        self.push(frame);
        self.bytes = self.bytes.saturating_sub(written);
    }

    pub(super) fn push(&mut self, frame: SharedFrame) {
        self.bytes += frame.websocket().len();
        self.frames.push(frame);
    }

    /// What waits, as the limits count it: bytes in their WebSocket form, and a little for every frame.
    pub(super) fn cost(&self) -> usize {
        self.bytes + self.frames.len() * FRAME_COST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.first.is_none()
    }

    /// Writes until the queue is empty (`Ok(true)`) or `write` would block (`Ok(false)`). `gather` is lent.
    pub(super) fn write_to(
        &mut self,
        gather: &mut Vec<u8>,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        while let Some(first) = &self.frames.first {
            let first = first.websocket().get(self.written..).unwrap_or_default();
            let written = if self.frames.rest.is_none() || first.len() >= GATHER {
                write(first)
            } else {
                gather.clear();
                gather.extend_from_slice(first);
                for frame in self.frames.rest() {
                    if gather.len() + frame.websocket().len() > GATHER {
                        break;
                    }
                    gather.extend_from_slice(frame.websocket());
                }
                write(gather)
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        self.written += count;
        while let Some(first) = self.frames.first.as_ref().map(|frame| frame.websocket().len()) {
            if self.written < first {
                break;
            }
            self.written -= first;
            self.frames.pop();
        }
    }

    /// Takes packets for one polling body of at most `max` bytes (one packet at least).
    pub(super) fn take_polling(&mut self, max: usize) -> Vec<u8> {
        let mut body = Encoder::new(max);
        while let Some(frame) = &self.frames.first {
            if !body.push(frame.polling()) {
                break;
            }
            self.bytes = self.bytes.saturating_sub(frame.websocket().len());
            self.frames.pop();
        }
        body.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(len: usize) -> SharedFrame {
        SharedFrame::message(&[&vec![b'x'; len]], &[])
    }

    /// A peer that takes `step` bytes a write, `room` in all.
    fn drain(queue: &mut OutQueue, step: usize, mut room: usize) -> (io::Result<bool>, Vec<u8>) {
        let mut out = Vec::new();
        let result = queue.write_to(&mut Vec::new(), |bytes| {
            let count = bytes.len().min(step).min(room);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            room -= count;
            out.extend_from_slice(&bytes[..count]);
            Ok(count)
        });
        (result, out)
    }

    #[test]
    fn any_partial_writes_give_the_same_bytes_and_the_count_returns_to_zero() {
        let frames: Vec<_> = [1, 100, 20_000, 3, 70_000, 0, 9].into_iter().map(text).collect();
        let expected: Vec<u8> = frames.iter().flat_map(|frame| frame.websocket().to_vec()).collect();
        for step in [1, 7, 1000, usize::MAX] {
            let mut queue = OutQueue::default();
            frames.iter().for_each(|frame| queue.push(frame.clone()));
            assert_eq!(queue.cost(), expected.len() + 7 * FRAME_COST);
            let (first, mut out) = drain(&mut queue, step, 50_000);
            assert!(!first.unwrap());
            assert_eq!(queue.bytes, expected.len() - out.len());
            let (second, rest) = drain(&mut queue, step, usize::MAX);
            assert!(second.unwrap());
            out.extend(rest);
            assert_eq!((out == expected, queue.cost(), queue.is_empty()), (true, 0, true), "{step}");
        }
    }

    #[test]
    fn a_polling_body_stops_at_the_cap_but_takes_one_packet() {
        let mut queue = OutQueue::default();
        [text(3), text(3), text(30)].into_iter().for_each(|frame| queue.push(frame));
        assert_eq!(queue.take_polling(10), b"4xxx\x1e4xxx");
        assert_eq!(queue.take_polling(10).len(), 31);
        assert_eq!((queue.cost(), queue.is_empty()), (0, true));
    }
}
