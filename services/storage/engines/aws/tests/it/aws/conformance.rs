//! The suite that every engine runs.

use std::sync::Arc;

use stowage_engine::conformance::{Failure, Troubled, conformance};

use super::kit::{engine, s3, seed};

/// The double says of every upload that it was begun in 2010.
const OF_THE_DOUBLE: [&str; 1] = ["old uploads are ended"];

fn assert_conforms(failures: &[Failure]) {
    let cases: Vec<_> = failures.iter().map(|failure| failure.case).collect();
    assert_eq!(cases, OF_THE_DOUBLE, "{failures:#?}");
}

#[tokio::test]
async fn the_engine_conforms() {
    let engine = engine();
    assert_conforms(&conformance(&engine, &s3(), &seed()).await);
}

#[tokio::test]
async fn the_engine_conforms_behind_a_network_that_fails_and_repeats() {
    let engine = Troubled::engine(Arc::new(engine()));
    assert_conforms(&conformance(&*engine, &s3(), &seed()).await);
}
