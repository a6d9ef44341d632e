use std::time::Duration;

use stowage_auth::{Principal, PrincipalRole};
use stowage_proto::accounts as pb;
use stowage_proto::common::ErrorReason;
use stowage_runtime::reason_of;
use stowage_types::{CustomerId, from_timestamp};
use tonic::{Code, Status};

use crate::kit::{ADMIN_TOKEN, Kit, admin, assert_reason, service, staff, until};

async fn api_key(kit: &Kit, of: &Principal) -> (pb::ApiKey, String) {
    let message = pb::CreateApiKeyRequest {
        customer: of.subject.clone(),
        label: "laptop".into(),
        ..Default::default()
    };
    let made = kit.sessions().create_api_key(kit.by(&admin(), message)).await.unwrap();
    let made = made.into_inner();
    (made.api_key.unwrap(), made.secret)
}

fn login(api_key: &str) -> pb::LoginRequest {
    pb::LoginRequest { api_key: api_key.into(), ..Default::default() }
}

async fn resolve(
    kit: &Kit,
    (token, address): (&str, &str),
    act_for: i64,
) -> Result<pb::ResolveTokenResponse, Status> {
    let message = pb::ResolveTokenRequest {
        token: token.into(),
        address: address.into(),
        act_for_customer_id: act_for,
    };
    let answer = kit.sessions().resolve_token(kit.by(&service(), message)).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_key_gives_tokens_and_a_token_says_whose_it_is() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let (key, secret) = api_key(&kit, &customer).await;
    assert!(secret.len() == 67 && secret.starts_with("sk_"), "{secret}");
    assert!(secret.starts_with(&key.hint) && key.hint.len() >= 8, "{}", key.hint);

    let answer = kit.sessions().login(login(&secret)).await.unwrap().into_inner();
    assert_eq!((answer.token.len(), answer.email.as_str()), (64, "a@example.com"));
    assert_eq!(answer.claims.unwrap().customer_id, 1001);
    let ends = from_timestamp(&answer.expire_time.unwrap()).unwrap();
    assert_eq!(ends, kit.clock_now() + Duration::from_secs(10_800));

    let resolved = resolve(&kit, (&answer.token, ""), 0).await.unwrap();
    let principal = kit.verify(&resolved.assertion);
    assert_eq!((principal.role, principal.customer), (customer.role, customer.customer));
    assert_eq!(principal.currency, customer.currency);
    assert_eq!((resolved.email.as_str(), resolved.currency.as_str()), ("a@example.com", "EUR"));

    kit.clock.advance(Duration::from_secs(10_800));
    let error = resolve(&kit, (&answer.token, ""), 0).await.unwrap_err();
    assert_reason(&error, Code::Unauthenticated, ErrorReason::TokenInvalid);
}

#[tokio::test]
async fn the_life_of_a_token_is_bounded() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let (_, secret) = api_key(&kit, &customer).await;
    for (asked, given) in [(-5, 60), (1, 60), (7200, 7200), (i64::MAX, 2_592_000)] {
        let ttl = Some(prost_types::Duration { seconds: asked, nanos: 0 });
        let message = pb::LoginRequest { ttl, ..login(&secret) };
        let answer = kit.sessions().login(message).await.unwrap().into_inner();
        let ends = from_timestamp(&answer.expire_time.unwrap()).unwrap();
        assert_eq!(ends, kit.clock_now() + Duration::from_secs(given), "{asked}");
    }
}

#[tokio::test]
async fn a_token_can_be_tied_to_an_address() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let (_, secret) = api_key(&kit, &customer).await;
    let fixed_address = "192.0.2.1".to_owned();
    let message = pb::LoginRequest { fixed_address, ..login(&secret) };
    let token = kit.sessions().login(message).await.unwrap().into_inner().token;
    for (address, is_good) in
        [("192.0.2.1", true), ("::ffff:192.0.2.1", true), ("192.0.2.2", false), ("", false)]
    {
        assert_eq!(resolve(&kit, (&token, address), 0).await.is_ok(), is_good, "{address}");
    }
    let message = pb::LoginRequest { fixed_address: "here".into(), ..login(&secret) };
    let error = kit.sessions().login(message).await.unwrap_err();
    assert_eq!(reason_of(&error), Some(ErrorReason::InvalidField));
}

#[tokio::test]
async fn revoking_a_key_revokes_its_tokens_and_tells_the_caches() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let heard = kit.listen("stowage.accounts.token.revoked.v1");
    let (key, secret) = api_key(&kit, &customer).await;
    let token = kit.sessions().login(login(&secret)).await.unwrap().into_inner().token;
    let message = pb::RevokeApiKeyRequest { name: key.name, ..Default::default() };
    let revoked = kit.sessions().revoke_api_key(kit.by(&admin(), message.clone())).await.unwrap();
    assert!(revoked.into_inner().revoke_time.is_some());
    assert!(resolve(&kit, (&token, ""), 0).await.is_err());
    let error = kit.sessions().login(login(&secret)).await.unwrap_err();
    assert_reason(&error, Code::Unauthenticated, ErrorReason::ApiKeyInvalid);
    until(async || heard.lock().unwrap().len() == 1).await;
    // A repeat changes nothing and tells nobody.
    kit.sessions().revoke_api_key(kit.by(&admin(), message)).await.unwrap();
    assert_eq!(kit.count("SELECT count(*) FROM history WHERE event = 'api_key.revoked'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_outlives_the_revocation_of_its_key_and_the_chain_stays_whole() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let (key, secret) = api_key(&kit, &customer).await;
    let logs_in = async |n: u8| {
        let token = kit.sessions().login(login(&secret)).await.ok()?.into_inner().token;
        if n.is_multiple_of(2) {
            let message = pb::LogoutRequest { token: token.clone() };
            kit.sessions().logout(message).await.unwrap();
        }
        Some(token)
    };
    let message = pb::RevokeApiKeyRequest { name: key.name, ..Default::default() };
    let revokes = async { kit.sessions().revoke_api_key(kit.by(&admin(), message)).await };
    let logins = futures_util::future::join_all((0..16).map(logs_in));
    let (tokens, revoked) = tokio::join!(logins, revokes);
    revoked.unwrap();
    for token in tokens.into_iter().flatten() {
        assert!(resolve(&kit, (&token, ""), 0).await.is_err());
    }
    assert_eq!(kit.count("SELECT count(*) FROM token WHERE api_key_id IS NOT NULL").await, 0);
    let found = crate::audit::verify(&kit, &staff(), "customers/1001").await.unwrap();
    assert_eq!(found.broken, None);
}

#[tokio::test]
async fn a_logged_out_token_is_gone_and_the_administrators_stays() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let (_, secret) = api_key(&kit, &customer).await;
    let token = kit.sessions().login(login(&secret)).await.unwrap().into_inner().token;
    for token in [token.as_str(), token.as_str(), "unknown", ADMIN_TOKEN] {
        let message = pb::LogoutRequest { token: token.into() };
        kit.sessions().logout(message).await.unwrap();
    }
    assert!(resolve(&kit, (&token, ""), 0).await.is_err());
    let resolved = resolve(&kit, (ADMIN_TOKEN, ""), 0).await.unwrap();
    assert_eq!(resolved.token_expire_time, None);
    assert_eq!(kit.verify(&resolved.assertion).role, PrincipalRole::Administrator);
}

#[tokio::test]
async fn only_administrators_act_for_others() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    kit.customer("b@example.com").await;
    let resolved = resolve(&kit, (ADMIN_TOKEN, ""), 1001).await.unwrap();
    let principal = kit.verify(&resolved.assertion);
    assert_eq!(principal.acted_for, Some(CustomerId(1001)));
    assert_eq!((resolved.currency.as_str(), resolved.email.as_str()), ("EUR", "a@example.com"));
    let error = resolve(&kit, (ADMIN_TOKEN, ""), 4711).await.unwrap_err();
    assert_reason(&error, Code::NotFound, ErrorReason::CustomerNotFound);

    let (_, secret) = api_key(&kit, &customer).await;
    let token = kit.sessions().login(login(&secret)).await.unwrap().into_inner().token;
    assert!(resolve(&kit, (&token, ""), 1001).await.is_ok());
    let error = resolve(&kit, (&token, ""), 1002).await.unwrap_err();
    assert_reason(&error, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
}

#[tokio::test]
async fn credentials_are_stored_as_hashes_only() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let (_, secret) = api_key(&kit, &customer).await;
    let token = kit.sessions().login(login(&secret)).await.unwrap().into_inner().token;
    let bytes = kit.database_bytes().await;
    for text in [&secret, &token, ADMIN_TOKEN] {
        assert!(!bytes.windows(text.len()).any(|part| part == text.as_bytes()));
    }
}
