//! Master keys are rotated and retired while orders run, and nothing is lost by a crash.

use stowage_db::args;
use stowage_keyring::{Keyring, Rules, Source};
use stowage_proto::accounts as pb;
use stowage_proto::common::{self, ErrorReason};
use stowage_proto::storage;
use stowage_runtime::metadata_of;
use stowage_types::{SecretString, SystemRandom};
use tonic::{Code, Request, Response, Status, async_trait};

use pb::keyring_service_client::KeyringServiceClient;

use crate::double::World;
use crate::kit::{Kit, acting_for, admin, assert_reason, service};

/// What storage would say, as the test has set it.
#[async_trait]
impl storage::keyring_service_server::KeyringService for World {
    async fn get_keyring(
        &self,
        _: Request<storage::GetKeyringRequest>,
    ) -> Result<Response<common::RoleKeyring>, Status> {
        Ok(Response::new(self.state().keyring.clone()))
    }

    async fn rewrap_records(
        &self,
        _: Request<storage::RewrapRecordsRequest>,
    ) -> Result<Response<common::Rewrapped>, Status> {
        Err(Status::unimplemented("accounts does not call this"))
    }
}

fn client(kit: &Kit) -> KeyringServiceClient<stowage_runtime::RoleChannel> {
    KeyringServiceClient::new(kit.channel())
}

async fn rotate(kit: &Kit, request_id: &str) -> Result<pb::RotateMasterKeyResponse, Status> {
    let message = pb::RotateMasterKeyRequest { request_id: request_id.to_owned() };
    client(kit).rotate_master_key(kit.by(&admin(), message)).await.map(Response::into_inner)
}

async fn retire(kit: &Kit, version: u32, request_id: &str) -> Result<(), Status> {
    let message = pb::RetireMasterKeyRequest { version, request_id: request_id.to_owned() };
    client(kit).retire_master_key(kit.by(&admin(), message)).await.map(|_| ())
}

async fn rewrap_part(kit: &Kit, page_token: String) -> common::Rewrapped {
    let message = pb::RewrapRecordsRequest { page_token };
    client(kit).rewrap_records(kit.by(&admin(), message)).await.unwrap().into_inner()
}

/// How many were moved, and how many do not open.
async fn rewrap(kit: &Kit) -> (i64, i64) {
    let (mut moved, mut refused, mut token) = (0, 0, String::new());
    loop {
        let part = rewrap_part(kit, token).await;
        moved += part.moved;
        refused += part.refused;
        token = part.next_page_token;
        if token.is_empty() {
            return (moved, refused);
        }
    }
}

async fn view(kit: &Kit) -> common::RoleKeyring {
    let message = kit.by(&admin(), pb::GetKeyringRequest {});
    client(kit).get_keyring(message).await.unwrap().into_inner()
}

/// Kind, version and number of what is sealed.
async fn sealed(kit: &Kit) -> Vec<(String, u32, i64)> {
    let records = view(kit).await.records.into_iter();
    records.map(|records| (records.kind, records.version, records.count)).collect()
}

async fn secrets(kit: &Kit, account: &str) -> Result<Vec<pb::AccessKey>, Status> {
    let message = pb::ListAccessKeysRequest {
        parent: account.to_owned(),
        with_secrets: true,
        with_usage: false,
    };
    let listed = kit.accounts().list_access_keys(kit.by(&admin(), message)).await?;
    Ok(listed.into_inner().access_keys)
}

async fn api_key(kit: &Kit, customer: &str) -> pb::CreateApiKeyResponse {
    let (customer, label, request_id) = (customer.to_owned(), "l".to_owned(), "k".to_owned());
    let message = pb::CreateApiKeyRequest { customer, label, request_id };
    kit.sessions().create_api_key(kit.by(&admin(), message)).await.unwrap().into_inner()
}

fn record(kind: &str, version: u32, count: i64) -> (String, u32, i64) {
    (kind.to_owned(), version, count)
}

#[tokio::test]
async fn a_master_key_is_rotated_and_retired_while_orders_run() {
    let mut kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let first = kit.order(&customer, "bucket-0", "").await.unwrap().name;
    let before = secrets(&kit, &first).await.unwrap();
    let answer = api_key(&kit, &customer.subject).await;
    let sql = "SELECT access_key, sealed FROM access_key";
    let (key, old): (String, Vec<u8>) = kit.db.fetch_one(sql, args![]).await.unwrap();

    let made = rotate(&kit, "r").await.unwrap();
    assert_eq!(made.version, 2);
    assert_eq!(rotate(&kit, "r").await.unwrap(), made, "a repeat is answered, not executed");
    // Nothing is sealed under it, and nothing moved, before its time.
    kit.order(&customer, "bucket-1", "").await.unwrap();
    assert_eq!((view(&kit).await.sealing_version, rewrap(&kit).await), (1, (0, 0)));
    kit.clock.advance(Rules::default().usable_after);

    let orders = async {
        for n in 2..8 {
            kit.order(&customer, &format!("bucket-{n}"), "").await.unwrap();
        }
    };
    let rewraps = async {
        while sealed(&kit).await.iter().any(|(_, version, _)| *version == 1) {
            rewrap(&kit).await;
        }
    };
    tokio::join!(orders, rewraps);
    assert_eq!(sealed(&kit).await, [record("access_key", 2, 8), record("answer", 2, 1)]);
    assert_eq!(secrets(&kit, &first).await.unwrap(), before);
    assert_eq!(api_key(&kit, &customer.subject).await, answer);

    let error = retire(&kit, 1, "").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::MasterKeyInUse);
    kit.clock.advance(Rules::default().retire_after);
    // The role's own assertion is kept by the machine's time, and has ended by this clock's.
    kit.restart().await;
    retire(&kit, 1, "x").await.unwrap();
    retire(&kit, 1, "x").await.unwrap();
    let error = retire(&kit, 1, "").await.unwrap_err();
    assert_reason(&error, Code::NotFound, ErrorReason::MasterKeyNotFound);
    let told = kit.history(&admin()).await.into_iter();
    let told: Vec<_> = told.filter(|event| event.starts_with("master_key.")).collect();
    assert_eq!(
        told.iter().map(|event| event.trim_start_matches("master_key.")).collect::<Vec<_>>(),
        ["rotation_begun", "rotated", "retirement_begun", "retired"]
    );

    // A record of before, as a backup would bring it back.
    let mut tx = kit.db.begin().await.unwrap();
    let sql = "UPDATE access_key SET sealed = $1 WHERE access_key = $2";
    tx.execute(sql, args![old, key]).await.unwrap();
    tx.commit().await.unwrap();
    let error = secrets(&kit, &first).await.unwrap_err();
    assert_reason(&error, Code::DataLoss, ErrorReason::MasterKeyLost);
    assert_eq!(metadata_of(&error, "version").as_deref(), Some("1"));
    assert_eq!(rewrap(&kit).await, (0, 1));
    assert!(sealed(&kit).await.contains(&record("access_key", 1, 1)));
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_rewrap_loses_nothing_and_a_repeat_goes_on() {
    let mut kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    let account = kit.order(&customer, "photos", "").await.unwrap().name;
    let before = secrets(&kit, &account).await.unwrap();
    let answer = api_key(&kit, &customer.subject).await;
    rotate(&kit, "").await.unwrap();
    kit.clock.advance(Rules::default().usable_after);
    // Keys are moved, answers are not.
    let part = rewrap_part(&kit, String::new()).await;
    assert_eq!((part.moved, part.next_page_token.is_empty()), (1, false));
    kit.restart().await;
    assert_eq!(sealed(&kit).await, [record("access_key", 2, 1), record("answer", 1, 1)]);
    assert_eq!(secrets(&kit, &account).await.unwrap(), before);
    assert_eq!(api_key(&kit, &customer.subject).await, answer);
    assert_eq!(rewrap(&kit).await, (1, 0));
    assert_eq!(rewrap(&kit).await, (0, 0));
    assert_eq!(api_key(&kit, &customer.subject).await, answer);
}

/// Retirement is refused, and this is said.
async fn in_use(kit: &Kit, why: &str) {
    let error = retire(kit, 1, "").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::MasterKeyInUse);
    let told = metadata_of(&error, "why").unwrap();
    assert!(told.contains(why), "{told}");
}

#[tokio::test]
async fn a_master_key_that_a_role_needs_is_not_retired() {
    let mut kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    kit.order(&customer, "photos", "").await.unwrap();
    in_use(&kit, "rotate first").await;
    rotate(&kit, "").await.unwrap();
    in_use(&kit, "rotate first").await;
    kit.clock.advance(Rules::default().usable_after);
    in_use(&kit, "calls under way").await;
    kit.clock.advance(Rules::default().retire_after);
    in_use(&kit, "accounts has 1 records access_key").await;
    rewrap(&kit).await;
    // As above.
    kit.restart().await;
    // Storage has not read the new one, then has, and then it has moved its records.
    kit.world.state().keyring.sealing_version = 1;
    in_use(&kit, "storage still seals").await;
    kit.world.state().keyring.sealing_version = 2;
    let kind = "NL/access_key".to_owned();
    let records = common::SealedRecords { kind, version: 1, count: 3 };
    kit.world.state().keyring.records = vec![records];
    in_use(&kit, "storage has 3 records NL/access_key").await;
    kit.world.state().keyring.records.clear();
    retire(&kit, 1, "").await.unwrap();
}

#[tokio::test]
async fn only_who_operates_the_installation_has_a_part_in_master_keys() {
    let kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    for (by, may_look) in [(acting_for(&customer), false), (customer, false), (service(), true)] {
        let look = client(&kit).get_keyring(kit.by(&by, pb::GetKeyringRequest {})).await;
        assert_eq!(look.is_ok(), may_look, "{by:?}");
        let message = kit.by(&by, pb::RotateMasterKeyRequest::default());
        let error = client(&kit).rotate_master_key(message).await.unwrap_err();
        assert_reason(&error, Code::PermissionDenied, ErrorReason::RoleNotAllowed);
    }
    assert_eq!(view(&kit).await.master_keys.len(), 1);
    let message = pb::RewrapRecordsRequest { page_token: "00ff".to_owned() };
    let error = client(&kit).rewrap_records(kit.by(&admin(), message)).await.unwrap_err();
    assert_reason(&error, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    let error = retire(&kit, 0, "").await.unwrap_err();
    assert_reason(&error, Code::InvalidArgument, ErrorReason::InvalidField);
}

#[tokio::test]
async fn keys_from_the_environment_are_changed_by_the_operator_who_is_told_how() {
    let text = SecretString::from(format!("1 {}", "a".repeat(64)));
    let mut kit = Kit::start().await;
    let (rules, clock) = (Rules::default(), kit.clock.clone());
    let keyring = Keyring::open_source(Source::Text(text), rules, clock, &SystemRandom).unwrap();
    kit.build_with(keyring).await;
    let error = rotate(&kit, "r").await.unwrap_err();
    assert_reason(&error, Code::FailedPrecondition, ErrorReason::KeyringReadOnly);
    let why = metadata_of(&error, "why").unwrap();
    assert!(why.contains("the environment") && why.contains("`2 <64 hex"), "{why}");
    assert!(!error.message().contains("aaaa"));
    assert!(kit.history(&admin()).await.is_empty(), "nothing was begun");
}

#[tokio::test]
async fn a_keyring_that_is_older_than_the_database_gets_no_further_key() {
    let mut kit = Kit::start().await;
    let customer = kit.customer("a@example.com").await;
    kit.order(&customer, "photos", "").await.unwrap();
    rotate(&kit, "").await.unwrap();
    kit.clock.advance(Rules::default().usable_after);
    assert_eq!(rewrap(&kit).await, (1, 0));
    let folder = tempfile::tempdir().unwrap();
    let older = Keyring::load_or_create(&folder.path().join("keyring"), &SystemRandom).unwrap();
    kit.build_with(older).await;
    let error = rotate(&kit, "").await.unwrap_err();
    assert_reason(&error, Code::DataLoss, ErrorReason::MasterKeyLost);
    assert_eq!(metadata_of(&error, "version").as_deref(), Some("2"));
    assert_eq!(view(&kit).await.master_keys.len(), 1, "none was made");
}
