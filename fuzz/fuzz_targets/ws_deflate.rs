//! libFuzzer's entry to [`fuzz::ws_deflate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::ws_deflate(data));
