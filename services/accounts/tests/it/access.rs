//! Who may call what: the declaration is enforced for every method of the role.

use stowage_auth::{Principal, PrincipalRole};
use stowage_proto::common::ErrorReason;
use stowage_proto::{METHODS, MethodAccess};
use stowage_runtime::reason_of;
use tonic::{Request, Status};

use crate::kit::{Kit, admin, customer_principal, service, staff};

/// Calls a method with an empty message, which is what every message may decode from.
async fn call(kit: &Kit, path: &'static str, by: Option<&Principal>) -> Result<(), Status> {
    let request = match by {
        Some(by) => kit.by(by, ()),
        None => Request::new(()),
    };
    let mut client = tonic::client::Grpc::new(kit.channel());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.unary(request, http::uri::PathAndQuery::from_static(path), codec).await.map(|_| ())
}

fn is_ours(method: &&MethodAccess) -> bool {
    method.path.starts_with("/stowage.accounts.v1.")
}

#[tokio::test]
async fn every_method_refuses_whom_it_does_not_allow() {
    let kit = Kit::start().await;
    let principals = [
        (PrincipalRole::Anonymous, None),
        (PrincipalRole::Customer, Some(customer_principal(1001))),
        (PrincipalRole::Staff, Some(staff())),
        (PrincipalRole::Administrator, Some(admin())),
        (PrincipalRole::Service, Some(service())),
    ];
    let mut count = 0;
    for method in METHODS.iter().filter(is_ours) {
        for (role, principal) in &principals {
            let refused = match role {
                PrincipalRole::Anonymous => ErrorReason::TokenInvalid,
                _ => ErrorReason::RoleNotAllowed,
            };
            let answer = call(&kit, method.path, principal.as_ref()).await;
            let is_refused = answer.is_err_and(|error| reason_of(&error) == Some(refused));
            // A token that is no token is refused by the method that reads it, in the same words.
            let is_allowed = method.allow.contains(&i32::from(*role));
            assert_eq!(is_refused, !is_allowed, "{} {role:?}", method.path);
            count += 1;
        }
    }
    assert_eq!(count, 48 * 5);
}
