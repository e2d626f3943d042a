//! Removes the mask of a client's frame, in place.
//!
//! The mask is not a secret: it keeps proxies from mistaking a payload for something else. There is no masking here,
//! because a server's frames are not masked. RFC 6455 section 5.3.

/// Removes the mask of a part of a payload. `offset` is the position of that part in its frame's payload, in bytes.
///
/// Works in words of eight bytes, which the compiler turns into vector instructions. The tests compare it with the byte
/// loop of the specification.
pub fn unmask(payload: &mut [u8], key: [u8; 4], offset: usize) {
    let [a, b, c, d] = match offset % 4 {
        0 => key,
        1 => [key[1], key[2], key[3], key[0]],
        2 => [key[2], key[3], key[0], key[1]],
        _ => [key[3], key[0], key[1], key[2]],
    };
    // The bytes are combined in memory order, so the machine's endianness does not matter.
    let key = [a, b, c, d, a, b, c, d];
    let word_key = u64::from_ne_bytes(key);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ word_key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn byte_loop(payload: &mut [u8], key: [u8; 4], offset: usize) {
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= key[(offset + i) % 4];
        }
    }

    #[test]
    fn unmasks_the_example_of_the_specification() {
        // RFC 6455 section 5.7.
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn agrees_with_the_byte_loop_at_every_alignment_and_length() {
        let source: Vec<u8> = (0..=255).cycle().take(300).collect();
        for start in 0..16 {
            for len in 0..130 {
                for offset in [0, 1, 2, 3, 4, 7, usize::MAX] {
                    let mut fast = source[start..start + len].to_vec();
                    let mut aligned = source.clone();
                    let mut slow = fast.clone();
                    unmask(&mut fast, [0xa1, 0x00, 0xff, 0x37], offset);
                    unmask(&mut aligned[start..start + len], [0xa1, 0x00, 0xff, 0x37], offset);
                    byte_loop(&mut slow, [0xa1, 0x00, 0xff, 0x37], offset % 4);
                    assert_eq!(fast, slow, "start {start} len {len} offset {offset}");
                    assert_eq!(&aligned[start..start + len], slow);
                    assert_eq!(&aligned[start + len..], &source[start + len..], "nothing after it is touched");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn unmasking_parts_equals_unmasking_the_whole(
            source in proptest::collection::vec(any::<u8>(), 0..500), key: [u8; 4], cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(source.len() + 1);
            let mut whole = source.clone();
            byte_loop(&mut whole, key, 0);
            let mut parts = source;
            let (first, second) = parts.split_at_mut(cut);
            unmask(first, key, 0);
            unmask(second, key, cut);
            prop_assert_eq!(parts, whole);
        }
    }
}
