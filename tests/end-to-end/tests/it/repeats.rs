//! Requests that are sent twice: every action and every method that changes something.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde_json::Value;
use stowage_proto::common::PrincipalRole;
use stowage_proto::{DESCRIPTORS, METHODS};
use stowage_testkit::{Account, Answer, Customer, Kit, Process, Site, call_raw};
use tonic::Code;

/// Parameters of a call.
type Parameters<'a> = Vec<(&'a str, &'a str)>;

/// An action, what it is sent, and what would be another request.
struct Case<'a> {
    action: &'static str,
    parameters: Parameters<'a>,
    other: Parameters<'a>,
}

/// In an order in which each can be done, on two accounts as a client names them.
fn cases<'a>(plan_id: &'a str, (first, second): (&'a str, &'a str)) -> Vec<Case<'a>> {
    let uid = ("s3uid", first);
    let another = ("s3uid", second);
    let plan = ("plan_id", plan_id);
    let bucket = |name| ("bucket_name", name);
    let case = |action, parameters, other| Case { action, parameters, other };
    vec![
        case("create_order", vec![plan, bucket("r-1")], vec![plan, bucket("r-2")]),
        case("create_account", vec![plan, bucket("r-3")], vec![plan, bucket("r-4")]),
        case("create_bucket", vec![uid, bucket("r-5")], vec![uid, bucket("r-6")]),
        case(
            "delete_file",
            vec![uid, bucket("r-5"), ("filename", "a")],
            vec![uid, bucket("r-5"), ("filename", "b")],
        ),
        case("delete_bucket", vec![uid, bucket("r-5")], vec![uid, bucket("repeats-0")]),
        case("update_traffic_info", vec![uid], vec![another]),
        case("delete_payment_account", vec![uid, ("reason", "a")], vec![uid, ("reason", "b")]),
        case("cancel_payment_account_deletion", vec![uid], vec![another]),
        case("delete_account", vec![uid], vec![another]),
    ]
}

struct Shop {
    kit: Kit,
    plan_id: String,
    customer: Customer,
}

impl Shop {
    async fn start() -> Self {
        let kit = Kit::start().await;
        let customer = kit.site.customer("twice@example.com", "EUR").await;
        let plan_id = kit.site.plans().await.0.to_string();
        Self { kit, plan_id, customer }
    }

    fn site(&self) -> &Site {
        &self.kit.site
    }

    async fn account(&self, bucket: &str) -> Account {
        let plan_id = self.plan_id.parse().expect("an id is a number");
        self.site().order(&self.customer.token, plan_id, bucket).await
    }

    /// Whose token an action takes.
    fn token(&self, action: &str) -> &str {
        match action {
            "update_traffic_info" => &self.site().admin_token,
            _ => &self.customer.token,
        }
    }

    async fn send(&self, action: &str, key: &str, parameters: &[(&str, &str)]) -> Answer {
        let all = [parameters, &[("idempotency_key", key)]].concat();
        self.site().facade.action(action, self.token(action), &all).await
    }

    /// The same with the key in the header.
    async fn send_header(&self, action: &str, key: &str, parameters: &[(&str, &str)]) -> Answer {
        let request = keyed(action, self.token(action), key, parameters);
        self.site().facade.send(request).await
    }
}

/// A call with its key in the header.
fn keyed(
    action: &str,
    token: &str,
    key: &str,
    parameters: &[(&str, &str)],
) -> http::Request<Bytes> {
    let all: BTreeMap<_, _> = [&[("token", token)], parameters].concat().into_iter().collect();
    let body = serde_json::to_vec(&all).expect("a map can be written");
    http::Request::post(format!("/s3/{action}"))
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Bytes::from(body))
        .expect("a request can be made")
}

/// Actions that take a key, as the document of the facade says.
pub(crate) async fn actions_with_a_key(site: &Site) -> BTreeSet<String> {
    let document = site.facade.get("/openapi.json", &[]).await.value();
    let paths = document["paths"].as_object().expect("a document has paths");
    let takes = |operations: &Value| operations.to_string().contains("idempotency_key");
    let names = paths.iter().filter(|(_, operations)| takes(operations));
    names.filter_map(|(path, _)| path.strip_prefix("/s3/").map(str::to_owned)).collect()
}

/// Two accounts, as their hex s3uids or as the integers of `get_users`.
async fn two_accounts(shop: &Shop, by_number: bool) -> (String, String) {
    let first = shop.account("repeats-0").await;
    let second = shop.account("repeats-1").await;
    if !by_number {
        return (first.s3uid, second.s3uid);
    }
    let all = shop.site().accounts(&shop.customer.token).await;
    let number = |of: &Account| {
        let found = all.iter().find(|account| account.s3uid == of.s3uid);
        found.expect("it was ordered").account_id.to_string()
    };
    (number(&first), number(&second))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_that_changes_something_repeats_its_first_answer() {
    for by_number in [false, true] {
        let shop = Shop::start().await;
        let accounts = two_accounts(&shop, by_number).await;
        let cases = cases(&shop.plan_id, (&accounts.0, &accounts.1));
        let covered: BTreeSet<_> = cases.iter().map(|case| case.action.to_owned()).collect();
        assert_eq!(covered, actions_with_a_key(shop.site()).await);
        repeats_its_first_answer(&shop, &cases).await;
        assert_eq!(shop.site().accounts(&shop.customer.token).await.len(), 3);
        shop.kit.stop().await;
    }
}

async fn repeats_its_first_answer(shop: &Shop, cases: &[Case<'_>]) {
    let key_of = |action: &str| format!("key of {action}");
    let mut answers = Vec::new();
    for Case { action, parameters, other } in cases {
        let answer = shop.send(action, &key_of(action), parameters).await;
        answer.success();
        assert_reused(action, &shop.send(action, &key_of(action), other).await);
        if *action == "update_traffic_info" {
            // Younger figures, which are not the repeat's.
            let younger = shop.site().facade.action(action, shop.token(action), parameters).await;
            assert_ne!(younger.success()["as_of"], "", "{}", younger.text());
        }
        answers.push((action, parameters, answer));
    }
    // Also when all that came after it has been done, and wherever the key is.
    for (action, parameters, answer) in &answers {
        for again in [
            shop.send(action, &key_of(action), parameters).await,
            shop.send_header(action, &key_of(action), parameters).await,
        ] {
            assert_eq!(again.status, 200, "{action}: {}", again.text());
            assert_eq!(again.text(), answer.text(), "{action}");
        }
    }
}

/// A key names one request, and that is of one action.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_action_is_refused_for_every_other() {
    let shop = Shop::start().await;
    let accounts = two_accounts(&shop, false).await;
    let cases = cases(&shop.plan_id, (&accounts.0, &accounts.1));
    // Keys are of a customer: what only an administrator does, he does for him.
    let id = shop.customer.id.to_string();
    let send = async |case: &Case<'_>, key: &str| {
        let parameters = [case.parameters.as_slice(), &[("id", &id), ("idempotency_key", key)]];
        let parameters = parameters.concat();
        shop.site().facade.action(case.action, &shop.site().admin_token, &parameters).await
    };
    for (done, of) in cases.iter().enumerate() {
        let key = format!("key of {}", of.action);
        let first = send(of, &key).await;
        first.success();
        for case in cases.iter().filter(|case| case.action != of.action) {
            assert_reused(case.action, &send(case, &key).await);
        }
        assert_eq!(send(of, &key).await.text(), first.text(), "{}", of.action);
        // Nothing was executed by any of them.
        let there = shop.site().accounts(&shop.customer.token).await.len();
        assert_eq!(there, 2 + (done + 1).min(2) - usize::from(done + 1 == cases.len()));
    }
    shop.kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_tried_again_and_keeps_its_key() {
    let shop = Shop::start().await;
    let mine = shop.account("mine").await;
    let other = shop.site().customer("other@example.com", "EUR").await;
    let plan_id = shop.plan_id.parse().expect("an id is a number");
    let theirs = shop.site().order(&other.token, plan_id, "wanted").await;
    let make = |bucket| [("s3uid", mine.s3uid.as_str()), ("bucket_name", bucket)];
    for _ in 0..2 {
        shop.send("create_bucket", "k", &make("wanted")).await.failure();
    }
    assert_reused("create_bucket", &shop.send("create_bucket", "k", &make("free")).await);
    let gone = [("s3uid", theirs.s3uid.as_str()), ("bucket_name", "wanted")];
    shop.site().facade.action("delete_bucket", &other.token, &gone).await.success();
    shop.send("create_bucket", "k", &make("wanted")).await.success();
    shop.kit.stop().await;
}

fn assert_reused(action: &str, reused: &Answer) {
    assert_eq!(reused.status, 409, "{action}: {}", reused.text());
    assert_eq!(reused.value()["code"], -1, "{}", reused.text());
    assert!(!reused.headers.contains_key("retry-after"), "{action}: it will not get better");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_customer_are_nothing_to_another_and_an_administrator_shares_them() {
    let shop = Shop::start().await;
    let other = shop.site().customer("other@example.com", "EUR").await;
    let facade = &shop.site().facade;
    let order = |bucket| {
        [("plan_id", shop.plan_id.as_str()), ("bucket_name", bucket), ("idempotency_key", "k")]
    };
    let first = facade.action("create_order", &shop.customer.token, &order("shared-1")).await;
    let uid = first.success()["s3uid"].clone();
    let theirs = facade.action("create_order", &other.token, &order("shared-2")).await;
    assert_ne!(theirs.success()["s3uid"], uid);
    let id = shop.customer.id.to_string();
    let as_admin = [&order("shared-1")[..], &[("id", id.as_str())]].concat();
    let again = facade.action("create_order", &shop.site().admin_token, &as_admin).await;
    assert_eq!(again.text(), first.text());
    shop.kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twins_sent_at_once_one_is_executed_and_the_others_come_back() {
    let shop = Shop::start().await;
    let order = [("plan_id", shop.plan_id.as_str()), ("bucket_name", "twins")];
    let twins =
        futures_util::future::join_all((0..12).map(|_| shop.send("create_order", "twins", &order)));
    let mut orders = BTreeSet::new();
    for twin in twins.await {
        if twin.status == 409 {
            assert_eq!(twin.headers["retry-after"], "1", "{}", twin.text());
        } else {
            orders.insert(twin.success()["s3uid"].to_string());
        }
    }
    assert_eq!(orders.len(), 1);
    let again = shop.send("create_order", "twins", &order).await.success();
    assert!(orders.contains(&again["s3uid"].to_string()));
    assert_eq!(shop.site().accounts(&shop.customer.token).await.len(), 1);
    shop.kit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_cut_off_is_ended_by_its_repeat() {
    let mut server = Process::start().await;
    let plan_id = server.site.plans().await.0.to_string();
    let customer = server.site.customer("unlucky@example.com", "EUR").await;
    let token = customer.token.as_str();
    // Where the kill falls differs from run to run; what must hold does not.
    for (round, delay_ms) in [0, 3, 6, 10, 15, 25].into_iter().enumerate() {
        let bucket = format!("cut-off-{round}");
        let order = [("plan_id", plan_id.as_str()), ("bucket_name", bucket.as_str())];
        let order = || keyed("create_order", token, &bucket, &order);
        let uid = ended_after_kill(&mut server, delay_ms, order).await["s3uid"].clone();
        let accounts = server.site.accounts(token).await;
        assert_eq!(accounts.len(), 1, "round {round}");
        let uid = uid.as_str().expect("an order has an account");
        let gone = [("s3uid", uid), ("bucket_name", bucket.as_str())];
        let delete = || keyed("delete_bucket", token, &format!("delete {bucket}"), &gone);
        ended_after_kill(&mut server, delay_ms / 3, delete).await;
        let delete = || keyed("delete_account", token, &format!("end {bucket}"), &gone[..1]);
        ended_after_kill(&mut server, delay_ms / 2, delete).await;
        assert!(server.site.accounts(token).await.is_empty(), "round {round}");
    }
    assert!(server.stop("TERM").await.success());
}

/// Sends a request, kills the server meanwhile, and sends it again to the next one.
async fn ended_after_kill(
    server: &mut Process,
    delay_ms: u64,
    request: impl Fn() -> http::Request<Bytes>,
) -> Value {
    let facade = server.site.facade.clone();
    let first = request();
    let mut first = tokio::spawn(async move { facade.try_send(first).await });
    let early = tokio::time::timeout(Duration::from_millis(delay_ms), &mut first).await;
    server.kill();
    let first = match early {
        Ok(first) => first,
        Err(_) => first.await,
    };
    server.restart().await;
    let again = server.site.facade.send(request()).await;
    if let Ok(first) = first.expect("the client does not panic") {
        assert_eq!(again.text(), first.text(), "what was answered is answered again");
    }
    again.success()
}

/// Number of the field `request_id` by the full name of its message, of requests only: entries of
/// the audit and events say which call they are of.
fn request_id_fields() -> BTreeMap<String, i32> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("the descriptors can be read");
    let mut fields = BTreeMap::new();
    for file in &set.file {
        let requests = file.message_type.iter().filter(|m| m.name().ends_with("Request"));
        for message in requests {
            let field = message.field.iter().find(|field| field.name() == "request_id");
            if let Some(field) = field {
                fields.insert(format!(".{}.{}", file.package(), message.name()), field.number());
            }
        }
    }
    fields
}

/// The request message of each method, by its path.
fn inputs() -> BTreeMap<String, String> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("the descriptors can be read");
    let mut inputs = BTreeMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                inputs.insert(path, method.input_type().to_owned());
            }
        }
    }
    inputs
}

/// From the contracts: a method without its request id would not look at this one.
#[tokio::test(flavor = "multi_thread")]
async fn every_method_that_changes_something_looks_at_its_request_id_or_says_why_not() {
    let kit = Kit::start().await;
    let (inputs, numbers) = (inputs(), request_id_fields());
    let mut looked_at = 0;
    for method in METHODS.iter().filter(|method| method.mutates) {
        match method.repeat_key {
            "request_id" => {}
            // Why it needs none is in the contract.
            "" => {
                assert!(method.repeat_exempt.len() > 40, "{}", method.path);
                continue;
            }
            // Named by what is to be, for other roles only.
            _ => {
                assert_eq!(method.allow, [i32::from(PrincipalRole::Service)], "{}", method.path);
                continue;
            }
        }
        let number = numbers[&inputs[method.path]];
        let id = "x".repeat(65);
        let mut message = Vec::new();
        prost::encoding::string::encode(u32::try_from(number).unwrap_or(0), &id, &mut message);
        let refused = call_raw(&kit.site.as_admin(), method.path, message.into()).await;
        let refused = refused.expect_err(method.path);
        assert_eq!(refused.code(), Code::InvalidArgument, "{} {refused}", method.path);
        assert!(refused.message().contains("request_id is longer"), "{} {refused}", method.path);
        looked_at += 1;
    }
    assert_eq!(looked_at, numbers.len(), "a request_id that no method declares");
    assert_eq!(looked_at, 52);
    kit.stop().await;
}
