//! The suite that every engine runs.

use std::sync::Arc;

use stowage_engine::conformance::{Troubled, conformance};
use stowage_engine_remote::testing::Place;

use crate::kit::Kit;

fn place(kit: &Kit) -> Place {
    Place { url: format!("http://{}", kit.address), region: "eu-test-1" }
}

#[tokio::test]
async fn the_embedded_engine_conforms() {
    let kit = Kit::start().await;
    let failures = conformance(&kit.engine, &place(&kit), "e1").await;
    assert!(failures.is_empty(), "{failures:#?}");
    let again = conformance(&kit.engine, &place(&kit), "e2").await;
    assert!(again.is_empty(), "{again:#?}");
}

#[tokio::test]
async fn the_embedded_engine_conforms_behind_a_network_that_fails_and_repeats() {
    let kit = Kit::start().await;
    let engine = Troubled::engine(Arc::new(kit.engine.clone()));
    let failures = conformance(&*engine, &place(&kit), "e3").await;
    assert!(failures.is_empty(), "{failures:#?}");
}
