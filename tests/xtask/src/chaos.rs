//! `cargo xtask chaos`: kills the release build of the server many times more than a test run does,
//! under orders and deletions, or under its S3 alone.

use crate::run;

/// Kills that are asked for without a number.
pub(crate) const KILLS: u64 = 1000;

/// What the server does when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Orders, deletions, buckets.
    Orders,
    /// Objects of the embedded S3.
    Objects,
}

impl Load {
    /// The test, by its full name.
    const fn test(self) -> &'static str {
        match self {
            Self::Orders => "chaos::orders_survive_a_server_that_is_killed_again_and_again",
            Self::Objects => {
                "chaos::objects::objects_survive_a_server_that_is_killed_again_and_again"
            }
        }
    }
}

/// Builds the program in release, where it starts fastest, and lets the test kill it.
pub(crate) fn run(load: Load, kills: u64, seed: Option<u64>) -> Result<(), String> {
    run::shown(run::cargo().args(["build", "--release", "--locked", "-p", "stowage"]))?;
    let mut test = run::cargo();
    // Not by nextest, which ends a test that takes as long as this one may.
    test.args(["test", "--locked", "-p", "stowage-end-to-end", "--test", "it", "--"]);
    test.args([load.test(), "--exact", "--nocapture"]);
    test.env("TEST_STOWAGE_BINARY", run::target().join("release").join("stowage"));
    test.env("TEST_CHAOS_KILLS", kills.to_string());
    if let Some(seed) = seed {
        test.env("TEST_CHAOS_SEED", seed.to_string());
    }
    run::shown(&mut test)
}
