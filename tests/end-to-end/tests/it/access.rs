//! Who may call what, for every method there is: a new one is covered without a line here.

use bytes::Bytes;
use stowage_proto::METHODS;
use stowage_proto::common::PrincipalRole;
use stowage_testkit::{Caller, Kit, Refusal, call_raw};
use tonic::Code;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    Garbage,
    Customer,
    Administrator,
}

/// What the access layer must say.
fn expected(who: Who, allow: &[i32]) -> Option<Refusal> {
    let allows = |role: PrincipalRole| allow.contains(&(role as i32));
    let decide = |role| if allows(role) { None } else { Some(Refusal::RoleNotAllowed) };
    match who {
        Who::Nobody if allows(PrincipalRole::Anonymous) => None,
        Who::Nobody | Who::Garbage => Some(Refusal::TokenInvalid),
        Who::Customer => decide(PrincipalRole::Customer),
        Who::Administrator => decide(PrincipalRole::Administrator),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_lets_in_whom_it_declares_and_nobody_else() {
    let kit = Kit::start().await;
    let customer = kit.site.customer("someone@example.com", "EUR").await;
    let callers: [(Who, Caller); 4] = [
        (Who::Nobody, kit.site.as_nobody()),
        (Who::Garbage, kit.site.with_token("0123456789abcdef0123456789abcdef")),
        (Who::Customer, kit.site.with_token(&customer.token)),
        (Who::Administrator, kit.site.as_admin()),
    ];
    assert!(METHODS.len() > 30, "the table of methods is not empty");
    let mut faults = Vec::new();
    for method in METHODS {
        for (who, caller) in &callers {
            // An empty message: whatever is let in stops at the check of its fields.
            let answer = call_raw(caller, method.path, Bytes::new()).await;
            let refusal = answer.as_ref().err().and_then(Refusal::of);
            let is_anonymous = expected(Who::Nobody, method.allow).is_none();
            let is_right = match who {
                // Methods for everybody may look at the token or not.
                Who::Garbage if is_anonymous => refusal != Some(Refusal::RoleNotAllowed),
                _ => refusal == expected(*who, method.allow),
            };
            let code = answer.as_ref().err().map_or(Code::Ok, tonic::Status::code);
            let is_there = code != Code::Unimplemented && code != Code::Internal;
            if !is_right || !is_there {
                faults.push(format!("{} as {who:?}: {answer:?}", method.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_from_outside_proves_nothing() {
    let kit = Kit::start().await;
    let customer = kit.site.customer("someone@example.com", "EUR").await;
    let path = "/stowage.accounts.v1.CustomerService/ListCustomers";
    // Neither alone nor beside a token of less.
    for (caller, code) in [
        (kit.site.as_nobody(), Code::Unauthenticated),
        (kit.site.with_token(&customer.token), Code::PermissionDenied),
    ] {
        let mut grpc = tonic::client::Grpc::new(caller);
        grpc.ready().await.expect("the server can be reached");
        let mut request = tonic::Request::new(stowage_proto::accounts::ListCustomersRequest {
            page_size: 1,
            ..Default::default()
        });
        let forged = "CAMSDWFkbWluaXN0cmF0b3I.AAAA".parse().expect("plain text");
        request.metadata_mut().insert("stowage-assertion", forged);
        let path = http::uri::PathAndQuery::from_static(path);
        let codec =
            tonic_prost::ProstCodec::<_, stowage_proto::accounts::ListCustomersResponse>::default();
        let error = grpc.unary(request, path, codec).await.expect_err("it is refused");
        assert_eq!(error.code(), code, "{error:?}");
    }
    kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_logged_out_is_refused_at_once() {
    let kit = Kit::start().await;
    let customer = kit.site.customer("someone@example.com", "EUR").await;
    let facade = &kit.site.facade;
    facade.action("list_plans", &customer.token, &[]).await.success();
    let parameters = [("action", "logout"), ("token", customer.token.as_str())];
    facade.form("/auth.php", &parameters).await;
    let answer = facade.action("list_plans", &customer.token, &[]).await;
    assert_eq!(answer.status, http::StatusCode::UNAUTHORIZED);
    assert_eq!(answer.failure(), "invalid token");
    // The API key is still good for another.
    let token = kit.site.login(&customer.api_key).await;
    facade.action("list_plans", &token, &[]).await.success();
    kit.stop().await;
}
