//! The decoder on connections where permessage-deflate was agreed.

use super::*;
use crate::ws::deflate::{Deflate, compress};

const TEXT: u8 = 0x81;
const RSV1: u8 = 0x40;
const ALL: Deflate = Deflate { window_bits: 15, threshold: 0, level: 6 };

/// "Hello", from RFC 7692, 7.2.3.1.
const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn inflating(bytes: &[u8], cut: usize) -> (Vec<Item<'static>>, Option<ProtocolError>) {
    let mut decoder = Decoder::with_deflate(MAX);
    let result = feed(&mut decoder, bytes.chunks(cut));
    assert_eq!(decoder.buffered(), 0, "an idle decoder owns nothing");
    result
}

#[test]
fn a_compressed_message_comes_out_inflated_however_it_is_cut() {
    let text_of_500 = "abcde".repeat(100);
    let long = compress(text_of_500.as_bytes(), ALL).unwrap();
    let (first, second) = HELLO.split_at(3);
    let table: &[(Vec<u8>, Vec<Item<'static>>)] = &[
        (frame(TEXT | RSV1, HELLO), vec![text("Hello")]),
        (frame(0x82 | RSV1, HELLO), vec![binary(b"Hello")]),
        (frame(TEXT | RSV1, &long), vec![text(&text_of_500)]),
        (frame(TEXT | RSV1, &[0]), vec![text("")]),
        // Uncompressed messages may come between compressed ones (RFC 7692, 6).
        (frames(&[(TEXT, b"plain"), (TEXT | RSV1, HELLO), (TEXT, b"")]), vec![text("plain"), text("Hello"), text("")]),
        // RSV1 on the first fragment only, and control frames between them.
        (frames(&[(0x41, first), (0x89, b"p"), (0x80, second)]), vec![ping(b"p"), text("Hello")]),
        (frames(&[(0x42, b""), (0x00, first), (0x00, b""), (0x80, second)]), vec![binary(b"Hello")]),
    ];
    for (bytes, expected) in table {
        for cut in [1, 2, 5, 7, bytes.len()] {
            assert_eq!(inflating(bytes, cut), (expected.clone(), None), "{bytes:02x?} in pieces of {cut}");
        }
    }
}

#[test]
fn the_rules_of_rsv1_and_of_the_format_are_kept() {
    use ProtocolError as E;
    let bomb = compress(&[0; MAX + 1], ALL).unwrap();
    let table: &[(Vec<u8>, E, u16)] = &[
        (frame(0x89 | RSV1, b""), E::ReservedBits, 1002),
        (frame(0x88 | RSV1, b""), E::ReservedBits, 1002),
        (frames(&[(0x41, HELLO), (0x80 | RSV1, b"")]), E::ReservedBits, 1002),
        (frames(&[(0x01, b"a"), (0x80 | RSV1, b"")]), E::ReservedBits, 1002),
        (frame(0xa1, b""), E::ReservedBits, 1002),
        (frame(0x91, b""), E::ReservedBits, 1002),
        (frame(TEXT | RSV1, b""), E::InvalidDeflate, 1007),
        (frame(TEXT | RSV1, b"\xff\xff"), E::InvalidDeflate, 1007),
        (frame(TEXT | RSV1, &compress(&[0xff; 100], ALL).unwrap()), E::InvalidUtf8, 1007),
        (frame(0x82 | RSV1, &bomb), E::MessageTooBig, 1009),
        (frames(&[(0x42, &bomb[..4]), (0x80, &bomb[4..])]), E::MessageTooBig, 1009),
        // Refused at the header, before it is collected.
        (frame(0x82 | RSV1, &[0; MAX + 1]), E::MessageTooBig, 1009),
    ];
    for (bytes, error, code) in table {
        for cut in [1, 3, bytes.len()] {
            assert_eq!(inflating(bytes, cut), (vec![], Some(*error)), "{bytes:02x?}");
        }
        assert_eq!(error.close_code(), *code);
    }
}

#[test]
fn a_message_of_exactly_the_limit_is_fine() {
    let whole = compress(&[7; MAX], ALL).unwrap();
    assert_eq!(inflating(&frame(0x82 | RSV1, &whole), 9), (vec![binary(&[7; MAX])], None));
}

#[test]
fn without_the_extension_rsv1_is_a_fault() {
    assert_eq!(whole(&frame(TEXT | RSV1, HELLO)), (vec![], Some(ProtocolError::ReservedBits)));
}

proptest! {
    #[test]
    fn no_bytes_panic_with_the_extension(bytes in proptest::collection::vec(any::<u8>(), 0..100), cut in 1..20_usize) {
        let _ = feed(&mut Decoder::with_deflate(MAX), bytes.chunks(cut));
    }

    #[test]
    fn no_compressed_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..100)) {
        let (items, _) = feed(&mut Decoder::with_deflate(MAX), [&frame(0xc2, &payload)[..]]);
        for item in items {
            prop_assert!(matches!(item, Item::Binary(bytes) if bytes.len() <= MAX));
        }
    }
}
