//! [`Unread`]: bytes that were read from a peer and are not decoded yet.

/// Bytes of which a first part has been consumed; never all of them. (They may hold many small frames, so the rest is
/// not moved after each frame.)
#[derive(Debug)]
pub(in crate::net) struct Unread {
    bytes: Vec<u8>,
    taken: usize,
}

impl Unread {
    /// These bytes, if there are any. Boxed, because most connections have none and should pay only for a pointer.
    pub(in crate::net) fn new(bytes: Vec<u8>) -> Option<Box<Self>> {
        if bytes.is_empty() { None } else { Some(Box::new(Self { bytes, taken: 0 })) }
    }

    /// The bytes that are not consumed yet.
    pub(in crate::net) fn rest(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.taken..).unwrap_or_default()
    }

    /// Marks all but the last `left` bytes as consumed.
    pub(in crate::net) fn keep_last(mut self: Box<Self>, left: usize) -> Option<Box<Self>> {
        self.taken = self.bytes.len().saturating_sub(left);
        if left == 0 { None } else { Some(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_not_moved() {
        assert!(Unread::new(Vec::new()).is_none());
        let mut unread = Unread::new(b"abcdef".to_vec()).unwrap();
        let place = unread.rest().as_ptr();
        let mut unread = unread.keep_last(4).unwrap();
        assert_eq!(unread.rest(), b"cdef");
        assert_eq!(unread.rest().as_ptr() as usize, place as usize + 2);
        let mut unread = unread.keep_last(1).unwrap();
        assert_eq!(unread.rest(), b"f");
        assert!(unread.keep_last(0).is_none());
    }
}
