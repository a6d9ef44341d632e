//! The audit through its contract: what is in it, who reads it, and what tampering it shows.

use stowage_auth::Principal;
use stowage_proto::accounts as pb;
use stowage_proto::common::ErrorReason;
use tonic::{Code, Request, Status};

use crate::kit::{Kit, acting_for, admin, assert_reason, service, staff};

const NOBODY: &str = "customers/0";

async fn list(kit: &Kit, by: &Principal, customer: &str) -> Result<Vec<pb::AuditEntry>, Status> {
    let message = pb::ListAuditEntriesRequest {
        customer: customer.into(),
        page_size: 1000,
        ..Default::default()
    };
    Ok(kit.audit().list_audit_entries(kit.by(by, message)).await?.into_inner().entries)
}

/// Verifies to the end, a few entries at a time.
pub(crate) async fn verify(
    kit: &Kit,
    by: &Principal,
    customer: &str,
) -> Result<pb::VerifyAuditResponse, Status> {
    let mut page_token = String::new();
    loop {
        let customer = customer.to_owned();
        let message = pb::VerifyAuditRequest { customer, page_size: 2, page_token };
        let found = kit.audit().verify_audit(kit.by(by, message)).await?.into_inner();
        if found.next_page_token.is_empty() {
            return Ok(found);
        }
        page_token = found.next_page_token;
    }
}

/// A request under an id of the call.
fn called<T>(kit: &Kit, by: &Principal, id: &str, message: T) -> Request<T> {
    let mut request = kit.by(by, message);
    request.metadata_mut().insert(stowage_auth::REQUEST_ID_KEY, id.parse().unwrap());
    request
}

async fn read_keys(kit: &Kit, by: &Principal, parent: &str, id: &str) {
    let message = pb::ListAccessKeysRequest {
        parent: parent.into(),
        with_secrets: true,
        ..Default::default()
    };
    kit.accounts().list_access_keys(called(kit, by, id, message)).await.unwrap();
}

#[tokio::test]
async fn an_entry_says_who_acted_for_whom_by_which_call_and_what_was_before_and_after() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let acting = acting_for(&customer);
    let order = called(&kit, &acting, "call-1", crate::kit::order("photos", ""));
    let account = kit.accounts().create_account(order).await.unwrap().into_inner();
    read_keys(&kit, &customer, &account.name, "call-2").await;
    let delete = pb::DeleteAccountRequest {
        name: account.name.clone(),
        reason: "moves away".into(),
        ..Default::default()
    };
    kit.accounts().delete_account(called(&kit, &acting, "call-3", delete)).await.unwrap();
    let entries = list(&kit, &customer, "").await.unwrap();
    let by_administrator = ("administrator", "customers/1001");
    let shown: Vec<_> = entries
        .iter()
        .skip(1)
        .map(|e| (e.event.as_str(), (e.actor.as_str(), e.acted_for.as_str()), &*e.request_id))
        .collect();
    assert_eq!(
        shown,
        [
            ("account.ordered", by_administrator, "call-1"),
            ("account.activated", by_administrator, "call-1"),
            ("key.read", ("customers/1001", ""), "call-2"),
            ("account.deletion_begun", by_administrator, "call-3"),
            ("account.deleted", by_administrator, "call-3"),
        ]
    );
    let sequences: Vec<_> = entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
    let begun = &entries[4];
    assert_eq!(begun.old_json, r#"{"state":"ACTIVE"}"#);
    assert_eq!(begun.new_json, r#"{"reason":"moves away","state":"DELETING"}"#);
    assert_eq!((begun.s3uid.as_str(), begun.plan.as_str()), (&*account.s3uid, "plans/1"));
    // The same in one text where changes are listed.
    let listed = pb::ListHistoryRequest::default();
    let listed = kit.accounts().list_history(kit.by(&customer, listed)).await.unwrap();
    assert_eq!(listed.into_inner().entries[0].actor, "administrator for customers/1001");
}

#[tokio::test]
async fn sessions_begin_and_end_in_the_audit_and_failed_logins_are_nobodys_act() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let new = pb::CreateApiKeyRequest { customer: "customers/1001".into(), ..Default::default() };
    let made = kit.sessions().create_api_key(kit.by(&admin(), new)).await.unwrap().into_inner();
    let login = |api_key: &str| pb::LoginRequest { api_key: api_key.into(), ..Default::default() };
    kit.sessions().login(login("sk_nothing")).await.unwrap_err();
    let call = called(&kit, &service(), "call-1", login(&made.secret));
    let token = kit.sessions().login(call).await.unwrap().into_inner().token;
    for _ in 0..2 {
        let message = pb::LogoutRequest { token: token.clone() };
        kit.sessions().logout(called(&kit, &service(), "call-2", message)).await.unwrap();
    }
    kit.sessions().login(login(&made.secret)).await.unwrap();
    let name = made.api_key.unwrap().name;
    let revoke = pb::RevokeApiKeyRequest { name, ..Default::default() };
    kit.sessions().revoke_api_key(kit.by(&admin(), revoke)).await.unwrap();
    let entries = list(&kit, &customer, "").await.unwrap();
    let shown: Vec<_> = entries.iter().skip(1).map(|e| (&*e.event, &*e.actor, e.minor)).collect();
    assert_eq!(
        shown,
        [
            ("api_key.created", "administrator", false),
            ("session.opened", "customers/1001", true),
            ("session.closed", "customers/1001", true),
            ("session.opened", "customers/1001", true),
            ("api_key.revoked", "administrator", false),
        ]
    );
    assert_eq!((&*entries[2].request_id, &*entries[3].request_id), ("call-1", "call-2"));
    let opened: serde_json::Value = serde_json::from_str(&entries[2].new_json).unwrap();
    let closed: serde_json::Value = serde_json::from_str(&entries[3].old_json).unwrap();
    assert_eq!(opened["id"], closed["id"]);
    assert!(entries[5].new_json.contains(r#""sessions_closed":1"#), "{}", entries[5].new_json);
    let all = format!("{entries:?}");
    assert!(!all.contains(&token) && !all.contains(&made.secret), "secrets never");
    let whole = verify(&kit, &customer, "").await.unwrap();
    assert_eq!((whole.entry_count, whole.broken), (6, None));
}

#[tokio::test]
async fn a_customer_reads_and_verifies_his_own_chain_only() {
    let kit = Kit::start().await;
    let (one, two) = (kit.customer("a@example.com").await, kit.customer("b@example.com").await);
    kit.order(&one, "photos", "").await.unwrap();
    let others = [NOBODY, "customers/1002", "customers/9999"];
    for by in [&one, &acting_for(&one)] {
        for customer in ["", "customers/1001"] {
            let found = verify(&kit, by, customer).await.unwrap();
            let (first, last) = (found.first_sequence, found.last_sequence);
            assert_eq!((found.customer.as_str(), first, last), ("customers/1001", 1, 3));
            let entries = list(&kit, by, customer).await.unwrap();
            assert!(entries.iter().all(|entry| entry.customer == "customers/1001"));
            assert_eq!(entries.last().unwrap().hash, found.head_hash);
        }
        for customer in others {
            for answer in [
                verify(&kit, by, customer).await.map(|_| ()),
                list(&kit, by, customer).await.map(|_| ()),
            ] {
                let error = answer.unwrap_err();
                assert_reason(&error, Code::NotFound, ErrorReason::CustomerNotFound);
            }
        }
    }
    for by in [&staff(), &admin(), &service()] {
        let his = verify(&kit, by, "customers/1002").await.unwrap();
        assert_eq!((his.entry_count, his.broken), (1, None));
        let nobodys = verify(&kit, by, NOBODY).await.unwrap();
        assert_eq!((nobodys.entry_count, nobodys.first_sequence, nobodys.broken), (0, 0, None));
        assert_eq!(list(&kit, by, "").await.unwrap().len(), 4);
        assert_eq!(list(&kit, by, "customers/1002").await.unwrap().len(), 1);
        let error = verify(&kit, by, "customers/9999").await.unwrap_err();
        assert_reason(&error, Code::NotFound, ErrorReason::CustomerNotFound);
        let error = verify(&kit, by, "").await.unwrap_err();
        assert_reason(&error, Code::InvalidArgument, ErrorReason::InvalidField);
    }
    // A principal without an id is nobody, and not the owner of what is nobody's.
    let nobody = Principal { customer: None, ..two };
    let error = list(&kit, &nobody, "").await.unwrap_err();
    assert_reason(&error, Code::NotFound, ErrorReason::CustomerNotFound);
}

#[tokio::test]
async fn entries_are_listed_page_by_page_in_either_order() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    kit.order(&customer, "photos", "").await.unwrap();
    kit.order(&customer, "films", "").await.unwrap();
    for newest_first in [false, true] {
        let (mut ids, mut page_token) = (Vec::new(), String::new());
        loop {
            let message = pb::ListAuditEntriesRequest {
                page_size: 2,
                page_token: page_token.clone(),
                newest_first,
                ..Default::default()
            };
            let page = kit.audit().list_audit_entries(kit.by(&customer, message)).await.unwrap();
            let page = page.into_inner();
            assert!(page.entries.len() <= 2);
            ids.extend(page.entries.iter().map(|entry| entry.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
            let message = pb::ListAuditEntriesRequest {
                page_token: page_token.clone(),
                newest_first: !newest_first,
                ..Default::default()
            };
            let other = kit.audit().list_audit_entries(kit.by(&customer, message)).await;
            let error = other.unwrap_err();
            assert_reason(&error, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
        }
        if newest_first {
            ids.reverse();
        }
        assert_eq!(ids, [1, 2, 3, 4, 5]);
    }
    for page_token in ["x", "zz"] {
        let message =
            pb::VerifyAuditRequest { page_token: page_token.into(), ..Default::default() };
        let error = kit.audit().verify_audit(kit.by(&customer, message)).await.unwrap_err();
        assert_reason(&error, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
}

#[tokio::test]
async fn acts_that_come_together_get_places_without_gaps() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let account = kit.order(&customer, "photos", "").await.unwrap();
    let reads = (0..40).map(|n| {
        let (kit, customer, name) = (&kit, &customer, &account.name);
        async move { read_keys(kit, customer, name, &format!("call-{n}")).await }
    });
    let mut reads: Vec<_> = reads.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        reads.retain_mut(|read| read.as_mut().poll(cx).is_pending());
        if reads.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    let found = verify(&kit, &customer, "").await.unwrap();
    assert_eq!((found.entry_count, found.broken), (43, None));
}

/// What is done to the database, and what then is found: how, at which sequence, and how many
/// entries before it are right.
const TAMPERINGS: &[(&str, pb::AuditBreakKind, i64, i64)] = {
    use pb::AuditBreakKind::{Changed, CutOff, HeadChanged, HeadMissing, Missing, Stray};
    &[
        ("UPDATE history SET event = 'key.read' WHERE sequence = 2", Changed, 2, 1),
        ("UPDATE history SET actor = 'customers/1001' WHERE sequence = 1", Changed, 1, 0),
        ("UPDATE history SET acted_for = 5 WHERE sequence = 3", Changed, 3, 2),
        ("UPDATE history SET request_id = '' WHERE sequence = 3", Changed, 3, 2),
        (
            "UPDATE history SET create_time = '2020-01-01T00:00:00.000000Z' WHERE sequence = 4",
            Changed,
            4,
            3,
        ),
        ("UPDATE history SET plan_id = 9 WHERE sequence = 2", Changed, 2, 1),
        ("UPDATE history SET s3uid = '' WHERE sequence = 2", Changed, 2, 1),
        ("UPDATE history SET old_json = '{}' WHERE sequence = 1", Changed, 1, 0),
        ("UPDATE history SET new_json = new_json || ' ' WHERE sequence = 2", Changed, 2, 1),
        ("UPDATE history SET minor = NOT minor WHERE sequence = 4", Changed, 4, 3),
        ("UPDATE history SET id = 1000 WHERE sequence = 3", Changed, 3, 2),
        ("UPDATE history SET encoding = 2 WHERE sequence = 5", Changed, 5, 4),
        (
            "UPDATE history SET hash = (SELECT o.hash FROM history o WHERE o.sequence = 4) \
          WHERE sequence = 5",
            Changed,
            5,
            4,
        ),
        ("UPDATE history SET hash = NULL WHERE sequence = 2", Changed, 2, 1),
        ("UPDATE history SET customer_id = 1002 WHERE sequence = 3", Missing, 3, 2),
        ("DELETE FROM history WHERE sequence = 1", Missing, 1, 0),
        ("DELETE FROM history WHERE sequence IN (2, 3, 4)", Missing, 2, 1),
        // Removed, and the gap closed.
        (
            "DELETE FROM history WHERE sequence = 3; \
          UPDATE history SET sequence = sequence - 1 WHERE sequence > 3; \
          UPDATE audit_chain SET sequence = 4 WHERE customer_id = 1001",
            Changed,
            3,
            2,
        ),
        // Reordered: two entries take each other's places.
        (
            "UPDATE history SET sequence = -1 WHERE sequence = 2; \
          UPDATE history SET sequence = 2 WHERE sequence = 3; \
          UPDATE history SET sequence = 3 WHERE sequence = -1",
            Changed,
            2,
            1,
        ),
        // Cut off at the end, then with the head set back.
        ("DELETE FROM history WHERE sequence = 5", CutOff, 5, 4),
        ("DELETE FROM history", CutOff, 1, 0),
        (
            "DELETE FROM history WHERE sequence = 5; \
          UPDATE audit_chain SET sequence = 4 WHERE customer_id = 1001",
            HeadChanged,
            4,
            4,
        ),
        (
            "UPDATE audit_chain SET hash = (SELECT hash FROM history WHERE sequence = 4) \
          WHERE customer_id = 1001",
            HeadChanged,
            5,
            5,
        ),
        ("DELETE FROM audit_chain WHERE customer_id = 1001", HeadMissing, 0, 0),
        ("DELETE FROM history; DELETE FROM audit_chain", HeadMissing, 0, 0),
        // Put in: without a place, behind the head, and a head set back behind what it was.
        (
            "INSERT INTO history (id, create_time, event, actor, customer_id, plan_id, s3uid, \
          old_json, new_json) SELECT 900, create_time, event, actor, customer_id, plan_id, s3uid, \
          old_json, new_json FROM history WHERE sequence = 2",
            Stray,
            0,
            5,
        ),
        (
            "INSERT INTO history (id, create_time, event, actor, customer_id, plan_id, s3uid, \
          old_json, new_json, sequence, encoding, hash) SELECT 900, create_time, event, actor, \
          customer_id, plan_id, s3uid, old_json, new_json, 6, 1, hash FROM history \
          WHERE sequence = 5",
            Stray,
            6,
            5,
        ),
        (
            "UPDATE audit_chain SET sequence = 4, hash = (SELECT hash FROM history \
          WHERE sequence = 4) WHERE customer_id = 1001",
            Stray,
            5,
            4,
        ),
    ]
};

/// The same, where a column takes what is not of its type: in files.
const TAMPERINGS_OF_FILES: &[(&str, pb::AuditBreakKind, i64, i64)] = {
    use pb::AuditBreakKind::{Changed, Unreadable};
    &[
        (
            "UPDATE history SET create_time = replace(create_time, 'Z', '1Z') WHERE sequence = 2",
            Changed,
            2,
            1,
        ),
        ("UPDATE history SET create_time = 'once' WHERE sequence = 2", Unreadable, 2, 1),
        ("UPDATE history SET plan_id = 'none' WHERE sequence = 4", Unreadable, 4, 3),
    ]
};

#[tokio::test]
async fn whatever_is_changed_in_the_database_is_found() {
    are_found(TAMPERINGS, async || Kit::start().await).await;
}

#[tokio::test]
async fn whatever_is_changed_in_a_file_is_found() {
    are_found(TAMPERINGS_OF_FILES, async || Kit::on_file().await).await;
}

async fn are_found(
    tamperings: &[(&str, pb::AuditBreakKind, i64, i64)],
    start: impl AsyncFn() -> Kit,
) {
    for (sql, kind, sequence, right) in tamperings {
        let kit = start().await;
        let customer = kit.customer("a@example.com").await;
        let account = kit.order(&customer, "photos", "").await.unwrap();
        for n in ["call-1", "call-2"] {
            read_keys(&kit, &acting_for(&customer), &account.name, n).await;
        }
        let whole = verify(&kit, &customer, "").await.unwrap();
        assert_eq!((whole.last_sequence, &whole.broken), (5, &None), "{sql}");
        kit.tamper(sql).await;
        for by in [&customer, &staff()] {
            let found = verify(&kit, by, "customers/1001").await.unwrap();
            let broken = found.broken.unwrap_or_else(|| panic!("not found: {sql}"));
            let seen = (broken.kind(), broken.sequence, found.entry_count);
            assert_eq!(seen, (*kind, *sequence, *right), "{sql}: {}", broken.why);
            assert!(found.next_page_token.is_empty() && !broken.why.is_empty(), "{sql}");
        }
    }
}

/// What the documents say of who can write to the database, and of heads kept elsewhere.
#[tokio::test]
async fn an_end_taken_back_with_its_head_shows_only_beside_a_head_kept_elsewhere() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    kit.order(&customer, "photos", "").await.unwrap();
    let kept = verify(&kit, &customer, "").await.unwrap();
    kit.tamper(
        "DELETE FROM history WHERE sequence = 3; UPDATE audit_chain SET sequence = 2, \
         hash = (SELECT hash FROM history WHERE sequence = 2) WHERE customer_id = 1001",
    )
    .await;
    let found = verify(&kit, &customer, "").await.unwrap();
    assert_eq!(found.broken, None);
    assert!(found.last_sequence < kept.last_sequence && found.head_hash != kept.head_hash);
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let account = kit.order(&customer, "photos", "").await.unwrap();
    kit.tamper("DELETE FROM audit_chain WHERE customer_id = 1001").await;
    let message = pb::ListAccessKeysRequest {
        parent: account.name,
        with_secrets: true,
        ..Default::default()
    };
    let error = kit.accounts().list_access_keys(kit.by(&customer, message)).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal, "{error:?}");
    kit.order(&customer, "films", "").await.unwrap_err();
    assert_eq!(kit.count("SELECT count(*) FROM account").await, 1);
    // Others go on.
    let other = kit.customer("b@example.com").await;
    kit.order(&other, "films", "").await.unwrap();
}
