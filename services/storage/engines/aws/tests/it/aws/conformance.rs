//! The suite that every engine runs.

use std::sync::Arc;

use stowage_engine::conformance::{Troubled, conformance};

use super::kit::{engine, s3, seed};

#[tokio::test]
async fn the_engine_conforms() {
    let engine = engine();
    let failures = conformance(&engine, &s3(), &seed()).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn the_engine_conforms_behind_a_network_that_fails_and_repeats() {
    let engine = Troubled::engine(Arc::new(engine()));
    let failures = conformance(&*engine, &s3(), &seed()).await;
    assert!(failures.is_empty(), "{failures:#?}");
}
