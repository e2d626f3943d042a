//! libFuzzer's entry to [`fuzz::ws_frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::ws_frames(data));
