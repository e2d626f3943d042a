//! libFuzzer's entry to [`fuzz::payload_v3`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::payload_v3(data));
