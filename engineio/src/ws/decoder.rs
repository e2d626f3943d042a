//! Decodes a client's bytes into messages and control frames.
//!
//! A frame that is complete in the input is unmasked in place and borrowed. A frame or message that arrives in parts is
//! collected in a [`Partial`], which exists only until it is complete. RFC 6455 sections 5.4 to 5.6.

use std::borrow::Cow;
use std::{mem, str};

use smallvec::SmallVec;

use super::header::{self, FrameHeader, MAX_LEN, Opcode};
use super::utf8::TextBuffer;
use super::{ProtocolError, close, deflate, mask};

/// The most fragments of a message. Fragments may be empty, so the limit on bytes does not bound their number. The
/// usual conformance suite needs half of it: it sends 4 MiB in fragments of 64 bytes.
pub const MAX_FRAGMENTS: u32 = 131_072;

/// What a client sent. Borrowed if it was complete in the input, owned if it had to be collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'i> {
    /// A text message.
    Text(Cow<'i, str>),
    /// A binary message.
    Binary(Cow<'i, [u8]>),
    /// A ping. The caller must answer with a pong with the same bytes.
    Ping(Cow<'i, [u8]>),
    /// A pong, solicited or not. Its bytes are dropped.
    Pong,
    /// A close frame, with its code and reason if it has them. The last item.
    Close(Option<(u16, Cow<'i, str>)>),
}

/// Decodes the frames of one client. While idle it is three words and owns no memory.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    partial: Option<Box<Partial>>,
    /// After a close frame or an error all input is ignored (5.5.1, 7.1.7).
    closed: bool,
    /// The bits of a header that must be 0.
    reserved: u8,
    /// How many bytes were discarded.
    discarded: u32,
}

/// The received part of a header, a frame or a message that is not complete.
#[derive(Debug, Default)]
struct Partial {
    /// The bytes of an incomplete header; empty otherwise.
    head: SmallVec<[u8; MAX_LEN]>,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The received payload of `frame`, if that is a control frame.
    control: Vec<u8>,
    /// The message whose fragments, or whose only frame, are still arriving.
    message: Option<Gathering>,
}

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    key: [u8; 4],
    len: usize,
    received: usize,
}

/// A message, collected in one buffer whatever its fragments are.
#[derive(Debug)]
struct Gathering {
    body: Body,
    /// The length of all frames admitted so far, including the rest of the current frame.
    admitted: usize,
    fragments: u32,
}

#[derive(Debug)]
enum Body {
    Text(TextBuffer),
    Binary(Vec<u8>),
    /// Compressed. It is inflated when it is complete, so that no inflater state is kept meanwhile.
    Compressed {
        text: bool,
        bytes: Vec<u8>,
    },
}

impl Decoder {
    /// A decoder for messages of at most `max_message` bytes, all fragments together.
    #[must_use]
    pub const fn new(max_message: usize) -> Self {
        Self { max_message, partial: None, closed: false, reserved: header::RESERVED_BITS, discarded: 0 }
    }

    /// A decoder for a connection on which permessage-deflate was agreed. A compressed message may have `max_message`
    /// bytes before and after it is inflated.
    #[must_use]
    pub const fn with_deflate(max_message: usize) -> Self {
        Self { max_message, partial: None, closed: false, reserved: header::RESERVED_BITS_DEFLATE, discarded: 0 }
    }

    /// Changes the limit of messages, from the next header on.
    pub const fn set_max_message(&mut self, max_message: usize) {
        self.max_message = max_message;
    }

    /// Frees what was kept of an unfinished message. All further input is discarded.
    pub fn end(&mut self) {
        self.closed = true;
        self.partial = None;
    }

    /// Discards input. Then all further input is discarded too.
    pub fn discard(&mut self, input: &[u8]) {
        self.end();
        self.discarded = self.discarded.saturating_add(u32::try_from(input.len()).unwrap_or(u32::MAX));
    }

    /// How many bytes were discarded: by [`Decoder::discard`], or because they came after the last item.
    #[must_use]
    pub const fn discarded(&self) -> u32 {
        self.discarded
    }

    /// Takes the next item from `input`, which is unmasked in place and left with what follows the item. `None` means
    /// that all input was consumed; an incomplete part is kept in the decoder.
    ///
    /// After a close frame or an error all input is discarded, and no more items are returned.
    ///
    /// # Errors
    /// When the client broke the protocol: at the byte that proves it, or, for a message that is too long, at the
    /// header that declares it.
    pub fn decode<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Option<Item<'i>>, ProtocolError> {
        if self.closed {
            let rest = mem::take(input);
            self.discard(rest);
            return Ok(None);
        }
        let item = self.next_item(input);
        if matches!(item, Ok(Some(Item::Close(_))) | Err(_)) {
            self.closed = true;
            self.partial = None;
        }
        item
    }

    /// Bytes of heap in use: none between messages, and never more than about twice what was received.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message = partial.message.as_ref().map_or(0, |message| match &message.body {
                Body::Text(text) => text.capacity(),
                Body::Binary(bytes) | Body::Compressed { bytes, .. } => bytes.capacity(),
            });
            size_of::<Partial>() + partial.control.capacity() + message
        })
    }

    fn next_item<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Option<Item<'i>>, ProtocolError> {
        loop {
            if self.partial.as_ref().is_none_or(|partial| partial.frame.is_none()) {
                let Some(header) = self.next_header(input)? else { return Ok(None) };
                let len = self.admit(header.opcode, header.len)?;
                // A control frame, or a message of one frame: nothing is collected if all of it is here.
                if header.fin
                    && header.opcode != Opcode::Continuation
                    && let Some(payload) = input.split_off_mut(..len)
                {
                    mask::unmask(payload, header.key, 0);
                    self.release();
                    if header.compressed {
                        return inflated(header.opcode == Opcode::Text, payload, self.max_message).map(Some);
                    }
                    return borrowed(header.opcode, payload).map(Some);
                }
                self.begin(&header, len);
            }
            if let Some(item) = self.receive(input)? {
                self.release();
                return Ok(Some(item));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Takes the next header from the input. If it is incomplete, keeps it and returns `None`.
    fn next_header(&mut self, input: &mut &mut [u8]) -> Result<Option<FrameHeader>, ProtocolError> {
        if let Some(partial) = self.partial.as_deref_mut().filter(|partial| !partial.head.is_empty()) {
            let kept = partial.head.len();
            partial.head.extend_from_slice(input.get(..MAX_LEN.saturating_sub(kept)).unwrap_or(input));
            if let Some((header, size)) = header::decode_with(&partial.head, self.reserved)? {
                partial.head.clear();
                advance(input, size.saturating_sub(kept));
                return Ok(Some(header));
            }
            *input = &mut [];
            return self.check_declared().map(|()| None);
        }
        if input.is_empty() {
            return Ok(None);
        }
        if let Some((header, size)) = header::decode_with(input, self.reserved)? {
            advance(input, size);
            return Ok(Some(header));
        }
        let start = mem::take(input);
        self.partial.get_or_insert_default().head.extend_from_slice(start);
        self.check_declared().map(|()| None)
    }

    /// Refuses a frame that is not allowed here, or is too long, even before its masking key has arrived.
    fn check_declared(&self) -> Result<(), ProtocolError> {
        match self.partial.as_ref().and_then(|partial| header::declared(&partial.head, self.reserved)) {
            Some((opcode, len)) => self.admit(opcode, len).map(|_| ()),
            None => Ok(()),
        }
    }

    /// The length of the message after a frame of `len` bytes, or the error that it is too long.
    fn total(&self, message: Option<&Gathering>, len: u64) -> Result<usize, ProtocolError> {
        let before = message.map_or(0, |message| message.admitted);
        let total = usize::try_from(len).ok().and_then(|len| len.checked_add(before));
        total.filter(|&total| total <= self.max_message).ok_or(ProtocolError::MessageTooBig)
    }

    /// Checks whether a frame may follow what came before, and returns its length. The answer is the same with and
    /// without the masking key, so a fault gets the same error wherever the stream is cut.
    fn admit(&self, opcode: Opcode, len: u64) -> Result<usize, ProtocolError> {
        if !opcode.is_control() {
            let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
            // 5.4: fragments of one message "MUST NOT be interleaved" with another's.
            match (opcode, message) {
                (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
                (Opcode::Continuation, Some(message)) if message.fragments >= MAX_FRAGMENTS => {
                    return Err(ProtocolError::TooManyFragments);
                }
                (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
                _ => {}
            }
            self.total(message, len)?;
        }
        usize::try_from(len).map_err(|_| ProtocolError::MessageTooBig)
    }

    /// Starts to collect the payload of an admitted frame.
    fn begin(&mut self, header: &FrameHeader, len: usize) {
        let partial = self.partial.get_or_insert_default();
        if !header.opcode.is_control() {
            let message = partial.message.get_or_insert_with(|| Gathering {
                body: match header.opcode {
                    opcode if header.compressed => Body::Compressed { text: opcode == Opcode::Text, bytes: Vec::new() },
                    Opcode::Text => Body::Text(TextBuffer::new()),
                    _ => Body::Binary(Vec::new()),
                },
                admitted: 0,
                fragments: 0,
            });
            message.admitted = message.admitted.saturating_add(len);
            message.fragments = message.fragments.saturating_add(1);
        }
        let FrameHeader { opcode, fin, key, .. } = *header;
        partial.frame = Some(Frame { opcode, fin, key, len, received: 0 });
    }

    /// Takes the payload of the current frame from the input. Returns the item if this completes one.
    fn receive<'i>(&mut self, input: &mut &mut [u8]) -> Result<Option<Item<'i>>, ProtocolError> {
        let Some(partial) = &mut self.partial else { return Ok(None) };
        let Some(frame) = &mut partial.frame else { return Ok(None) };
        let arrived = frame.len.saturating_sub(frame.received).min(input.len());
        let payload = input.split_off_mut(..arrived).unwrap_or_default();
        mask::unmask(payload, frame.key, frame.received);
        frame.received += arrived;
        let complete = frame.received == frame.len;
        let (opcode, fin) = (frame.opcode, frame.fin);
        if complete {
            partial.frame = None;
        }

        if opcode.is_control() {
            partial.control.extend_from_slice(payload);
            return if complete { owned_control(opcode, mem::take(&mut partial.control)).map(Some) } else { Ok(None) };
        }
        if let Some(message) = &mut partial.message {
            match &mut message.body {
                Body::Text(text) => text.push(payload)?,
                Body::Binary(bytes) | Body::Compressed { bytes, .. } => bytes.extend_from_slice(payload),
            }
        }
        if !(complete && fin) {
            return Ok(None);
        }
        Ok(match partial.message.take().map(|message| message.body) {
            Some(Body::Text(text)) => Some(Item::Text(Cow::Owned(text.finish()?))),
            Some(Body::Binary(bytes)) => Some(Item::Binary(Cow::Owned(bytes))),
            Some(Body::Compressed { text, bytes }) => Some(inflated(text, &bytes, self.max_message)?),
            None => None,
        })
    }

    /// Frees the box when nothing incomplete is in it.
    fn release(&mut self) {
        if self
            .partial
            .as_ref()
            .is_some_and(|partial| partial.head.is_empty() && partial.frame.is_none() && partial.message.is_none())
        {
            self.partial = None;
        }
    }
}

/// Drops the first `len` bytes of the input, or all of it if there are fewer.
fn advance(input: &mut &mut [u8], len: usize) {
    if input.split_off_mut(..len).is_none() {
        *input = &mut [];
    }
}

/// An item whose payload is complete in the input.
fn borrowed(opcode: Opcode, payload: &[u8]) -> Result<Item<'_>, ProtocolError> {
    Ok(match opcode {
        Opcode::Text => Item::Text(Cow::Borrowed(str::from_utf8(payload).map_err(|_| ProtocolError::InvalidUtf8)?)),
        Opcode::Binary | Opcode::Continuation => Item::Binary(Cow::Borrowed(payload)),
        Opcode::Ping => Item::Ping(Cow::Borrowed(payload)),
        Opcode::Pong => Item::Pong,
        Opcode::Close => Item::Close(close::decode(payload)?.map(|(code, reason)| (code, Cow::Borrowed(reason)))),
    })
}

/// A compressed message.
#[cold]
fn inflated<'i>(text: bool, payload: &[u8], max: usize) -> Result<Item<'i>, ProtocolError> {
    let message = deflate::inflate(payload, max)?;
    if !text {
        return Ok(Item::Binary(Cow::Owned(message)));
    }
    String::from_utf8(message).map(|text| Item::Text(Cow::Owned(text))).map_err(|_| ProtocolError::InvalidUtf8)
}

/// A control frame whose payload had to be collected.
fn owned_control<'i>(opcode: Opcode, payload: Vec<u8>) -> Result<Item<'i>, ProtocolError> {
    Ok(match opcode {
        Opcode::Close => {
            Item::Close(close::decode(&payload)?.map(|(code, reason)| (code, Cow::Owned(reason.to_owned()))))
        }
        Opcode::Ping => Item::Ping(Cow::Owned(payload)),
        _ => Item::Pong,
    })
}
