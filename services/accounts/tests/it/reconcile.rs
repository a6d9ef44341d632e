//! What does not agree is found, and mended where that is safe.

use stowage_proto::accounts as pb;
use stowage_proto::accounts::reconcile_service_client::ReconcileServiceClient;
use stowage_proto::billing::SubscriptionState;
use stowage_proto::common::ErrorReason;
use stowage_proto::storage;
use tonic::Code;

use crate::changes::{assert_agreement, get, keys};
use crate::kit::{Kit, acting_for, admin, assert_reason};

use pb::FindingKind as Kind;

/// A whole round: what was found, of which account, and whether it is mended.
async fn round(kit: &Kit, dry_run: bool) -> Vec<(Kind, String, bool)> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let message = pb::ReconcileRequest { dry_run, page_token };
        let mut service = ReconcileServiceClient::new(kit.channel());
        let part = service.reconcile(kit.by(&admin(), message)).await.unwrap().into_inner();
        for finding in part.findings {
            assert_eq!(finding.mended, finding.why_not.is_empty(), "{finding:?}");
            assert!(!finding.what.is_empty());
            found.push((finding.kind(), finding.account, finding.mended));
        }
        page_token = part.next_page_token;
        if page_token.is_empty() {
            found.sort_by(|one, other| (one.0 as i32, &one.1).cmp(&(other.0 as i32, &other.1)));
            return found;
        }
    }
}

#[tokio::test]
async fn where_all_agrees_nothing_is_found() {
    let kit = Kit::start().await;
    assert_eq!(round(&kit, false).await, []);
    let customer = kit.customer("a@example.com").await;
    for n in 0..5 {
        kit.order(&customer, &format!("bucket-{n}"), "").await.unwrap();
    }
    assert_eq!(round(&kit, false).await, []);
    let acting = kit.by(&acting_for(&customer), pb::ReconcileRequest::default());
    let refused = ReconcileServiceClient::new(kit.channel()).reconcile(acting).await.unwrap_err();
    assert_reason(&refused, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    let message = pb::ReconcileRequest { dry_run: false, page_token: "00ff".to_owned() };
    let mut service = ReconcileServiceClient::new(kit.channel());
    let refused = service.reconcile(kit.by(&admin(), message)).await.unwrap_err();
    assert_reason(&refused, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
}

#[tokio::test]
async fn an_engine_that_differs_is_made_as_the_account_says() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let mut names = Vec::new();
    for n in 0..6 {
        names.push(kit.order(&customer, &format!("bucket-{n}"), "").await.unwrap().name);
    }
    let uid = |n: usize| names[n].trim_start_matches("accounts/").to_owned();
    {
        let mut state = kit.world.state();
        state.engine.remove(&uid(0));
        state.engine.get_mut(&uid(1)).unwrap().quota_bytes = 1;
        state.engine.get_mut(&uid(2)).unwrap().suspended = true;
        state.engine.get_mut(&uid(3)).unwrap().keys[0].access_key = "STRANGE".to_owned();
        let order = state.orders.get_mut(&uid(4)).unwrap();
        order.plan_version += 1;
        let order = state.orders.get_mut(&uid(5)).unwrap();
        order.cancel_time = Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 });
    }
    let mut expected: Vec<_> = [
        (Kind::EngineAccountMissing, 0),
        (Kind::EngineAccountDiffers, 1),
        (Kind::EngineAccountDiffers, 2),
        (Kind::EngineAccountDiffers, 3),
        (Kind::SubscriptionDiffers, 4),
        (Kind::CancellationDiffers, 5),
    ]
    .into_iter()
    .map(|(kind, n)| (kind, names[n].clone(), false))
    .collect();
    expected.sort_by(|one, other| (one.0 as i32, &one.1).cmp(&(other.0 as i32, &other.1)));
    assert_eq!(round(&kit, true).await, expected, "a dry run");
    assert_eq!(round(&kit, true).await, expected, "has changed nothing");
    expected.iter_mut().for_each(|finding| finding.2 = true);
    assert_eq!(round(&kit, false).await, expected);
    for name in &names {
        assert_agreement(&kit, name, "mended").await;
    }
    assert_eq!(round(&kit, false).await, []);
    let mended = kit.history(&customer).await;
    assert_eq!(mended.iter().filter(|event| *event == "account.mended").count(), 6);
    let end = get(&kit, &names[5]).await.cancel_time;
    assert_eq!(end.unwrap().seconds, 4_000_000_000);
}

#[tokio::test]
async fn sagas_and_events_that_do_not_go_on_are_reported() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    kit.order(&customer, "photos", "").await.unwrap();
    kit.drain().await;
    assert_eq!(round(&kit, false).await, []);
    let mut tx = kit.db.begin().await.unwrap();
    let long_ago = kit.clock_now() - std::time::Duration::from_secs(3600);
    for sql in [
        "UPDATE saga SET status = 'stuck' WHERE kind = 'accounts.create_account.v1' AND $1 = $1",
        "INSERT INTO saga SELECT '01234567890123456789012345678901', 'of.another.program', state, \
         step, direction, 'running', attempts, $1, '', $1, failure_step, failure_reason, \
         failure_why, $1, $1, attempt_error FROM saga",
        "INSERT INTO outbox (position, id, source, type, subject, time, data, dead) \
         VALUES (900, '01234567890123456789012345678901', 's', 't', 'x', $1, '', true)",
    ] {
        assert_eq!(tx.execute(sql, stowage_db::args![long_ago]).await.unwrap(), 1, "{sql}");
    }
    tx.commit().await.unwrap();
    let found: Vec<_> = round(&kit, false).await.into_iter().map(|finding| finding.0).collect();
    assert_eq!(found, [Kind::SagaStuck, Kind::EventsDead, Kind::SagaAbandoned]);
}

#[tokio::test]
async fn what_nobody_has_ordered_is_reported_and_what_is_over_is_ended() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let mut names = Vec::new();
    for n in 0..4 {
        names.push(kit.order(&customer, &format!("bucket-{n}"), "").await.unwrap().name);
    }
    let uid = |n: usize| names[n].trim_start_matches("accounts/").to_owned();
    let spec = kit.world.state().engine[&uid(0)].clone();
    for name in &names[..2] {
        let message = pb::DeleteAccountRequest { name: name.clone(), ..Default::default() };
        kit.accounts().delete_account(kit.by(&customer, message)).await.unwrap();
    }
    let stranger = "f".repeat(32);
    {
        let mut state = kit.world.state();
        // Left on the engine by a deletion: one empty, one with a bucket.
        for n in [0, 1] {
            let left =
                storage::EnsureEngineAccountRequest { name: names[n].clone(), ..spec.clone() };
            state.engine.insert(uid(n), left);
        }
        state.buckets.insert("left-over".to_owned(), uid(1));
        state.engine.insert(stranger.clone(), spec);
        // Billed although it is gone, and in use although it is not billed.
        state.orders.get_mut(&uid(0)).unwrap().set_state(SubscriptionState::Active);
        state.orders.get_mut(&uid(2)).unwrap().set_state(SubscriptionState::Terminated);
    }
    let wanted = |is_mended: bool| {
        let mut wanted = vec![
            (Kind::EngineAccountOrphan, names[0].clone(), is_mended),
            (Kind::EngineAccountOrphan, names[1].clone(), false),
            (Kind::EngineAccountOrphan, format!("accounts/{stranger}"), false),
            (Kind::SubscriptionMissing, names[2].clone(), false),
            (Kind::SubscriptionOrphan, names[0].clone(), is_mended),
        ];
        wanted.sort_by(|one, other| (one.0 as i32, &one.1).cmp(&(other.0 as i32, &other.1)));
        wanted
    };
    assert_eq!(round(&kit, true).await, wanted(false));
    assert_eq!(round(&kit, false).await, wanted(true));
    let mut left = wanted(false);
    left.retain(|finding| finding.1 != names[0]);
    assert_eq!(round(&kit, false).await, left, "what is left is for people");
    {
        let state = kit.world.state();
        assert!(!state.engine.contains_key(&uid(0)) && state.engine.contains_key(&uid(1)));
        assert_eq!(state.orders[&uid(0)].state(), SubscriptionState::Terminated);
    }
    assert_eq!(get(&kit, &names[3]).await.state(), pb::AccountState::Active);
    assert_eq!(keys(&kit, &names[3]).await.len(), 1);
}
