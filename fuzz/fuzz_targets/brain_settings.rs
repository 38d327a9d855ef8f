//! The target `brain_settings`: what must hold stands in `mock_brain::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mock_brain::fuzz::brain_settings(bytes));
