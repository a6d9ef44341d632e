//! Every act and every reading of a secret is in the audit: from the contracts, so that a method
//! which is not has to say why.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use stowage_proto::accounts::audit_service_client::AuditServiceClient;
use stowage_proto::accounts::{self, AuditEntry, ListAuditEntriesRequest, VerifyAuditRequest};
use stowage_proto::common::PrincipalRole;
use stowage_proto::{METHODS, MethodAccess, Money, billing, storage};
use stowage_testkit::{Caller, Kit, Site, eventually};
use tonic::{Request, Status};

/// What the audit has of a method.
enum Told {
    /// Entries with these events, each under the request id of the call.
    As(&'static [&'static str]),
    /// Entries that are looked for in another test, since this is so.
    Elsewhere(&'static str),
    /// None, since this is so.
    Not(&'static str),
}

use Told::{As, Elsewhere, Not};

const STEP: &str = "other roles only, on the way of an order or a deletion, which is told as a \
                    whole by accounts, with the same request id";
const SAGAS: &str = "needs a saga that hangs: services/accounts/tests/it/sagas.rs";
const KEYRING: &str = "is of the whole installation: services/accounts/tests/it/keyring.rs";
const WEBHOOKS: &str = "needs a receiver: services/accounts/tests/it/webhooks.rs";
const LETTERS: &str = "needs an event that was refused: services/accounts/tests/it/dead_letters.rs";
const LETTERS_OF_FIGURES: &str =
    "counts what was measured before; the figure it comes to says where it is from";
const REWRAP: &str = "moves what is sealed under the master key whose rotation is told";
const BUCKET_SAGAS: &str = "needs a saga that hangs: services/storage/tests/it/sagas.rs";
const JOBS: &str = "needs a deletion that lasts: services/storage/tests/it/bucket_deletions.rs";
const FIGURES: &str = "brings figures up to date sooner than by themselves; what a customer has, \
                       may do and pays stays as it is";

const HINT: &str = "a hint to look at what is elsewhere; what comes of it is told as itself";
const BILLING_DIFFERS: &str =
    "needs a provider that differs: tests/end-to-end/tests/it/whmcs/reconcile.rs";
const LINKS: &str = "needs a provider with clients: tests/end-to-end/tests/it/whmcs/links.rs";
const PROCESSOR: &str = "needs a message that is signed: tests/end-to-end/tests/it/hooks.rs";
const CORRECTIONS: &str = "facts are measured, and tell themselves; corrections are told: \
                           tests/end-to-end/tests/it/facts.rs";

/// Every method that changes something or answers a secret.
const TOLD: &[(&str, Told)] = &[
    ("accounts.v1.CustomerService/CreateCustomer", As(&["customer.created"])),
    ("accounts.v1.SessionService/CreateApiKey", As(&["api_key.created"])),
    ("accounts.v1.SessionService/RevokeApiKey", As(&["api_key.revoked"])),
    ("accounts.v1.SessionService/Login", As(&["session.opened"])),
    ("accounts.v1.SessionService/Logout", As(&["session.closed"])),
    ("accounts.v1.AccountService/CreateAccount", As(&["account.ordered", "account.activated"])),
    (
        "accounts.v1.AccountService/DeleteAccount",
        As(&["account.deletion_begun", "account.deleted"]),
    ),
    ("accounts.v1.AccountService/ScheduleCancellation", As(&["cancellation.scheduled"])),
    ("accounts.v1.AccountService/WithdrawCancellation", As(&["cancellation.withdrawn"])),
    ("accounts.v1.AccountService/ListAccessKeys", As(&["key.read"])),
    ("accounts.v1.AccountService/SuspendAccount", As(&["account.suspended"])),
    ("accounts.v1.AccountService/ResumeAccount", As(&["account.resumed"])),
    ("accounts.v1.AccountService/ChangeAccountPlan", As(&["account.plan_changed"])),
    ("accounts.v1.AccountService/RotateAccessKey", As(&["key.rotated"])),
    ("accounts.v1.AccountService/RevokeAccessKey", As(&["key.revoked"])),
    (
        "accounts.v1.ReconcileService/Reconcile",
        Elsewhere("needs parts that differ: services/accounts/tests/it/reconcile.rs"),
    ),
    ("accounts.v1.SagaService/RetrySaga", Elsewhere(SAGAS)),
    ("accounts.v1.SagaService/UndoSaga", Elsewhere(SAGAS)),
    ("accounts.v1.DeadLetterService/ReplayDeadLetter", Elsewhere(LETTERS)),
    ("accounts.v1.WebhookService/ReplayWebhookDelivery", Elsewhere(WEBHOOKS)),
    ("accounts.v1.WebhookService/TestWebhook", Elsewhere(WEBHOOKS)),
    ("metering.v1.DeadLetterService/ReplayDeadLetter", Not(LETTERS_OF_FIGURES)),
    ("accounts.v1.KeyringService/RotateMasterKey", Elsewhere(KEYRING)),
    ("accounts.v1.KeyringService/RetireMasterKey", Elsewhere(KEYRING)),
    ("accounts.v1.KeyringService/RewrapRecords", Not(REWRAP)),
    ("storage.v1.KeyringService/RewrapRecords", Not(REWRAP)),
    (
        "accounts.v1.AccountService/BindRequest",
        Not("keeps a request id for an action that another role executes, and that role tells it"),
    ),
    ("billing.v1.InvoiceService/RecordPayment", As(&["payment.recorded"])),
    ("billing.v1.InvoiceService/IssueCreditNote", As(&["credit_note.issued"])),
    ("billing.v1.CreditService/RecordCredit", As(&["credit.recorded"])),
    ("billing.v1.CreditService/SetPaymentTerms", As(&["payment_terms.set"])),
    ("billing.v1.ReconcileService/Reconcile", Elsewhere(BILLING_DIFFERS)),
    ("billing.v1.LinkService/LinkCustomer", Elsewhere(LINKS)),
    ("billing.v1.LinkService/UnlinkCustomer", Elsewhere(LINKS)),
    ("billing.v1.HookService/TakeProviderMessage", Not(HINT)),
    ("billing.v1.HookService/TakePayment", Elsewhere(PROCESSOR)),
    ("billing.v1.PlanService/CreatePlan", As(&["plan.created"])),
    ("billing.v1.PlanService/UpdatePlan", As(&["plan.updated"])),
    ("billing.v1.PlanService/ArchivePlan", As(&["plan.archived"])),
    ("billing.v1.SubscriptionService/PlaceOrder", Not(STEP)),
    ("billing.v1.SubscriptionService/ActivateSubscription", Not(STEP)),
    ("billing.v1.SubscriptionService/UndoOrder", Not(STEP)),
    ("billing.v1.SubscriptionService/TerminateSubscription", Not(STEP)),
    ("billing.v1.SubscriptionService/ChangeSubscriptionPlan", Not(STEP)),
    ("billing.v1.SubscriptionService/ScheduleCancellation", Not(STEP)),
    ("billing.v1.SubscriptionService/WithdrawCancellation", Not(STEP)),
    ("metering.v1.MeterService/OpenMeter", Not(STEP)),
    ("metering.v1.MeterService/CloseMeter", Not(STEP)),
    ("metering.v1.UsageService/AwaitUsage", Not(FIGURES)),
    ("metering.v1.FactService/RecordFacts", Elsewhere(CORRECTIONS)),
    ("metering.v1.FactService/RebuildRollups", Not(FIGURES)),
    ("storage.v1.BucketService/CreateBucket", As(&["bucket.created"])),
    ("storage.v1.BucketService/SetBucketQuota", As(&["bucket.quota_set"])),
    ("storage.v1.UploadService/AbortUploads", As(&["bucket.uploads_aborted"])),
    ("storage.v1.BucketService/DeleteBucket", As(&["bucket.deleted"])),
    ("storage.v1.BucketDeletionService/StartBucketDeletion", As(&["bucket.deletion_started"])),
    ("storage.v1.BucketDeletionService/CancelBucketDeletion", Elsewhere(JOBS)),
    (
        "storage.v1.BucketDeletionService/PauseBucketDeletion",
        Not("what it holds up is told when it starts and ends"),
    ),
    (
        "storage.v1.BucketDeletionService/ResumeBucketDeletion",
        Not("what it lets go on is told when it starts and ends"),
    ),
    ("storage.v1.SagaService/RetrySaga", Elsewhere(BUCKET_SAGAS)),
    ("storage.v1.SagaService/UndoSaga", Elsewhere(BUCKET_SAGAS)),
    ("storage.v1.ObjectService/DeleteObject", As(&["file.deleted"])),
    ("storage.v1.LocationService/AddLocation", Elsewhere(LOCATIONS)),
    ("storage.v1.LocationService/UpdateLocation", Elsewhere(LOCATIONS)),
    ("storage.v1.LocationService/RemoveLocation", Elsewhere(LOCATIONS)),
    ("storage.v1.LocationService/DrainLocation", As(&["location.drained"])),
    ("storage.v1.LocationService/UndrainLocation", As(&["location.undrained"])),
    ("storage.v1.EngineAccountService/EnsureEngineAccount", Not(STEP)),
    ("storage.v1.EngineAccountService/IssueEngineKey", Not(STEP)),
    ("storage.v1.EngineAccountService/RemoveEngineAccount", Not(STEP)),
    ("storage.v1.UsageService/CollectUsage", Not(FIGURES)),
    ("accounts.v1.AdoptionService/AdoptAccount", Elsewhere(ADOPTIONS)),
    ("storage.v1.AdoptionService/AdoptEngineAccount", Not(STEP)),
    ("accounts.v1.AccountMoveService/MoveAccount", Elsewhere(MOVES)),
    ("accounts.v1.AccountMoveService/ConfirmAccountMove", Elsewhere(MOVES)),
    ("accounts.v1.AccountMoveService/CancelAccountMove", Elsewhere(MOVES)),
    ("storage.v1.AccountMoveService/StartAccountMove", Not(STEP_OF_MOVE)),
    ("storage.v1.AccountMoveService/FreezeAccountMove", Not(STEP_OF_MOVE)),
    ("storage.v1.AccountMoveService/SwitchAccountMove", Not(STEP_OF_MOVE)),
    ("storage.v1.AccountMoveService/ConfirmAccountMove", Not(STEP_OF_MOVE)),
    ("storage.v1.AccountMoveService/CancelAccountMove", Not(STEP_OF_MOVE)),
];

fn short(method: &MethodAccess) -> &'static str {
    method.path.trim_start_matches("/stowage.")
}

#[test]
fn every_method_that_changes_something_or_answers_a_secret_is_told_or_says_why_not() {
    let told: BTreeMap<_, _> = TOLD.iter().map(|(path, told)| (*path, told)).collect();
    let matters = |method: &&MethodAccess| method.mutates || method.reads_secret;
    for method in METHODS.iter().filter(matters) {
        match told.get(short(method)) {
            Some(As(events)) => assert!(!events.is_empty(), "{}", method.path),
            Some(Elsewhere(why) | Not(why)) => assert!(why.len() > 40, "{}: {why}", method.path),
            None => panic!("{}: is it in the audit? Say so in TOLD", method.path),
        }
    }
    assert_eq!(told.len(), METHODS.iter().filter(matters).count(), "nothing else is told");
}

/// Where locations that come and go are seen in the audit.
const LOCATIONS: &str = "needs an engine that is another server: tests/end-to-end/tests/it/ceph.rs";
/// Where moves are seen in the audit.
const MOVES: &str = "needs a second location: tests/end-to-end/tests/it/ceph.rs";
/// Where adoptions are seen in the audit.
const ADOPTIONS: &str = "needs somebody on an engine: tests/end-to-end/tests/it/ceph/import.rs";
const STEP_OF_MOVE: &str = "a step of a move of an account, which accounts tells as a whole";

/// Calls as one principal, each call under a request id that is its method's path.
struct Acts {
    caller: Caller,
    act_for: Option<String>,
}

impl Acts {
    async fn act<M, A>(&self, path: &'static str, message: M) -> A
    where
        M: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut request = Request::new(message);
        let id = path.parse().expect("a path is plain text");
        request.metadata_mut().insert("x-request-id", id);
        if let Some(customer) = &self.act_for {
            let customer = customer.parse().expect("a number is plain text");
            request.metadata_mut().insert("stowage-act-for", customer);
        }
        let path: http::uri::PathAndQuery = format!("/stowage.{path}").parse().expect("a path");
        let mut grpc = tonic::client::Grpc::new(self.caller.clone());
        grpc.ready().await.expect("the server can be reached");
        let codec = tonic_prost::ProstCodec::<M, A>::default();
        let answer: Result<_, Status> = grpc.unary(request, path.clone(), codec).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error:?}")).into_inner()
    }
}

/// What an administrator does for himself; answers the customer's id.
async fn administer(acts: &Acts) -> (i64, i64) {
    let customer = accounts::Customer {
        email: "audited@example.com".to_owned(),
        currency: "EUR".to_owned(),
        ..Default::default()
    };
    let create = accounts::CreateCustomerRequest { customer: Some(customer), ..Default::default() };
    let made: accounts::Customer =
        acts.act("accounts.v1.CustomerService/CreateCustomer", create).await;
    let create =
        accounts::CreateApiKeyRequest { customer: made.name.clone(), ..Default::default() };
    let key: accounts::CreateApiKeyResponse =
        acts.act("accounts.v1.SessionService/CreateApiKey", create).await;
    let login = accounts::LoginRequest { api_key: key.secret, ..Default::default() };
    let session: accounts::LoginResponse =
        acts.act("accounts.v1.SessionService/Login", login).await;
    let logout = accounts::LogoutRequest { token: session.token };
    let _: accounts::LogoutResponse = acts.act("accounts.v1.SessionService/Logout", logout).await;
    let name = key.api_key.expect("a key").name;
    let revoke = accounts::RevokeApiKeyRequest { name, ..Default::default() };
    let _: accounts::ApiKey = acts.act("accounts.v1.SessionService/RevokeApiKey", revoke).await;
    let name = "locations/NL".to_owned();
    let drain = storage::DrainLocationRequest { name: name.clone(), ..Default::default() };
    let _: storage::Location = acts.act("storage.v1.LocationService/DrainLocation", drain).await;
    let undrain = storage::UndrainLocationRequest { name, ..Default::default() };
    let _: storage::Location =
        acts.act("storage.v1.LocationService/UndrainLocation", undrain).await;
    (made.customer_id, change_plans(acts).await)
}

/// Answers the id of a plan that is left.
async fn change_plans(acts: &Acts) -> i64 {
    let money = |units| Some(Money { currency_code: "EUR".to_owned(), units, nanos: 0 });
    let price = billing::PlanPrice {
        period_price: money(9),
        storage_overage_price: money(1),
        traffic_overage_price: money(1),
    };
    let plan = billing::Plan {
        title: "Audited".to_owned(),
        storage_type: "standard".to_owned(),
        location: "locations/NL".to_owned(),
        prices: vec![price],
        ..Default::default()
    };
    let other = billing::Plan { title: "Other".to_owned(), ..plan.clone() };
    let create = billing::CreatePlanRequest { plan: Some(other), ..Default::default() };
    let other: billing::Plan = acts.act("billing.v1.PlanService/CreatePlan", create).await;
    let create = billing::CreatePlanRequest { plan: Some(plan), ..Default::default() };
    let plan: billing::Plan = acts.act("billing.v1.PlanService/CreatePlan", create).await;
    let name = plan.name.clone();
    let update = billing::UpdatePlanRequest {
        plan: Some(billing::Plan { title: "Renamed".to_owned(), ..plan }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["title".to_owned()] }),
        ..Default::default()
    };
    let _: billing::Plan = acts.act("billing.v1.PlanService/UpdatePlan", update).await;
    let archive = billing::ArchivePlanRequest { name, ..Default::default() };
    let _: billing::Plan = acts.act("billing.v1.PlanService/ArchivePlan", archive).await;
    other.plan_id
}

/// What can be done as a customer, or for one.
async fn use_account(acts: &Acts, (plan_id, other_id): (i64, i64), first_bucket: &str) {
    let create = accounts::CreateAccountRequest {
        plan: format!("plans/{plan_id}"),
        bucket: first_bucket.to_owned(),
        ..Default::default()
    };
    let account: accounts::Account =
        acts.act("accounts.v1.AccountService/CreateAccount", create).await;
    let name = account.name;
    let read = accounts::ListAccessKeysRequest {
        parent: name.clone(),
        with_secrets: true,
        ..Default::default()
    };
    let _: accounts::ListAccessKeysResponse =
        acts.act("accounts.v1.AccountService/ListAccessKeys", read).await;
    change_contents(acts, &name, &format!("{first_bucket}-2")).await;
    change_account(acts, &name, other_id).await;
    if acts.act_for.is_some() {
        hold_account(acts, &name).await;
        pay_invoice(acts).await;
    }
    let cancel = accounts::ScheduleCancellationRequest { name: name.clone(), ..Default::default() };
    let _: accounts::Account =
        acts.act("accounts.v1.AccountService/ScheduleCancellation", cancel).await;
    let withdraw =
        accounts::WithdrawCancellationRequest { name: name.clone(), ..Default::default() };
    let _: accounts::Account =
        acts.act("accounts.v1.AccountService/WithdrawCancellation", withdraw).await;
    let delete = accounts::DeleteAccountRequest { name, ..Default::default() };
    let _: accounts::Account = acts.act("accounts.v1.AccountService/DeleteAccount", delete).await;
}

async fn change_account(acts: &Acts, account: &str, plan_id: i64) {
    let (name, plan) = (account.to_owned(), format!("plans/{plan_id}"));
    let change = accounts::ChangeAccountPlanRequest { name, plan, ..Default::default() };
    let _: accounts::Account =
        acts.act("accounts.v1.AccountService/ChangeAccountPlan", change).await;
    let rotate =
        accounts::RotateAccessKeyRequest { name: account.to_owned(), ..Default::default() };
    let made: accounts::AccessKey =
        acts.act("accounts.v1.AccountService/RotateAccessKey", rotate).await;
    let revoke = accounts::RevokeAccessKeyRequest {
        name: account.to_owned(),
        access_key: made.access_key,
        ..Default::default()
    };
    let _: accounts::AccessKey =
        acts.act("accounts.v1.AccountService/RevokeAccessKey", revoke).await;
}

/// Pays for what was ordered, twice: a payment is told once.
async fn pay_invoice(acts: &Acts) {
    let list = billing::ListInvoicesRequest {
        state: billing::InvoiceState::Open.into(),
        ..Default::default()
    };
    let list: billing::ListInvoicesResponse =
        acts.act("billing.v1.InvoiceService/ListInvoices", list).await;
    for _ in 0..2 {
        let payment = billing::RecordPaymentRequest {
            name: list.invoices[0].name.clone(),
            amount: list.invoices[0].total.clone(),
            reference: "BANK-1".to_owned(),
            ..Default::default()
        };
        let _: billing::Invoice =
            acts.act("billing.v1.InvoiceService/RecordPayment", payment).await;
    }
    change_standing(acts, &list.invoices[0]).await;
}

/// Gives back what was paid, takes money in, and says how the customer pays.
async fn change_standing(acts: &Acts, paid: &billing::Invoice) {
    let customer = format!("customers/{}", paid.customer_id);
    let note = billing::IssueCreditNoteRequest {
        name: paid.name.clone(),
        reason: "too much".to_owned(),
        reference: "NOTE-1".to_owned(),
        ..Default::default()
    };
    let _: billing::Invoice = acts.act("billing.v1.InvoiceService/IssueCreditNote", note).await;
    let credit = billing::RecordCreditRequest {
        customer: customer.clone(),
        amount: paid.total.clone(),
        reference: "BANK-2".to_owned(),
        ..Default::default()
    };
    let _: billing::Standing = acts.act("billing.v1.CreditService/RecordCredit", credit).await;
    let payment_terms = billing::PaymentTerms::Invoiced.into();
    let terms = billing::SetPaymentTermsRequest { customer, payment_terms, ..Default::default() };
    let _: billing::Standing = acts.act("billing.v1.CreditService/SetPaymentTerms", terms).await;
}

/// What no customer does himself.
async fn hold_account(acts: &Acts, account: &str) {
    let suspend =
        accounts::SuspendAccountRequest { name: account.to_owned(), ..Default::default() };
    let _: accounts::Account = acts.act("accounts.v1.AccountService/SuspendAccount", suspend).await;
    let resume = accounts::ResumeAccountRequest { name: account.to_owned(), ..Default::default() };
    let _: accounts::Account = acts.act("accounts.v1.AccountService/ResumeAccount", resume).await;
}

async fn change_contents(acts: &Acts, account: &str, bucket: &str) {
    let (parent, bucket) = (account.to_owned(), bucket.to_owned());
    let create = storage::CreateBucketRequest { parent, bucket, ..Default::default() };
    let bucket: storage::Bucket = acts.act("storage.v1.BucketService/CreateBucket", create).await;
    let (name, quota_bytes) = (bucket.name.clone(), Some(1 << 30));
    let quota = storage::SetBucketQuotaRequest { name, quota_bytes, ..Default::default() };
    let _: storage::Bucket = acts.act("storage.v1.BucketService/SetBucketQuota", quota).await;
    let abort = storage::AbortUploadsRequest { parent: bucket.name.clone(), ..Default::default() };
    let _: storage::AbortUploadsResponse =
        acts.act("storage.v1.UploadService/AbortUploads", abort).await;
    let parent = bucket.name.clone();
    let delete =
        storage::DeleteObjectRequest { parent, key: "a/b".to_owned(), ..Default::default() };
    let _: storage::DeleteObjectResponse =
        acts.act("storage.v1.ObjectService/DeleteObject", delete).await;
    let delete = storage::DeleteBucketRequest { name: bucket.name, ..Default::default() };
    let _: storage::DeleteBucketResponse =
        acts.act("storage.v1.BucketService/DeleteBucket", delete).await;
    let create = storage::CreateBucketRequest {
        parent: account.to_owned(),
        bucket: bucket.bucket + "-3",
        ..Default::default()
    };
    let bucket: storage::Bucket = acts.act("storage.v1.BucketService/CreateBucket", create).await;
    let start = storage::StartBucketDeletionRequest { bucket: bucket.name, ..Default::default() };
    let _: storage::BucketDeletion =
        acts.act("storage.v1.BucketDeletionService/StartBucketDeletion", start).await;
}

pub(crate) async fn entries_of(caller: &Caller, customer: &str) -> Vec<AuditEntry> {
    let request = ListAuditEntriesRequest {
        customer: customer.to_owned(),
        page_size: 1000,
        ..Default::default()
    };
    let mut audit = AuditServiceClient::new(caller.clone());
    let answer = audit.list_audit_entries(request).await.expect("entries are listed");
    answer.into_inner().entries
}

/// Whether a method of this service is called as or for a customer in these tests.
fn is_of_account(path: &str) -> bool {
    let services = [".AccountService/", ".InvoiceService/", ".CreditService/"];
    let is_storage = path.starts_with("storage.") && !path.contains(".LocationService/");
    is_storage || services.iter().any(|service| path.contains(service))
}

/// Whether a customer may do it himself.
fn is_customers(path: &str) -> bool {
    let method = METHODS.iter().find(|method| short(method) == path).expect("a method");
    is_of_account(path) && method.allow.contains(&PrincipalRole::Customer.into())
}

/// Waits until all that was done is told, with who did it and for whom.
async fn is_told(site: &Site, by: (&str, &str), methods: impl Fn(&str) -> bool) {
    let limit = Duration::from_secs(20);
    let wanted = TOLD.iter().filter(|(path, _)| methods(path));
    for (path, told) in wanted {
        let As(events) = told else { continue };
        for event in *events {
            eventually("the audit has it", limit, async || {
                let entries = entries_of(&site.as_admin(), "").await;
                let has_it = entries.iter().any(|entry| {
                    let who = match *event {
                        // The key proves who it is, whoever passes it on.
                        "session.opened" | "session.closed" => (entry.customer.as_str(), ""),
                        _ => by,
                    };
                    let is_his = (entry.actor.as_str(), entry.acted_for.as_str()) == who;
                    let has_state = !(entry.old_json.is_empty() && entry.new_json.is_empty());
                    entry.event == *event && entry.request_id == *path && is_his && has_state
                });
                if has_it { Ok(()) } else { Err(format!("{path} {event} {by:?}: {entries:#?}")) }
            })
            .await;
        }
    }
}

async fn is_whole(caller: &Caller, customer: &str) -> i64 {
    let request = VerifyAuditRequest { customer: customer.to_owned(), ..Default::default() };
    let mut audit = AuditServiceClient::new(caller.clone());
    let found = audit.verify_audit(request).await.expect("it can be verified").into_inner();
    assert_eq!((&found.broken, found.next_page_token.as_str()), (&None, ""), "{customer}");
    found.entry_count
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_acts_is_in_the_audit_with_whom_he_acts_for_and_his_call() {
    let kit = Kit::start().await;
    let site = &kit.site;
    let plan_id = site.plans().await.0;
    let administrator = Acts { caller: site.as_admin(), act_for: None };
    let (id, other_id) = administer(&administrator).await;
    let plans = (plan_id, other_id);
    is_told(site, ("administrator", ""), |path| !is_of_account(path)).await;

    let acting = Acts { caller: site.as_admin(), act_for: Some(id.to_string()) };
    use_account(&acting, plans, "audited-1").await;
    let name = format!("customers/{id}");
    is_told(site, ("administrator", &name), is_of_account).await;

    let customer = site.customer("himself@example.com", "EUR").await;
    let own = Acts { caller: site.with_token(&customer.token), act_for: None };
    use_account(&own, plans, "audited-2").await;
    let himself = format!("customers/{}", customer.id);
    is_told(site, (&himself, ""), is_customers).await;

    assert!(is_whole(&site.as_admin(), "customers/0").await >= 3);
    assert!(is_whole(&site.as_admin(), &name).await > 10);
    // The customer verifies what is kept about him, and reads every entry that was counted.
    let count = is_whole(&own.caller, "").await;
    let entries = entries_of(&own.caller, "").await;
    assert_eq!(i64::try_from(entries.len()), Ok(count));
    assert!(entries.iter().all(|entry| entry.customer == himself && !entry.request_id.is_empty()));
    kit.stop().await;
}
