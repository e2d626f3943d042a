//! libFuzzer's entry to [`fuzz::polling`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::polling(data));
