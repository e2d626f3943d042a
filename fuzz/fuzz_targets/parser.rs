//! libFuzzer's entry to [`fuzz::parser`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::parser(data));
