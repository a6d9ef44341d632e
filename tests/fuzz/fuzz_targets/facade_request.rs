//! Any query, any content type, any body: the facade's parser reads or refuses, and every action's
//! check of parameters says yes or no.
//!
//! An input is the content type, a line end, the query, a line end, and the body.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let content_type = parts.next().unwrap_or_default();
    let query = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let body = parts.next().unwrap_or_default();
    let _ = stowage_gateway::fuzzing::read_request(&query, content_type, body);
});
