//! See `fuzz::reader`.
#![no_main]

#[global_allocator]
static LIMIT: fuzz::Limit = fuzz::Limit;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::reader::run(bytes));
