//! Any query, any content type, any body: the facade's parser reads or refuses, and every action's
//! check of parameters says yes or no.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = stowage_gateway::fuzzing::read_input(input);
});
