//! See `TARGETS` in `src/fuzzing.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| opdbus::fuzzing::target("mcp")(data));
