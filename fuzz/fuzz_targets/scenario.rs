//! The target `scenario`: what must hold stands in `z4j_harness::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| z4j_harness::fuzz::scenario(bytes));
