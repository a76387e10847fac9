#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| djinn_fuzz::import("swe-agent", bytes));
