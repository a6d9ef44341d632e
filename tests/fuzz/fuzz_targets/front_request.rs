//! Any request before a metering front: reading whose it is never fails. What an input is, is said
//! where it is read.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = stowage_storage_front::fuzzing::read_input(input);
});
