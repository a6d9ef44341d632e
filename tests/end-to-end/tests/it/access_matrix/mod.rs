//! Every RPC by everybody, at both doors: the gateway's with tokens, and the roles' own with
//! assertions, over sockets.
//!
//! The roles' doors are ports of the server that is under test, opened by the testkit around the
//! same channels that the gateway calls. So they have the layers that a process of one role has,
//! and both doors are tried on one set of data, with no broker to start first.
//!
//! First comes whoever may not, for every RPC, all on the same things. Nothing of them may have
//! changed then, and the audit tells nothing of it. Then come those who may; a call that changes
//! something gets things of its own.

mod callers;
mod rows_accounts;
mod rows_billing;
mod rows_metering;
mod rows_sessions;
mod rows_storage;
mod table;
mod world;

use bytes::Bytes;
use futures_util::future::join_all;
use prost::Message as _;
use stowage_proto::{accounts, billing, metering, storage};
use stowage_testkit::{Door, Headers, RoleDoors};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use callers::{Caller, Expected, For, Who};
use table::{Answer, Foreign, Row, rows};
use world::{Names, World};

/// Where calls go.
enum Doors {
    Gateway(Door),
    Roles(RoleDoors),
}

impl Doors {
    async fn call(&self, headers: &Headers, path: &str, message: Vec<u8>) -> Reply {
        match self {
            Self::Gateway(door) => door.call(headers, path, message.into()).await,
            Self::Roles(doors) => doors.call(headers, path, message.into()).await,
        }
    }
}

type Reply = Result<Bytes, Status>;

/// A code, and the answer, or the message and the details of the error.
type Text = (Code, Bytes, Bytes);

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_at_the_gateway_answers_everybody_as_the_table_says() {
    let world = World::start().await;
    let door = Doors::Gateway(Door::at(world.kit.site.gateway));
    let callers = callers::at_gateway(&world).await;
    check(world, door, callers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_at_its_role_answers_everybody_as_the_table_says() {
    let world = World::start().await;
    let doors = Doors::Roles(world.kit.role_doors().await);
    let callers = callers::at_roles(&world);
    check(world, doors, callers).await;
}

async fn check(world: World, doors: Doors, callers: Vec<Caller>) {
    let mut run = Run { world, doors, faults: Vec::new(), calls: 0 };
    run.world.kit.settle().await;
    let before = run.holdings().await;
    for row in rows() {
        for caller in &callers {
            run.refuse(row, caller).await;
        }
    }
    run.world.kit.settle().await;
    let after = run.holdings().await;
    for ((what, before), (_, after)) in before.iter().zip(&after) {
        if before != after {
            let what = format!("{what} was changed by somebody who may not");
            run.faults.push(format!("{what}: {before:?}, and then {after:?}"));
        }
    }
    for row in rows() {
        run.admit(row, &callers).await;
    }
    let Run { world, doors, faults, calls } = run;
    println!("{} rows, {} callers, {calls} calls", rows().count(), callers.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    drop(doors);
    world.kit.stop().await;
}

struct Run {
    world: World,
    doors: Doors,
    faults: Vec<String>,
    calls: usize,
}

impl Run {
    async fn call(&mut self, row: &Row, caller: &Caller, names: &Names) -> Reply {
        self.calls += 1;
        let reply = self.doors.call(&caller.headers, row.path, (row.request)(names)).await;
        if let Err(status) = &reply
            && let Some(word) = internal_word(status)
        {
            self.fault(row, caller, &format!("{word:?} is in {status:?}"));
        }
        reply
    }

    fn fault(&mut self, row: &Row, caller: &Caller, what: &str) {
        self.faults.push(format!("{} as {}: {what}", row.path, caller.name));
    }

    /// Calls as somebody who may not, if he may not.
    async fn refuse(&mut self, row: &Row, caller: &Caller) {
        let expected = caller.who.expects(row);
        if matches!(expected, Expected::Answer(_)) {
            return;
        }
        let names = self.world.names.clone();
        let reply = self.call(row, caller, &names).await;
        self.check_nothing_told(row, caller, &reply);
        let is_right = match expected {
            Expected::Unauthenticated => {
                fails(&reply, Some(Code::Unauthenticated), "TOKEN_INVALID")
            }
            Expected::RoleNotAllowed => {
                fails(&reply, Some(Code::PermissionDenied), "ROLE_NOT_ALLOWED")
            }
            Expected::Foreign(Foreign::Told(wanted)) => fails(&reply, Some(Code::NotFound), wanted),
            Expected::Foreign(foreign) => {
                let missing = self.call(row, caller, &names.missing()).await;
                if text(&reply) != text(&missing) {
                    let (reply, missing) = (text(&reply), text(&missing));
                    let what = format!("{reply:?}, and for a missing one {missing:?}");
                    self.fault(row, caller, &what);
                }
                self.check_under_own(row, caller).await;
                match foreign {
                    Foreign::NotFound(wanted) => fails(&reply, Some(Code::NotFound), wanted),
                    _ => true,
                }
            }
            Expected::Answer(_) => true,
        };
        if !is_right {
            self.fault(row, caller, &format!("not {expected:?}: {:?}", text(&reply)));
        }
    }

    /// What is another's is not there under an account of one's own either.
    async fn check_under_own(&mut self, row: &Row, caller: &Caller) {
        let is_other = matches!(caller.who, Who::Is(_, For::Other));
        let own = &self.world.others;
        let theirs = self.world.names.under(own);
        // As long as the name it stands for, which errors repeat.
        let bucket = "x".repeat(theirs.bucket.len());
        let missing = Names { bucket, ..theirs.missing().under(own) };
        let is_named = (row.request)(&theirs) != (row.request)(&missing);
        if !is_other || !is_named || row.foreign == Foreign::AsMissing {
            return;
        }
        let reply = self.call(row, caller, &theirs).await;
        self.check_nothing_told(row, caller, &reply);
        let names = (theirs.bucket.as_str(), missing.bucket.as_str());
        let missing = text(&self.call(row, caller, &missing).await);
        let reply = renamed(text(&reply), names);
        if reply != missing || reply.0 == Code::Ok {
            let what = format!("under his own: {reply:?}, and for a missing one {missing:?}");
            self.fault(row, caller, &what);
        }
    }

    /// Calls as everybody who may.
    async fn admit(&mut self, row: &Row, callers: &[Caller]) {
        let admitted = callers.iter().filter_map(|caller| match caller.who.expects(row) {
            Expected::Answer(answer) => Some((caller, answer)),
            _ => None,
        });
        let admitted: Vec<_> = admitted.collect();
        let world = &self.world;
        let names = admitted.iter().map(async |_| match row.mutates() {
            true => world.fresh(row.need).await,
            false => world.names.clone(),
        });
        let names = join_all(names).await;
        for ((caller, answer), names) in admitted.into_iter().zip(names) {
            self.admit_one(row, caller, (answer, &names)).await;
        }
    }

    async fn admit_one(&mut self, row: &Row, caller: &Caller, (answer, names): (Answer, &Names)) {
        let reply = self.call(row, caller, names).await;
        let is_right = match answer {
            Answer::Done => reply.is_ok(),
            Answer::Fails(wanted) => fails(&reply, None, wanted),
            Answer::DoneOr(wanted) => reply.is_ok() || fails(&reply, None, wanted),
        };
        if !is_right {
            self.fault(row, caller, &format!("not {answer:?}: {:?}", text(&reply)));
        }
        let is_staff = caller.name == "staff";
        if is_staff && tells(&reply, &self.world.secret_key) {
            self.fault(row, caller, "staff were told a secret");
        }
    }

    fn check_nothing_told(&mut self, row: &Row, caller: &Caller, reply: &Reply) {
        let told = self.world.private.iter().find(|secret| tells(reply, secret)).cloned();
        if let Some(told) = told {
            self.fault(row, caller, &format!("{told} is in {:?}", text(reply)));
        }
    }

    /// What the owner has, and what is of the installation, as the administrator sees it.
    async fn holdings(&self) -> Vec<(&'static str, Text)> {
        let admin = self.world.kit.site.as_admin();
        let mut all = Vec::new();
        for (method, message) in readings(&self.world.names) {
            let path = format!("/stowage.{method}");
            let answer = stowage_testkit::call_raw(&admin, &path, message.into()).await;
            all.push((method, text(&answer)));
        }
        all.push(("the owner's meter", (Code::Ok, self.meter().await, Bytes::new())));
        all
    }

    /// What the rankings have of the owner's account, without figures, which come by themselves.
    async fn meter(&self) -> Bytes {
        let ask = metering::RankAccountsRequest {
            s3uid: self.world.names.s3uid.clone(),
            ..Default::default()
        };
        let path = "metering.v1.UsageService/RankAccounts";
        let ranked: metering::RankAccountsResponse =
            world::ask(&self.world.kit.site.as_admin(), path, ask).await;
        let all = ranked.accounts.into_iter();
        all.flat_map(|one| one.dimensions.unwrap_or_default().encode_to_vec()).collect()
    }
}

/// Methods that read what somebody might have changed, with what they are asked.
fn readings(names: &Names) -> Vec<(&'static str, Vec<u8>)> {
    let (parent, customer) = (names.account(), names.customer());
    let account = accounts::GetAccountRequest { name: names.account() };
    let keys = accounts::ListAccessKeysRequest { parent: parent.clone(), ..Default::default() };
    let audit = accounts::ListAuditEntriesRequest { newest_first: true, ..Default::default() };
    let api_keys = accounts::ListApiKeysRequest { customer, ..Default::default() };
    let location = "locations/NL".to_owned();
    let engine = storage::ListEngineAccountsRequest { parent: location, ..Default::default() };
    let buckets = storage::ListBucketsRequest { parent: parent.clone(), ..Default::default() };
    let deletions = storage::ListBucketDeletionsRequest { parent, ..Default::default() };
    let objects = storage::ListObjectsRequest { parent: names.bucket(), ..Default::default() };
    let service_ids = vec![names.service_id];
    let subscription = billing::BatchGetSubscriptionsRequest { service_ids, ..Default::default() };
    vec![
        ("accounts.v1.AccountService/GetAccount", account.encode_to_vec()),
        ("accounts.v1.AccountService/ListAccessKeys", keys.encode_to_vec()),
        ("accounts.v1.AuditService/ListAuditEntries", audit.encode_to_vec()),
        ("accounts.v1.SessionService/ListApiKeys", api_keys.encode_to_vec()),
        ("accounts.v1.CustomerService/ListCustomers", Vec::new()),
        ("accounts.v1.KeyringService/GetKeyring", Vec::new()),
        ("accounts.v1.SagaService/ListSagas", Vec::new()),
        ("billing.v1.PlanService/ListPlans", Vec::new()),
        ("billing.v1.SubscriptionService/ListOpenSubscriptions", Vec::new()),
        ("billing.v1.SubscriptionService/BatchGetSubscriptions", subscription.encode_to_vec()),
        ("storage.v1.EngineAccountService/ListEngineAccounts", engine.encode_to_vec()),
        ("storage.v1.BucketService/ListBuckets", buckets.encode_to_vec()),
        ("storage.v1.BucketDeletionService/ListBucketDeletions", deletions.encode_to_vec()),
        ("storage.v1.ObjectService/ListObjects", objects.encode_to_vec()),
    ]
}

/// Whether a call failed for this reason, and with this code if one is given.
fn fails(reply: &Reply, code: Option<Code>, wanted: &str) -> bool {
    let Err(status) = reply else { return false };
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    code.is_none_or(|code| code == status.code()) && reason == Some(wanted)
}

/// All that a client can tell one answer from another by.
fn text(reply: &Reply) -> Text {
    match reply {
        Ok(answer) => (Code::Ok, answer.clone(), Bytes::new()),
        Err(status) => {
            let message = Bytes::copy_from_slice(status.message().as_bytes());
            (status.code(), message, Bytes::copy_from_slice(status.details()))
        }
    }
}

/// The text with one name in place of another of the same length.
fn renamed((code, message, details): Text, (from, to): (&str, &str)) -> Text {
    let rename = |bytes: Bytes| {
        let mut bytes = bytes.to_vec();
        for start in 0..bytes.len().saturating_sub(from.len() - 1) {
            if bytes[start..].starts_with(from.as_bytes()) {
                bytes[start..start + to.len()].copy_from_slice(to.as_bytes());
            }
        }
        Bytes::from(bytes)
    };
    (code, rename(message), rename(details))
}

/// Whether `secret` is anywhere in an answer.
fn tells(reply: &Reply, secret: &str) -> bool {
    let (_, first, second) = text(reply);
    let is_in = |bytes: &Bytes| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    is_in(&first) || is_in(&second)
}

/// A word that only the inside knows, if an error has one.
fn internal_word(status: &Status) -> Option<&'static str> {
    const WORDS: &[&str] = &[
        "sqlite",
        "SQL",
        "SELECT",
        "database",
        "sqlx",
        "panicked",
        "src/",
        ".rs:",
        "127.0.0.1",
        "/tmp",
        "os error",
        "transport error",
        "h2 ",
        "hyper",
        "tonic",
    ];
    let details = String::from_utf8_lossy(status.details());
    let has = |word: &&&str| status.message().contains(**word) || details.contains(**word);
    WORDS.iter().find(has).copied()
}
