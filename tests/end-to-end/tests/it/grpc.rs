//! The same flow over native gRPC, through the gateway.

use aws_sdk_s3::primitives::ByteStream;
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::accounts::session_service_client::SessionServiceClient;
use stowage_proto::accounts::{
    AccountState, CreateAccountRequest, DeleteAccountRequest, GetAccountRequest,
    ListAccessKeysRequest, ListHistoryRequest, LoginRequest, ScheduleCancellationRequest,
    WithdrawCancellationRequest,
};
use stowage_proto::billing::plan_service_client::PlanServiceClient;
use stowage_proto::billing::subscription_service_client::SubscriptionServiceClient;
use stowage_proto::billing::{
    BatchGetSubscriptionsRequest, ListPlansRequest, Plan, SubscriptionState,
};
use stowage_proto::metering::usage_service_client::UsageServiceClient;
use stowage_proto::metering::{GetAccountUsageRequest, RankAccountsRequest};
use stowage_proto::storage::bucket_service_client::BucketServiceClient;
use stowage_proto::storage::location_service_client::LocationServiceClient;
use stowage_proto::storage::object_service_client::ObjectServiceClient;
use stowage_proto::storage::{
    CreateBucketRequest, DeleteBucketRequest, DeleteObjectRequest, ListBucketsRequest,
    ListLocationsRequest, ListObjectsRequest,
};
use stowage_testkit::{Caller, Kit, Site, eventually, s3_client};
use tonic::Code;

use crate::walk::SHOWN_WITHIN;

const CONTENT: &[u8] = &[7; 300_000];

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_flow_works_over_grpc() {
    let kit = Kit::start().await;
    let caller = log_in(&kit.site).await;
    let plan = choose_plan(&caller).await;
    let account = order(&caller, &plan).await;
    let s3 = open_s3(&caller, &account).await;
    use_buckets(&caller, &account.name, &s3).await;
    see_usage(&caller, &account.s3uid).await;
    cancel_and_withdraw(&caller, &account).await;
    delete(&caller, &account.name, &s3).await;
    kit.stop().await;
}

async fn log_in(site: &Site) -> Caller {
    let (id, api_key) = site.customer_without_token("native@example.com", "USD").await;
    let mut sessions = SessionServiceClient::new(site.as_nobody());
    let request = LoginRequest { api_key, ..LoginRequest::default() };
    let login = sessions.login(request).await.expect("the API key is good").into_inner();
    assert_eq!(login.claims.expect("claims are told").customer_id, id);
    assert_eq!(login.email, "native@example.com");
    let request = LoginRequest { api_key: "sk_no".to_owned(), ..LoginRequest::default() };
    let refused = sessions.login(request).await.expect_err("no such key");
    assert_eq!(refused.code(), Code::Unauthenticated);
    site.with_token(&login.token)
}

async fn choose_plan(caller: &Caller) -> Plan {
    let mut plans = PlanServiceClient::new(caller.clone());
    let request = ListPlansRequest { page_size: 1, ..ListPlansRequest::default() };
    let first = plans.list_plans(request.clone()).await.expect("plans are listed").into_inner();
    assert_eq!(first.plans.len(), 1);
    assert!(!first.next_page_token.is_empty(), "there is a free plan too");
    let request = ListPlansRequest { page_token: first.next_page_token, ..request };
    let second = plans.list_plans(request).await.expect("plans are listed").into_inner();
    let all = [first.plans, second.plans].concat();
    for plan in &all {
        let currencies: Vec<_> =
            plan.prices.iter().filter_map(|price| price.period_price.clone()).collect();
        assert_eq!(currencies.len(), 1, "{plan:?}");
        assert_eq!(currencies[0].currency_code, "USD", "{plan:?}");
    }
    let locations = LocationServiceClient::new(caller.clone())
        .list_locations(ListLocationsRequest::default())
        .await
        .expect("locations are listed")
        .into_inner()
        .locations;
    assert_eq!(locations[0].code, "NL");
    all.into_iter().find(|plan| !plan.free).expect("there is a paid plan")
}

async fn order(caller: &Caller, plan: &Plan) -> stowage_proto::accounts::Account {
    let mut accounts = AccountServiceClient::new(caller.clone());
    let request = CreateAccountRequest {
        plan: plan.name.clone(),
        bucket: "native-1".to_owned(),
        request_id: "order-1".to_owned(),
        ..CreateAccountRequest::default()
    };
    let account = accounts.create_account(request.clone()).await.expect("an account").into_inner();
    assert_eq!(account.state(), AccountState::Active);
    let again = accounts.create_account(request.clone()).await.expect("the same").into_inner();
    assert_eq!(again, account);
    let other = CreateAccountRequest { bucket: "native-2".to_owned(), ..request };
    let reused = accounts.create_account(other).await.expect_err("the id was used");
    assert_eq!(reused.code(), Code::AlreadyExists, "{reused:?}");

    let get = GetAccountRequest { name: "accounts/-".to_owned() };
    let only = accounts.get_account(get).await.expect("the only account").into_inner();
    assert_eq!(only.s3uid, account.s3uid);
    let mut subscriptions = SubscriptionServiceClient::new(caller.clone());
    let request = BatchGetSubscriptionsRequest {
        service_ids: vec![account.service_id],
        ..Default::default()
    };
    let found = subscriptions.batch_get_subscriptions(request).await.expect("subscriptions");
    let found = found.into_inner().subscriptions;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].state(), SubscriptionState::Active);
    assert_eq!(found[0].s3uid, account.s3uid);
    account
}

async fn open_s3(
    caller: &Caller,
    account: &stowage_proto::accounts::Account,
) -> aws_sdk_s3::Client {
    let mut accounts = AccountServiceClient::new(caller.clone());
    let mut request = ListAccessKeysRequest {
        parent: account.name.clone(),
        with_secrets: false,
        ..Default::default()
    };
    let bare = accounts.list_access_keys(request.clone()).await.expect("keys").into_inner();
    assert_eq!(bare.access_keys[0].secret_key, "");
    request.with_secrets = true;
    let keys = accounts.list_access_keys(request).await.expect("keys").into_inner().access_keys;
    assert_eq!(keys.len(), 1);

    // Reading a secret is written down, and the secret is not.
    let request = ListHistoryRequest {
        account: account.name.clone(),
        with_reads: true,
        ..ListHistoryRequest::default()
    };
    let history = accounts.list_history(request).await.expect("history").into_inner().entries;
    let reads = history.iter().filter(|entry| entry.event == "key.read").count();
    assert_eq!(reads, 1, "{history:?}");
    assert!(!format!("{history:?}").contains(&keys[0].secret_key));
    s3_client(&account.endpoint, &keys[0].access_key, &keys[0].secret_key)
}

async fn use_buckets(caller: &Caller, account: &str, s3: &aws_sdk_s3::Client) {
    let mut buckets = BucketServiceClient::new(caller.clone());
    let create = CreateBucketRequest {
        parent: account.to_owned(),
        bucket: "native-extra".to_owned(),
        ..Default::default()
    };
    let extra = buckets.create_bucket(create.clone()).await.expect("a bucket").into_inner();
    buckets.create_bucket(create).await.expect("the account has it already");
    for key in ["a/1", "a/2", "b"] {
        let put = s3.put_object().bucket("native-extra").key(key);
        put.body(ByteStream::from_static(CONTENT)).send().await.expect("an object is stored");
    }

    let list = ListBucketsRequest { parent: account.to_owned(), ..ListBucketsRequest::default() };
    let found = buckets.list_buckets(list).await.expect("buckets").into_inner().buckets;
    let names: Vec<&str> = found.iter().map(|bucket| bucket.bucket.as_str()).collect();
    assert_eq!(names, ["native-1", "native-extra"]);
    assert_eq!(found[1].object_count, 3);
    assert_eq!(found[1].stored_bytes, 900_000);

    let mut objects = ObjectServiceClient::new(caller.clone());
    let list = ListObjectsRequest { parent: extra.name.clone(), ..ListObjectsRequest::default() };
    let page = objects.list_objects(list).await.expect("objects").into_inner();
    assert_eq!(page.prefixes, ["a/"]);
    assert_eq!(page.objects[0].key, "b");
    let full = DeleteBucketRequest { name: extra.name.clone(), ..Default::default() };
    let refused = buckets.delete_bucket(full.clone()).await.expect_err("it holds objects");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for key in ["a/1", "a/2", "b"] {
        let delete = DeleteObjectRequest {
            parent: extra.name.clone(),
            key: key.to_owned(),
            ..Default::default()
        };
        objects.delete_object(delete).await.expect("the object is deleted");
    }
    buckets.delete_bucket(full).await.expect("an empty bucket is deleted");
    let put = s3.put_object().bucket("native-1").key("kept");
    put.body(ByteStream::from_static(CONTENT)).send().await.expect("an object is stored");
}

async fn see_usage(caller: &Caller, s3uid: &str) {
    let mut usage = UsageServiceClient::new(caller.clone());
    eventually("metering shows what was stored and moved", SHOWN_WITHIN, async || {
        let request =
            GetAccountUsageRequest { s3uid: s3uid.to_owned(), ..GetAccountUsageRequest::default() };
        let found = usage.get_account_usage(request).await.map_err(|error| error.to_string())?;
        let found = found.into_inner();
        let is_shown = found.stored_bytes == 300_000
            && found.received_bytes == 1_200_000
            && found.buckets.len() == 1
            && found.stored_bytes_peak >= 300_000;
        if is_shown { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    let ranking = usage.rank_accounts(RankAccountsRequest::default()).await;
    let ranking = ranking.expect("a ranking").into_inner();
    assert_eq!(ranking.total_size, 1);
    assert_eq!(ranking.accounts[0].stored_bytes, 300_000);
}

async fn cancel_and_withdraw(caller: &Caller, account: &stowage_proto::accounts::Account) {
    let mut accounts = AccountServiceClient::new(caller.clone());
    let name = account.name.clone();
    let cancel = ScheduleCancellationRequest { name: name.clone(), ..Default::default() };
    let first = accounts.schedule_cancellation(cancel.clone()).await.expect("a date").into_inner();
    let seconds =
        |time: &Option<_>| time.as_ref().map(|time: &prost_types::Timestamp| time.seconds);
    assert!(seconds(&first.cancel_time) > seconds(&account.create_time), "{first:?}");
    let again = accounts.schedule_cancellation(cancel).await.expect("the same").into_inner();
    assert_eq!(again.cancel_time, first.cancel_time);
    let withdraw = WithdrawCancellationRequest { name, ..Default::default() };
    for _ in 0..2 {
        let account = accounts.withdraw_cancellation(withdraw.clone()).await.expect("withdrawn");
        assert_eq!(account.into_inner().cancel_time, None);
    }
}

async fn delete(caller: &Caller, name: &str, s3: &aws_sdk_s3::Client) {
    let mut accounts = AccountServiceClient::new(caller.clone());
    let delete = DeleteAccountRequest {
        name: name.to_owned(),
        reason: "moved away".to_owned(),
        ..Default::default()
    };
    for _ in 0..2 {
        let account = accounts.delete_account(delete.clone()).await.expect("deleted").into_inner();
        assert_eq!(account.state(), AccountState::Deleted);
    }
    let get = GetAccountRequest { name: name.to_owned() };
    let gone = accounts.get_account(get).await.expect_err("it is gone");
    assert_eq!(gone.code(), Code::NotFound);
    let list = s3.list_objects_v2().bucket("native-1").send().await;
    assert!(list.is_err(), "the keys are good for nothing: {list:?}");
}
