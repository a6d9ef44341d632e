//! Any request at the embedded S3, signed or not: no panic, no fault of the server's, and nothing
//! is written or told for one that is not signed. What an input is, is said where it is read.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use stowage_engine_embedded::fuzzing::Target;
use tokio::runtime::{Builder, Runtime};

static TARGET: OnceLock<(Runtime, Target)> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let (runtime, target) = TARGET.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        // It stays when the run ends: a fuzzer is killed, and nothing of it cleans up.
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        let target = runtime.block_on(Target::open(&folder)).expect("the engine opens");
        (runtime, target)
    });
    let _ = runtime.block_on(target.answer(input));
});
