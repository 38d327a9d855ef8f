//! The target `fault`: what must hold stands in `mock_brain::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mock_brain::fuzz::fault(bytes));
