//! libFuzzer's entry to [`fuzz::msgpack`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::msgpack(data));
