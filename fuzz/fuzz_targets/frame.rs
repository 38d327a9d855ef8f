//! The target `frame`: what must hold stands in `z4j_protocol::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| z4j_protocol::fuzz::frame(bytes));
