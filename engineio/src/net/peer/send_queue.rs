//! The queue of what will be written to one peer: frames in order, counted in bytes.

use std::{collections::VecDeque, io};

use crate::{
    Protocol, SharedFrame, Wire,
    payload::{self, Encoder},
};

/// Frames of up to this many bytes together are copied into one buffer for one write. A larger frame is written without
/// a copy. (Copying a few hundred bytes costs less than an entry of a vectored write.)
const GATHER: usize = 16 * 1024;

/// What a queued frame costs in addition to its bytes, so that a flood of tiny frames (an empty pong has 2 bytes)
/// reaches the limits before it fills memory. About a third of the allocations' true size, because a frame is often
/// shared by many queues.
const FRAME_COST: usize = 32;

/// How the bodies of a session's polls are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct PollForm {
    pub(in crate::net) protocol: Protocol,
    /// The bodies may be binary (v3).
    pub(in crate::net) takes_binary: bool,
}

/// The body that answers a poll.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::net) struct PollBody {
    pub(in crate::net) bytes: Vec<u8>,
    /// The body has v3's binary form.
    pub(in crate::net) binary: bool,
    /// Some packet in the body may be compressed.
    pub(in crate::net) compress: bool,
}

impl PollBody {
    /// A body with the packets of `frame` alone.
    pub(in crate::net) fn of(frame: SharedFrame, form: PollForm) -> Self {
        let mut queue = SendQueue::default();
        queue.push(frame);
        queue.take_polling(form, usize::MAX, usize::MAX)
    }
}

/// Frames in order. Usually there is at most one, and an idle connection has none, so memory is allocated only for the
/// second and later ones.
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

    fn pop(&mut self) -> Option<SharedFrame> {
        let rest = self.rest.as_mut();
        let first = std::mem::replace(&mut self.first, rest.and_then(|rest| rest.pop_front()));
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
        first
    }

    fn iter(&self) -> impl Iterator<Item = &SharedFrame> + Clone {
        self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }
}

/// An ordered queue of encoded frames.
#[derive(Debug, Default)]
pub(in crate::net) struct SendQueue {
    /// Written before all frames, in one write with them: the answer to the handshake.
    #[expect(clippy::box_collection, reason = "a pointer is all that an idle connection pays for it")]
    preamble: Option<Box<Vec<u8>>>,
    frames: Frames,
    /// Bytes of the preamble, or else of the first frame, that have been written.
    written: usize,
    bytes: usize,
}

impl SendQueue {
    /// Adds a frame of which `written` bytes have been sent already. The queue must be empty.
    pub(in crate::net) fn push_rest(&mut self, frame: SharedFrame, written: usize) {
        self.written = written;
        self.push(frame);
        self.bytes = self.bytes.saturating_sub(written);
    }

    pub(in crate::net) fn push(&mut self, frame: SharedFrame) {
        self.bytes += frame.websocket().len();
        self.frames.push(frame);
    }

    /// Sets the bytes to write before all frames. Nothing may have been written yet.
    pub(in crate::net) fn set_preamble(&mut self, preamble: Vec<u8>) {
        self.bytes += preamble.len();
        self.preamble = Some(Box::new(preamble));
    }

    /// The size of the queue as the limits count it: bytes in the WebSocket form, and [`FRAME_COST`] for each frame.
    pub(in crate::net) fn cost(&self) -> usize {
        self.bytes + self.frames.len() * FRAME_COST
    }

    /// The bytes that are queued.
    pub(in crate::net) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What counts against a limit of `max`: the cost, without the first frame where that alone is larger. Such a frame is taken
    /// when nothing else is queued, and those behind it are not to blame for it.
    pub(in crate::net) fn counted_cost(&self, max: usize) -> usize {
        let first = self.frames.first.as_ref().map_or(0, |frame| frame.websocket().len());
        let excused = if first > max && self.preamble.is_none() { first - self.written.min(first) } else { 0 };
        self.cost() - excused
    }

    pub(in crate::net) fn is_empty(&self) -> bool {
        self.frames.first.is_none() && self.preamble.is_none()
    }

    /// Writes until the queue is empty (`Ok(true)`) or `write` would block (`Ok(false)`). `gather` is a buffer lent for
    /// the call.
    pub(in crate::net) fn write_to(
        &mut self,
        gather: &mut Vec<u8>,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        while let Some(first) = self.first() {
            let first = first.get(self.written..).unwrap_or_default();
            let written = if (self.frames.rest.is_none() && self.preamble.is_none()) || first.len() >= GATHER {
                write(first)
            } else {
                gather.clear();
                gather.extend_from_slice(first);
                for frame in self.frames.iter().skip(usize::from(self.preamble.is_none())) {
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
        while let Some(first) = self.first().map(<[u8]>::len) {
            if self.written < first {
                break;
            }
            self.written -= first;
            if self.preamble.take().is_none() {
                self.frames.pop();
            }
        }
    }

    /// What to write next: the preamble, or else the first frame.
    fn first(&self) -> Option<&[u8]> {
        match &self.preamble {
            Some(preamble) => Some(preamble),
            None => self.frames.first.as_ref().map(SharedFrame::websocket),
        }
    }

    /// Takes packets for one polling body: at most `frames` frames and `max` bytes, but at least one frame.
    pub(in crate::net) fn take_polling(&mut self, form: PollForm, max: usize, frames: usize) -> PollBody {
        let (bytes, binary, taken) = match form.protocol {
            Protocol::V4 => {
                let mut body = Encoder::new(max);
                let taken = self.frames.iter().take(frames).take_while(|frame| body.push(frame.polling())).count();
                (body.finish(), false, taken)
            }
            Protocol::V3 => {
                let body = payload::poll_v3::encode(self.frames.iter().take(frames), form.takes_binary, max);
                (body.bytes, body.binary, body.taken)
            }
        };
        let mut compress = false;
        for frame in (0..taken).map_while(|_| self.frames.pop()) {
            self.bytes = self.bytes.saturating_sub(frame.websocket().len());
            compress |= frame.may_compress();
        }
        PollBody { bytes, binary, compress }
    }

    /// Converts every frame to the form that `wire` asks for. Nothing may have been written yet.
    pub(in crate::net) fn adapt(&mut self, wire: Wire) {
        for frame in std::mem::take(self).frames.iter() {
            self.push(frame.adapt(wire));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(len: usize) -> SharedFrame {
        SharedFrame::message(&[&vec![b'x'; len]], &[])
    }

    /// A peer that accepts `step` bytes for each write, and `room` bytes in all.
    fn drain(queue: &mut SendQueue, step: usize, mut room: usize) -> (io::Result<bool>, Vec<u8>) {
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
    fn partial_writes_give_the_same_bytes_and_the_cost_returns_to_zero() {
        let frames: Vec<_> = [1, 100, 20_000, 3, 70_000, 0, 9].into_iter().map(text).collect();
        let expected: Vec<u8> = frames.iter().flat_map(|frame| frame.websocket().to_vec()).collect();
        for step in [1, 7, 1000, usize::MAX] {
            let mut queue = SendQueue::default();
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
    fn a_preamble_is_written_together_with_the_frames_after_it() {
        let frames: Vec<_> = [5, 300].into_iter().map(text).collect();
        let expected: Vec<u8> = frames.iter().fold(b"101".to_vec(), |all, frame| [&all, frame.websocket()].concat());
        for step in [1, 2, 3, 4, 1000] {
            let mut queue = SendQueue::default();
            queue.set_preamble(b"101".to_vec());
            assert!(!queue.is_empty());
            frames.iter().for_each(|frame| queue.push(frame.clone()));
            assert_eq!(queue.cost(), expected.len() + 2 * FRAME_COST);
            let mut writes = 0;
            let result = queue.write_to(&mut Vec::new(), |bytes| {
                writes += 1;
                Ok(bytes.len().min(step))
            });
            assert!(result.unwrap());
            assert_eq!((writes, queue.cost(), queue.is_empty()), (expected.len().div_ceil(step), 0, true), "{step}");
        }
        let mut queue = SendQueue::default();
        queue.set_preamble(b"101".to_vec());
        frames.iter().for_each(|frame| queue.push(frame.clone()));
        assert_eq!(drain(&mut queue, 2, usize::MAX).1, expected);
    }

    #[test]
    fn a_frame_larger_than_the_limit_counts_for_itself_alone() {
        let mut queue = SendQueue::default();
        queue.push(text(5000));
        queue.push(text(70));
        let behind = queue.cost() - text(5000).websocket().len();
        assert_eq!((queue.counted_cost(1000), queue.counted_cost(6000)), (behind, queue.cost()));
        drain(&mut queue, 100, 4000).0.unwrap();
        assert_eq!(queue.counted_cost(1000), behind);
        drain(&mut queue, 100, 2000).0.unwrap();
        assert_eq!((queue.counted_cost(1000), queue.is_empty()), (0, true));
    }

    #[test]
    fn a_polling_body_stops_at_the_cap_but_takes_one_packet() {
        let mut queue = SendQueue::default();
        [text(3), text(3), text(30)].into_iter().for_each(|frame| queue.push(frame));
        let v4 = PollForm { protocol: Protocol::V4, takes_binary: true };
        assert_eq!(queue.take_polling(v4, 10, usize::MAX).bytes, b"4xxx\x1e4xxx");
        assert_eq!(queue.take_polling(v4, 10, usize::MAX).bytes.len(), 31);
        assert_eq!((queue.cost(), queue.is_empty()), (0, true));
    }

    #[test]
    fn a_polling_body_of_v3_has_its_form_and_says_whether_it_may_be_compressed() {
        let binary = SharedFrame::packet(&crate::packet::Outbound::Message(crate::Message::Binary(vec![1, 2].into())));
        for (takes_binary, expected) in
            [(true, &b"\x00\x02\xff4x\x01\x03\xff\x04\x01\x02"[..]), (false, b"2:4x6:b4AQI=")]
        {
            let mut queue = SendQueue::default();
            [text(1), binary.clone()].into_iter().for_each(|frame| queue.push(frame.without_compression()));
            let body = queue.take_polling(PollForm { protocol: Protocol::V3, takes_binary }, 100, usize::MAX);
            assert_eq!(body, PollBody { bytes: expected.to_vec(), binary: takes_binary, compress: false });
            assert_eq!((queue.cost(), queue.is_empty()), (0, true));
        }
        let v3 = PollForm { protocol: Protocol::V3, takes_binary: true };
        let close = PollBody { bytes: b"1:1".to_vec(), binary: false, compress: true };
        assert_eq!(PollBody::of(SharedFrame::close(None), v3), close);
    }

    #[test]
    fn frames_that_move_to_a_websocket_are_counted_in_their_new_form() {
        let mut queue = SendQueue::default();
        let bytes = crate::Message::Binary(vec![7; 300].into());
        queue.push(SharedFrame::packet(&crate::packet::Outbound::Message(bytes)));
        queue.adapt(Wire { base64: true, ..Wire::default() });
        assert_eq!(queue.cost(), 4 + 1 + 400 + FRAME_COST);
        let (written, out) = drain(&mut queue, 1000, 1000);
        assert!(written.unwrap() && out.starts_with(b"\x81\x7e\x01\x91b"));
        assert_eq!(queue.cost(), 0);
    }
}
