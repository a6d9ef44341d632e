//! Who may call what.

use http::Request;
use stowage_auth::PrincipalRole;
use stowage_proto::METHODS;
use stowage_proto::billing as pb;
use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::common::ErrorReason;
use stowage_runtime::RoleChannel;
use tonic::Code;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::kit::{Kit, assert_reason, customer, order, plan, principal};

#[tokio::test]
async fn without_an_assertion_nothing_is_executed() {
    let kit = Kit::start().await;
    let mut plans = PlanServiceClient::new(kit.open_channel());
    let answer = plans.list_plans(pb::ListPlansRequest::default()).await;
    assert_reason(answer, Code::Unauthenticated, ErrorReason::TokenInvalid);
}

#[tokio::test]
async fn only_administrators_and_services_change_the_catalogue() {
    let kit = Kit::start().await;
    let refused = (Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    for who in [customer(7, "EUR"), principal(PrincipalRole::Staff, None)] {
        let mut plans = kit.plans(&who);
        let create = pb::CreatePlanRequest { plan: Some(plan("Mine")), ..Default::default() };
        assert_reason(plans.create_plan(create).await, refused.0, refused.1);
        let update = pb::UpdatePlanRequest::default();
        assert_reason(plans.update_plan(update).await, refused.0, refused.1);
        let archive = pb::ArchivePlanRequest { name: "plans/1".to_owned(), ..Default::default() };
        assert_reason(plans.archive_plan(archive).await, refused.0, refused.1);
    }
}

#[tokio::test]
async fn only_services_order() {
    let kit = Kit::start().await;
    let refused = (Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    let administrator = principal(PrincipalRole::Administrator, None);
    for who in [customer(7, "EUR"), principal(PrincipalRole::Staff, None), administrator] {
        let mut subscriptions = kit.subscriptions(&who);
        let answer = subscriptions.place_order(order("k1", 7, 1)).await;
        assert_reason(answer, refused.0, refused.1);
        let undo = pb::UndoOrderRequest { order_key: "k1".to_owned() };
        assert_reason(subscriptions.undo_order(undo).await, refused.0, refused.1);
    }
    kit.sagas().place_order(order("k1", 7, 1)).await.unwrap();
}

/// The gRPC code of an empty call, if it was refused before its body was looked at.
async fn code_of(channel: RoleChannel, path: &str) -> Option<Code> {
    let request = Request::post(format!("http://billing{path}"))
        .header("content-type", "application/grpc")
        .body(Body::empty())
        .unwrap();
    let response = channel.oneshot(request).await.unwrap();
    let status = response.headers().get("grpc-status")?.to_str().ok()?.parse::<i32>().ok()?;
    Some(Code::from_i32(status))
}

#[tokio::test]
async fn every_method_refuses_whom_it_does_not_allow() {
    let kit = Kit::start().await;
    let ours = METHODS.iter().filter(|method| method.path.starts_with("/stowage.billing.v1."));
    let mut seen = 0;
    for method in ours {
        let path = method.path;
        let nobody = code_of(kit.open_channel(), path).await;
        assert_eq!(nobody, Some(Code::Unauthenticated), "{path}");
        for role in [
            PrincipalRole::Customer,
            PrincipalRole::Staff,
            PrincipalRole::Administrator,
            PrincipalRole::Service,
        ] {
            let code = code_of(kit.channel(&principal(role, Some(7))), path).await;
            let is_refused = code == Some(Code::PermissionDenied);
            assert_eq!(
                is_refused,
                !method.allow.contains(&role.into()),
                "{path} {role:?} {code:?}"
            );
        }
        seen += 1;
    }
    assert_eq!(seen, 33, "a method was added: give it a case for another customer too");
}
