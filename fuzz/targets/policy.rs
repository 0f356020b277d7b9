#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ica_storage_fuzz::policy(bytes));
