//! Checks that every delivery comes exactly once and in order: each message has a number, and the ledger knows which
//! messages each member has not received yet.
//!
//! The common case costs three array accesses. The first member to receive a message sets its position in the room's
//! order, and every other member is only compared with that order. A member that deviates from it (through a loss, a
//! duplicate or another order) is from then on checked against its own set. So the counts stay exact, but cost more
//! time.

use serde::{Deserialize, Serialize};

use crate::crowd::Packet;

/// Bytes of a message's text, unless a benchmark measures another length.
pub const TEXT_LEN: usize = 128;
const MARK: &[u8] = b"@bench:";
const DIGITS: usize = 10;

/// The text of message `number`: mark, number, filler. It has `len` bytes, at least 18, and nothing that JSON would
/// escape.
pub fn text(number: u32, len: usize) -> String {
    let filler = len.saturating_sub(MARK.len() + DIGITS + 1);
    format!("@bench:{number:0digits$}@{:a<filler$}", "", digits = DIGITS)
}

/// The attachment of message `number`: the number, and a pattern up to `len` bytes.
pub fn attachment(number: u32, len: usize) -> Vec<u8> {
    let pattern = (0..=250_u8).cycle();
    number.to_be_bytes().into_iter().chain(pattern).take(len).collect()
}

/// Faults among the deliveries; all zero for a correct server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Deliveries that never came.
    pub lost: u64,
    /// Deliveries of a message the member already had.
    pub duplicated: u64,
    /// Deliveries that came after a later message of the same sender.
    pub reordered: u64,
    /// `message` events without our text, with a damaged text, or with a number that was never sent.
    pub corrupt: u64,
    /// Members that saw another order than the first to receive; a loss or a duplicate also counts here.
    pub diverged: u64,
}

impl Faults {
    /// Adds the faults of another room.
    pub fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
        self.diverged += other.diverged;
    }

    /// Whether there are no faults.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// The state of one message.
#[derive(Debug, Clone, Copy)]
struct Message {
    /// How many members have not received it yet.
    owed: u32,
    /// Whether it has its position in the room's order.
    placed: bool,
}

/// What one member that deviated from the common order has received.
#[derive(Debug)]
struct Own {
    received: Vec<bool>,
    newest: Vec<Option<u32>>,
}

/// The deliveries of one room.
#[derive(Debug)]
pub struct Ledger {
    members: u32,
    /// By message number.
    messages: Vec<Message>,
    /// How many messages have not reached every member.
    open: usize,
    deliveries: u64,
    faults: Faults,
    /// The room's order: each message's index, and whether it comes after a later message of its sender.
    order: Vec<(u32, bool)>,
    /// For each sender: the newest message in `order`.
    newest: Vec<Option<u32>>,
    /// For each member: how much of `order` it has received.
    position: Vec<usize>,
    own: Vec<Option<Box<Own>>>,
    /// Where the mark was in the last payload; a server formats all its events alike.
    offset: usize,
    /// The number of the first message.
    first: u32,
    text_len: usize,
    /// What each message has after its number; empty without attachments.
    pattern: Vec<u8>,
    /// For each member: the message whose attachment comes next.
    awaited: Vec<Option<u32>>,
}

/// The form of a [`Ledger`]'s messages.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The number of the first message. Ledgers of several rooms start far apart, so that a message in the wrong room
    /// is noticed.
    pub first: u32,
    /// Bytes of text.
    pub text: usize,
    /// Bytes of the attachment; 0 for none, otherwise at least 4.
    pub attachment: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { first: 0, text: TEXT_LEN, attachment: 0 }
    }
}

impl Ledger {
    /// A ledger for `members` members; sender `n % senders` sends the `n`th message.
    pub fn new(members: usize, senders: usize, shape: Shape) -> Self {
        Self {
            members: u32::try_from(members).unwrap_or(u32::MAX),
            messages: Vec::new(),
            open: 0,
            deliveries: 0,
            faults: Faults::default(),
            order: Vec::new(),
            newest: vec![None; senders],
            position: vec![0; members],
            own: (0..members).map(|_| None).collect(),
            offset: 0,
            first: shape.first,
            text_len: shape.text,
            pattern: attachment(0, shape.attachment).split_off(shape.attachment.min(4)),
            awaited: vec![None; members],
        }
    }

    /// Records a message as sent to every member. Returns its number and its sender.
    pub fn send(&mut self) -> (u32, usize) {
        let index = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        self.messages.push(Message { owed: self.members, placed: false });
        self.open += 1;
        (self.first + index, index as usize % self.newest.len())
    }

    /// Messages not yet received by every member.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Messages sent so far.
    pub fn sent(&self) -> usize {
        self.messages.len()
    }

    /// First deliveries so far.
    pub fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// The faults so far; messages that have not come yet count as lost.
    pub fn faults(&self) -> Faults {
        Faults { lost: self.messages.iter().map(|message| u64::from(message.owed)).sum(), ..self.faults }
    }

    /// Records one Engine.IO packet that `member` received. Returns the index of the message that it completes, if the
    /// message had not come before. Anything but a `message` event and its attachment is ignored.
    #[inline]
    pub fn receive(&mut self, member: usize, packet: Packet<'_>) -> Option<usize> {
        match packet {
            Packet::Text(text) if self.pattern.is_empty() => {
                if !text.starts_with(b"42[\"message\",") {
                    return None;
                }
                match self.index(text) {
                    Some(index) => self.deliver(member, index),
                    None => self.corrupt(),
                }
            }
            Packet::Text(text) => {
                if text.starts_with(b"451-[\"message\",") {
                    let index = self.index(text);
                    self.faults.corrupt += u64::from(index.is_none() || self.awaited[member].is_some());
                    self.awaited[member] = index;
                } else if text.starts_with(b"42[\"message\",") {
                    // It must come with an attachment here.
                    return self.corrupt();
                }
                None
            }
            Packet::Binary(bytes) => {
                let index = self.awaited[member].take();
                match index.filter(|index| self.is_attachment(bytes, self.first + index)) {
                    Some(index) => self.deliver(member, index),
                    None => self.corrupt(),
                }
            }
        }
    }

    fn corrupt(&mut self) -> Option<usize> {
        self.faults.corrupt += 1;
        None
    }

    fn is_attachment(&self, bytes: &[u8], number: u32) -> bool {
        bytes.split_first_chunk().is_some_and(|(first, rest)| *first == number.to_be_bytes() && rest == self.pattern)
    }

    /// The index of the message whose text `packet` holds; `None` if the text is not exactly what was sent.
    fn index(&mut self, packet: &[u8]) -> Option<u32> {
        if packet.get(self.offset..).is_none_or(|rest| !rest.starts_with(MARK)) {
            self.offset = packet.windows(MARK.len()).position(|window| window == MARK)?;
        }
        let text = packet.get(self.offset + MARK.len()..self.offset + self.text_len + 1)?;
        let (digits, rest) = text.split_at(DIGITS);
        let number = digits.iter().try_fold(0_u32, |number, digit| {
            digit.is_ascii_digit().then(|| number.checked_mul(10)?.checked_add(u32::from(digit - b'0')))?
        })?;
        let intact = rest.split_first()?.0 == &b'@' && rest.ends_with(b"\"");
        let filled = rest[1..rest.len() - 1].iter().fold(true, |filled, byte| filled & (*byte == b'a'));
        let index = number.checked_sub(self.first)?;
        (intact && filled && (index as usize) < self.messages.len()).then_some(index)
    }

    fn deliver(&mut self, member: usize, index: u32) -> Option<usize> {
        if self.own[member].is_none() {
            let position = self.position[member];
            if position == self.order.len() && !self.messages[index as usize].placed {
                self.extend_order(index);
            }
            if let Some(&(expected, late)) = self.order.get(position)
                && expected == index
            {
                self.position[member] += 1;
                self.faults.reordered += u64::from(late);
                return self.count_delivery(index);
            }
            self.diverge(member);
        }
        self.deliver_alone(member, index)
    }

    /// Sets the position of `index`, which this member is the first to receive.
    fn extend_order(&mut self, index: u32) {
        let sender = index as usize % self.newest.len();
        let newest = &mut self.newest[sender];
        let late = newest.is_some_and(|newest| newest > index);
        *newest = (*newest).max(Some(index));
        self.messages[index as usize].placed = true;
        self.order.push((index, late));
    }

    /// Copies what `member` has received so far, and checks it separately from now on.
    fn diverge(&mut self, member: usize) {
        let mut own = Own { received: vec![false; self.messages.len()], newest: vec![None; self.newest.len()] };
        for &(index, _) in &self.order[..self.position[member]] {
            own.received[index as usize] = true;
            let newest = &mut own.newest[index as usize % self.newest.len()];
            *newest = (*newest).max(Some(index));
        }
        self.own[member] = Some(Box::new(own));
        self.faults.diverged += 1;
    }

    fn deliver_alone(&mut self, member: usize, index: u32) -> Option<usize> {
        let own = self.own[member].as_mut()?;
        own.received.resize(self.messages.len(), false);
        if std::mem::replace(&mut own.received[index as usize], true) {
            self.faults.duplicated += 1;
            return None;
        }
        let sender = index as usize % own.newest.len();
        if own.newest[sender].is_some_and(|newest| newest > index) {
            self.faults.reordered += 1;
        }
        own.newest[sender] = own.newest[sender].max(Some(index));
        self.count_delivery(index)
    }

    fn count_delivery(&mut self, index: u32) -> Option<usize> {
        let message = &mut self.messages[index as usize];
        message.owed -= 1;
        self.open -= usize::from(message.owed == 0);
        self.deliveries += 1;
        Some(index as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(number: u32) -> Vec<u8> {
        format!("42[\"message\",{{\"id\":\"x\",\"message\":\"{}\",\"userId\":\"u\"}}]", text(number, TEXT_LEN))
            .into_bytes()
    }

    /// Sends `sent` messages from `senders` senders to one member for each list, then delivers the lists in turn.
    fn account(senders: usize, sent: u32, received: &[&[u32]]) -> Ledger {
        let mut ledger = Ledger::new(received.len(), senders, Shape::default());
        for number in 0..sent {
            assert_eq!(ledger.send(), (number, number as usize % senders));
        }
        for (member, numbers) in received.iter().enumerate() {
            for &number in *numbers {
                ledger.receive(member, Packet::Text(&packet(number)));
            }
        }
        ledger
    }

    #[test]
    fn the_text_has_its_length_and_nothing_to_escape() {
        for number in [0, 7, u32::MAX] {
            assert_eq!(text(number, TEXT_LEN).len(), TEXT_LEN);
            assert_eq!(serde_json::to_string(&text(number, TEXT_LEN)).unwrap().len(), TEXT_LEN + 2);
        }
    }

    /// Name, senders, messages sent, what each member receives, and the expected faults.
    struct Case(&'static str, usize, u32, &'static [&'static [u32]], Faults);

    #[test]
    fn counts_each_fault_exactly() {
        let (lost, duplicated, reordered, corrupt, diverged) = (0, 0, 0, 0, 0);
        let clean = Faults { lost, duplicated, reordered, corrupt, diverged };
        let cases = [
            Case("clean", 2, 4, &[&[0, 1, 2, 3], &[0, 1, 2, 3]], clean),
            Case("another order of two senders is no reordering, if all agree", 2, 2, &[&[1, 0], &[1, 0]], clean),
            Case("members disagree", 2, 2, &[&[0, 1], &[1, 0]], Faults { diverged: 1, ..clean }),
            Case("lost in the middle", 1, 3, &[&[0, 1, 2], &[0, 2]], Faults { lost: 1, diverged: 1, ..clean }),
            Case("lost at the end", 1, 3, &[&[0, 1, 2], &[0, 1]], Faults { lost: 1, ..clean }),
            Case("lost for all", 1, 2, &[&[1], &[1]], Faults { lost: 2, ..clean }),
            Case("twice in a row", 1, 2, &[&[0, 1], &[0, 0, 1]], Faults { duplicated: 1, diverged: 1, ..clean }),
            Case("the first twice", 1, 2, &[&[0, 0, 1], &[0, 1]], Faults { duplicated: 1, diverged: 1, ..clean }),
            Case("one sender reordered, all agree", 1, 2, &[&[1, 0], &[1, 0]], Faults { reordered: 2, ..clean }),
        ];
        for Case(name, senders, sent, received, faults) in cases {
            let ledger = account(senders, sent, received);
            assert_eq!(ledger.faults(), faults, "{name}");
            assert_eq!(ledger.open() == 0, faults.lost == 0, "{name}");
            assert_eq!(ledger.faults().is_clean(), faults == clean, "{name}");
        }
    }

    #[test]
    fn a_text_that_is_not_ours_is_corrupt_and_another_event_is_ignored() {
        let good = String::from_utf8(packet(0)).unwrap();
        let damaged = good.replacen("aaaa", "aaba", 1);
        let cut = good.replacen("aaaa", "aaa", 1);
        let unsent = String::from_utf8(packet(1)).unwrap();
        let foreign = "42[\"message\",{\"message\":\"hello\"}]".to_owned();
        for packet in [damaged, cut, unsent, foreign] {
            let mut ledger = account(1, 1, &[&[]]);
            ledger.receive(0, Packet::Text(packet.as_bytes()));
            assert_eq!(ledger.faults(), Faults { corrupt: 1, lost: 1, ..Faults::default() }, "{packet}");
        }
        let mut ledger = account(1, 0, &[&[]]);
        ledger.receive(0, Packet::Text(b"42[\"userStatus\",{}]"));
        assert!(ledger.faults().is_clean());
    }

    #[test]
    fn a_message_with_an_attachment_counts_when_both_have_come() {
        let shape = Shape { first: 5, attachment: 1000, ..Shape::default() };
        let head = |number| format!("451-[\"message\",{{\"message\":\"{}\"}}]", text(number, TEXT_LEN));
        let (head_5, whole) = (head(5), attachment(5, 1000));
        let mut ledger = Ledger::new(1, 1, shape);
        assert_eq!(ledger.send(), (5, 0));
        assert_eq!(ledger.receive(0, Packet::Text(head_5.as_bytes())), None);
        assert_eq!(ledger.receive(0, Packet::Binary(&whole)), Some(0));
        assert!(ledger.faults().is_clean());
        let mut damaged = whole.clone();
        damaged[999] ^= 1;
        let (foreign, head_4, head_6, bare) = (attachment(6, 1000), head(4), head(6), packet(5));
        let wrong: [&[Packet<'_>]; 8] = [
            &[Packet::Text(&bare)],
            &[Packet::Binary(&whole)],
            &[Packet::Text(head_5.as_bytes()), Packet::Binary(&damaged)],
            &[Packet::Text(head_5.as_bytes()), Packet::Binary(&whole[..999])],
            &[Packet::Text(head_5.as_bytes()), Packet::Binary(&foreign)],
            &[Packet::Text(head_5.as_bytes()), Packet::Text(head_5.as_bytes()), Packet::Binary(&whole)],
            &[Packet::Text(head_4.as_bytes())],
            &[Packet::Text(head_6.as_bytes())],
        ];
        for (case, packets) in wrong.into_iter().enumerate() {
            let mut ledger = Ledger::new(1, 1, shape);
            ledger.send();
            for packet in packets {
                ledger.receive(0, *packet);
            }
            assert_eq!(ledger.faults().corrupt, 1, "case {case}");
        }
    }

    proptest! {
        /// Compared with the obvious method: a set and a newest number for each member and sender.
        #[test]
        fn agrees_with_a_set_per_member(
            senders in 1_usize..4,
            steps in prop::collection::vec((0_usize..3, 0_u32..8), 0..60),
        ) {
            let mut ledger = account(senders, 8, &[&[], &[], &[]]);
            let mut seen = std::collections::HashSet::new();
            let mut newest = std::collections::HashMap::new();
            let (mut duplicated, mut reordered) = (0, 0);
            for (member, number) in steps {
                ledger.receive(member, Packet::Text(&packet(number)));
                if seen.insert((member, number)) {
                    let newest = newest.entry((member, number as usize % senders)).or_insert(number);
                    reordered += u64::from(*newest > number);
                    *newest = (*newest).max(number);
                } else {
                    duplicated += 1;
                }
            }
            let faults = ledger.faults();
            prop_assert_eq!((faults.duplicated, faults.reordered), (duplicated, reordered));
            prop_assert_eq!(faults.lost, 24 - seen.len() as u64);
            prop_assert_eq!(ledger.deliveries(), seen.len() as u64);
        }
    }
}
