use stowage_auth::{Principal, PrincipalRole};
use stowage_proto::billing as pb;
use stowage_proto::common::ErrorReason;
use tonic::Code;

use crate::kit::{Kit, assert_reason, plan, principal};

fn create(title: &str, id: &str) -> pb::CreatePlanRequest {
    pb::CreatePlanRequest { plan: Some(plan(title)), request_id: id.to_owned() }
}

fn rename(plan: &pb::Plan, title: &str, id: &str) -> pb::UpdatePlanRequest {
    let plan = pb::Plan { title: title.to_owned(), ..plan.clone() };
    let paths = vec!["title".to_owned()];
    let update_mask = Some(prost_types::FieldMask { paths });
    pb::UpdatePlanRequest { plan: Some(plan), update_mask, request_id: id.to_owned() }
}

#[tokio::test]
async fn a_repeat_of_a_change_of_the_catalogue_gets_its_first_answer() {
    let kit = Kit::start().await;
    let mut office = kit.office();
    let made = office.create_plan(create("Gold", "c")).await.unwrap().into_inner();
    // Without the id this would be a title that is taken.
    let again = office.create_plan(create("Gold", "c")).await.unwrap().into_inner();
    assert_eq!(again, made);
    assert_reason(
        office.create_plan(create("Silver", "c")).await,
        Code::AlreadyExists,
        ErrorReason::RequestIdReused,
    );

    // Without the id this would be a version that another has changed.
    let update = rename(&made, "Golden", "u");
    let changed = office.update_plan(update.clone()).await.unwrap().into_inner();
    assert_eq!((changed.version, changed.title.as_str()), (2, "Golden"));
    assert_eq!(office.update_plan(update).await.unwrap().into_inner(), changed);
    assert_reason(
        office.update_plan(rename(&made, "Yellow", "u")).await,
        Code::AlreadyExists,
        ErrorReason::RequestIdReused,
    );

    let archive = |name: &str, id: &str| pb::ArchivePlanRequest {
        name: name.to_owned(),
        request_id: id.to_owned(),
    };
    let archived = office.archive_plan(archive(&made.name, "a")).await.unwrap().into_inner();
    let again = office.archive_plan(archive(&made.name, "a")).await.unwrap().into_inner();
    assert_eq!(again, archived);
    for (name, id) in [("plans/1", "a"), (made.name.as_str(), "c")] {
        let other = office.archive_plan(archive(name, id)).await;
        assert_reason(other, Code::AlreadyExists, ErrorReason::RequestIdReused);
    }
    // The first answers still stand, and each change was told once.
    assert_eq!(office.create_plan(create("Gold", "c")).await.unwrap().into_inner(), made);
    assert_eq!(kit.hear(3).await.len(), 3);
}

#[tokio::test]
async fn a_refusal_is_no_answer_and_another_principals_ids_are_his() {
    let kit = Kit::start().await;
    let mut office = kit.office();
    let made = office.create_plan(create("Gold", "")).await.unwrap().into_inner();
    let refused = office.create_plan(create("Gold", "c")).await;
    assert_reason(refused, Code::AlreadyExists, ErrorReason::PlanNameTaken);
    let archive = pb::ArchivePlanRequest { name: made.name, request_id: String::new() };
    office.archive_plan(archive).await.unwrap();
    let second = office.create_plan(create("Gold", "c")).await.unwrap().into_inner();
    assert_ne!(second.plan_id, made.plan_id);
    let mut service = kit.plans(&Principal::service("services/shop", None));
    let third = service.create_plan(create("Bronze", "c")).await.unwrap().into_inner();
    assert_ne!(third.plan_id, second.plan_id);
    let mut staff = kit.plans(&principal(PrincipalRole::Staff, None));
    let somebody = staff.create_plan(create("X", "c")).await;
    assert_reason(somebody, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twins_one_makes_the_plan() {
    let kit = Kit::start().await;
    let twins: Vec<_> = (0..8)
        .map(|_| {
            let mut office = kit.office();
            tokio::spawn(async move { office.create_plan(create("Gold", "c")).await })
        })
        .collect();
    let mut made = Vec::new();
    for twin in twins {
        match twin.await.unwrap() {
            Ok(plan) => made.push(plan.into_inner().plan_id),
            Err(error) => {
                assert_reason(Err::<(), _>(error), Code::Aborted, ErrorReason::RequestInProgress)
            }
        }
    }
    made.dedup();
    assert_eq!(made.len(), 1);
}
