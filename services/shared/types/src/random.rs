//! Randomness is taken from a [`Random`] that is handed in, like time.

use std::fmt;

/// A source of random bytes, good enough for keys.
pub trait Random: Send + Sync + fmt::Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // A system that has no random bytes can make no key: going on would be worse.
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
