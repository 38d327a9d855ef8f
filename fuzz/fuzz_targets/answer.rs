//! The target `answer`: what must hold stands in `z4j_agent::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| z4j_agent::fuzz::answer(bytes));
