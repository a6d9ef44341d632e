//! What operators see of sagas, and do to them.

use std::sync::Arc;
use std::time::Duration;

use stowage_db::testing::Scratch;
use stowage_proto::accounts::{Saga, SagaDirection, SagaStatus};
use stowage_proto::common::ErrorReason;
use stowage_proto::storage as pb;
use stowage_proto::storage::saga_service_client::SagaServiceClient;
use stowage_runtime::{RoleChannel, metadata_of};
use stowage_saga::matrix::{Fault, Faults, Injection, Moment};
use stowage_types::name;
use tonic::{Code, Status};

use crate::engine::Memory;
use crate::kit::{Kit, OWNER, Settings, assert_reason, metered_bus, until};

struct Operator {
    kit: Kit,
    faults: Arc<Faults>,
}

impl Operator {
    async fn start() -> Self {
        let faults = Arc::new(Faults::new(Vec::new()));
        let mut settings = Settings::default();
        settings.config.sagas = stowage_saga::Settings {
            attempts: 2,
            undo_attempts: 2,
            backoff_first: Duration::from_millis(1),
            faults: Some(Arc::clone(&faults)),
            ..Default::default()
        };
        let folder = Arc::new(Scratch::new().await);
        let engine = Arc::new(Memory::default());
        let kit = Kit::set(engine, folder, metered_bus(), settings).await;
        Self { kit, faults }
    }

    /// Lets every attempt at a step, or at its undo, fail.
    fn fail(&self, step: &'static str, is_undo: bool) {
        let (when, fault) = (Moment::Before, Fault::Away);
        self.faults.add(vec![Injection { step, is_undo, when, fault }]);
    }

    fn client(&self) -> SagaServiceClient<RoleChannel> {
        SagaServiceClient::new(self.kit.role.channel.clone())
    }

    async fn list(&self, status: SagaStatus) -> Vec<Saga> {
        let request = pb::ListSagasRequest { status: status.into(), ..Default::default() };
        let request = self.kit.as_administrator(request);
        self.client().list_sagas(request).await.unwrap().into_inner().sagas
    }

    async fn get(&self, name: &str) -> Result<Saga, Status> {
        let request = pb::GetSagaRequest { name: name.to_owned() };
        let request = self.kit.as_administrator(request);
        self.client().get_saga(request).await.map(tonic::Response::into_inner)
    }

    async fn retry(&self, name: &str, request_id: &str) -> Result<Saga, Status> {
        let (name, request_id) = (name.to_owned(), request_id.to_owned());
        let request = self.kit.as_administrator(pb::RetrySagaRequest { name, request_id });
        self.client().retry_saga(request).await.map(tonic::Response::into_inner)
    }

    async fn undo(&self, name: &str) -> Result<Saga, Status> {
        let request = pb::UndoSagaRequest { name: name.to_owned(), ..Default::default() };
        let request = self.kit.as_administrator(request);
        self.client().undo_saga(request).await.map(tonic::Response::into_inner)
    }

    async fn reaches(&self, name: &str, status: SagaStatus) -> Saga {
        until(async || self.get(name).await.unwrap().status() == status).await;
        self.get(name).await.unwrap()
    }
}

#[tokio::test]
async fn an_undo_that_is_stuck_says_what_it_meets_and_ends_when_it_is_tried_again() {
    let operator = Operator::start().await;
    let kit = &operator.kit;
    let uid = kit.account().await;
    operator.fail("make_bucket", false);
    operator.fail("make_bucket", true);
    let away = kit.create_bucket(OWNER, &uid, "photos").await;
    assert_reason(away, Code::Unavailable, ErrorReason::EngineUnavailable);
    let stuck = operator.list(SagaStatus::Stuck).await.remove(0);
    assert_eq!(
        (stuck.kind.as_str(), stuck.step.as_str()),
        ("storage.create_bucket.v1", "make_bucket")
    );
    assert_eq!((stuck.direction(), stuck.attempts), (SagaDirection::Undoing, 2));
    assert_eq!(
        (stuck.attempt_error.as_str(), stuck.state_json.as_str()),
        ("a fault of the test", "")
    );
    assert_eq!(stuck.failure.as_ref().unwrap().reason, "ATTEMPTS_EXHAUSTED");
    let shown = operator.get(&stuck.name).await.unwrap();
    assert!(shown.state_json.contains("photos"), "{shown:?}");
    // Until it has ended nobody else changes the bucket.
    let busy = kit.create_bucket(OWNER, &uid, "photos").await;
    assert_reason(busy, Code::Unavailable, ErrorReason::EngineUnavailable);

    operator.faults.clear();
    let tried = operator.retry(&stuck.name, "r").await.unwrap();
    assert_eq!((tried.status(), tried.attempt_error.as_str()), (SagaStatus::Running, ""));
    let ended = operator.reaches(&stuck.name, SagaStatus::Undone).await;
    assert_eq!(ended.failure, stuck.failure);
    assert_eq!(operator.retry(&stuck.name, "r").await.unwrap(), tried, "the first answer again");
    let error = operator.undo(&stuck.name).await;
    let error = assert_reason(error, Code::FailedPrecondition, ErrorReason::SagaEnded);
    assert_eq!(metadata_of(&error, "status").as_deref(), Some("undone"));
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
}

#[tokio::test]
async fn a_deletion_that_is_stuck_is_never_turned_back_and_told_in_the_end() {
    let operator = Operator::start().await;
    let kit = &operator.kit;
    let uid = kit.account().await;
    kit.create_bucket(OWNER, &uid, "photos").await.unwrap();
    operator.fail("remove_bucket", false);
    let name = format!("accounts/{uid}/buckets/photos");
    let request = pb::DeleteBucketRequest { name, ..Default::default() };
    let away = kit.buckets().delete_bucket(kit.as_customer(OWNER, request)).await;
    assert_reason(away, Code::Unavailable, ErrorReason::EngineUnavailable);
    let stuck = operator.list(SagaStatus::Stuck).await.remove(0);
    assert!(stuck.forward_only);
    let refused = operator.undo(&stuck.name).await;
    let error = assert_reason(refused, Code::FailedPrecondition, ErrorReason::SagaForwardOnly);
    assert_eq!(metadata_of(&error, "kind").as_deref(), Some("storage.delete_bucket.v1"));
    operator.faults.clear();
    operator.retry(&stuck.name, "").await.unwrap();
    let ended = operator.reaches(&stuck.name, SagaStatus::Completed).await;
    assert_eq!((ended.failure, ended.attempt_error.as_str()), (None, ""));
    let told = "SELECT count(*) FROM outbox WHERE type = 'stowage.storage.content.changed.v1'";
    assert_eq!(kit.count(told).await, 3, "created, tried again, deleted");
}

#[tokio::test]
async fn sagas_are_paged_and_hidden_from_customers() {
    let operator = Operator::start().await;
    let kit = &operator.kit;
    let uid = kit.account().await;
    for bucket in ["aaa", "bbb", "ccc"] {
        kit.create_bucket(OWNER, &uid, bucket).await.unwrap();
    }
    let page = async |page_token: String| {
        let request = pb::ListSagasRequest { page_size: 2, page_token, ..Default::default() };
        let request = kit.as_administrator(request);
        operator.client().list_sagas(request).await.unwrap().into_inner()
    };
    let first = page(String::new()).await;
    let second = page(first.next_page_token.clone()).await;
    assert_eq!((first.sagas.len(), second.sagas.len()), (2, 1));
    assert!(second.next_page_token.is_empty());
    let all = [first.sagas, second.sagas].concat();
    assert!(all.is_sorted_by(|newer, older| newer.name > older.name), "{all:?}");
    for request in [
        kit.as_customer(OWNER, pb::GetSagaRequest { name: all[0].name.clone() }),
        kit.as_administrator_for(OWNER, pb::GetSagaRequest { name: all[0].name.clone() }),
    ] {
        let refused = operator.client().get_saga(request).await;
        assert_reason(refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    }
    let absent = "sagas/01890000-0000-7000-8000-000000000000";
    assert_reason(operator.get(absent).await, Code::NotFound, ErrorReason::SagaNotFound);
    for bad in ["", "sagas/x", &name::account(&uid)] {
        assert_reason(operator.get(bad).await, Code::InvalidArgument, ErrorReason::InvalidField);
    }
}
