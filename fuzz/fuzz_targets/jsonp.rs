//! libFuzzer's entry to [`fuzz::jsonp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::jsonp(data));
