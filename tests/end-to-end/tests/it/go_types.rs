//! The facade's answers as a client in Go reads them: into typed structs, strictly.
//!
//! Rules of Go's `encoding/json` with `DisallowUnknownFields`: a `string` takes a JSON string and
//! nothing else, an `int64` a number without fraction or exponent, a `float64` any number, a field
//! that the struct does not have is an error. Go lets `null` through silently, and leaves a zero
//! behind that the client takes for a figure, so here it is let into pointers only. Every field of
//! a struct must be there, or a client could not tell it from a zero either.

use serde_json::Value;
use stowage_testkit::{Account, Answer, Customer, Kit, Site, eventually};

use crate::walk::SHOWN_WITHIN;

/// A type of Go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Go {
    Text,
    Int,
    Float,
    Bool,
    /// `map[string]float64`, and the like.
    Map(&'static Self),
    /// `map[string]any`.
    AnyMap,
    Slice(&'static Self),
    Pointer(&'static Self),
    Struct(&'static [(&'static str, Self)]),
}

use Go::{AnyMap, Bool, Float, Int, Map, Pointer, Slice, Struct, Text};

impl Go {
    /// Decodes a value at `path`.
    ///
    /// # Errors
    /// What Go would say.
    pub(crate) fn decode(self, path: &str, value: &Value) -> Result<(), String> {
        let refused = || Err(format!("{path}: cannot unmarshal {value} into {self:?}"));
        match (self, value) {
            (Pointer(_), Value::Null)
            | (Text, Value::String(_))
            | (Bool, Value::Bool(_))
            | (Float, Value::Number(_))
            | (AnyMap, Value::Object(_)) => Ok(()),
            (Int, Value::Number(number)) if number.is_i64() => Ok(()),
            (Pointer(to), value) => to.decode(path, value),
            (Slice(of), Value::Array(items)) => items
                .iter()
                .enumerate()
                .try_for_each(|(at, item)| of.decode(&format!("{path}[{at}]"), item)),
            (Map(of), Value::Object(fields)) => fields
                .iter()
                .try_for_each(|(name, value)| of.decode(&format!("{path}[{name}]"), value)),
            (Struct(fields), Value::Object(found)) => {
                for (name, _) in found {
                    if !fields.iter().any(|(known, _)| known == name) {
                        return Err(format!("{path}: unknown field {name:?}"));
                    }
                }
                fields.iter().try_for_each(|(name, of)| match found.get(*name) {
                    Some(value) => of.decode(&format!("{path}.{name}"), value),
                    None => Err(format!("{path}: no field {name:?}")),
                })
            }
            _ => refused(),
        }
    }
}

const FAILURE: &[(&str, Go)] =
    &[("code", Int), ("message", Text), ("result", Int), ("error", Text)];
const FAILURE_WITH_DETAILS: &[(&str, Go)] = &[
    ("code", Int),
    ("message", Text),
    ("result", Int),
    ("error", Text),
    ("details", Struct(&[("error", Text)])),
];
const PLAN: Go = Struct(&[
    ("id", Int),
    ("name", Text),
    ("active", Int),
    ("storage_type", Text),
    ("location", Text),
    ("price", Struct(&[("base_price", Float), ("price", Map(&Float))])),
    ("traffic_overage_price", Map(&Float)),
    ("storage_overage_price", Map(&Float)),
]);
const ORDER: &[(&str, Go)] = &[
    ("s3uid", Text),
    ("order_id", Int),
    ("invoice_id", Int),
    ("service_id", Int),
    ("status", Text),
    ("endpoint", Text),
];
const METERING: Go = Struct(&[("total_traffic_gb", Float), ("total_storage_gb", Float)]);
const METERED_BUCKET: Go = Struct(&[("name", Text), ("usage", Int), ("as_of", Pointer(&Text))]);
const LIVE_BUCKET: Go = Struct(&[
    ("name", Text),
    ("usage", Int),
    ("objects", Int),
    ("traffic_in", Int),
    ("traffic_out", Int),
    ("snapshots", Slice(&Text)),
]);
const SERVICE: Go = Struct(&[
    ("id", Int),
    ("entity_id", Int),
    ("service_ident", Text),
    ("period", Text),
    ("period_start", Pointer(&Text)),
    ("period_end", Pointer(&Text)),
    ("next_commit_date", Pointer(&Text)),
    ("status", Text),
]);
const USER: Go = Struct(&[
    ("id", Int),
    ("s3uid", Text),
    ("email", Text),
    ("region", Text),
    ("billing", Text),
    ("currency", Pointer(&Text)),
    ("traffic", Int),
    ("storage_usage", Int),
    ("price", Struct(&[("base_price", Pointer(&Float)), ("price", Pointer(&Float))])),
    ("service", Pointer(&SERVICE)),
    ("plan_id", Int),
    ("storage_type", Text),
    ("status", Pointer(&Text)),
    ("total_traffic_period_gb", Float),
    ("total_storage_peak_gb", Float),
    ("as_of", Pointer(&Text)),
]);
const FILE: Go = Struct(&[
    ("name", Text),
    ("key", Text),
    ("size", Int),
    ("last_modified", Text),
    ("etag", Text),
]);
const ENTRY: Go = Struct(&[
    ("id", Int),
    ("date", Text),
    ("event", Text),
    ("actor", Text),
    ("s3uid", Pointer(&Text)),
    ("old", Pointer(&AnyMap)),
    ("new", Pointer(&AnyMap)),
]);
const LOCATION: Go =
    Struct(&[("location", Text), ("endpoint", Text), ("storage_types", Slice(&Text))]);

/// The payload of each action's success, after `result` and `action`.
const PAYLOADS: &[(&str, &[(&str, Go)])] = &[
    ("list_plans", &[("plans", Slice(&PLAN))]),
    ("create_order", ORDER),
    ("create_account", ORDER),
    ("create_bucket", &[("bucket_name", Text)]),
    ("delete_bucket", &[("bucket_name", Text)]),
    (
        "get_files",
        &[
            ("files", Slice(&FILE)),
            ("folders", Slice(&Struct(&[("name", Text), ("prefix", Text)]))),
            ("key_count", Int),
            ("is_truncated", Bool),
            ("next_continuation_token", Text),
        ],
    ),
    ("delete_file", &[("filename", Text)]),
    (
        "get_buckets_rmq",
        &[
            ("message", Slice(&METERED_BUCKET)),
            ("usage_storage", Int),
            ("quota", Int),
            ("metering", METERING),
            ("access_key", Text),
            ("secret_key", Text),
            ("endpoint", Text),
            ("as_of", Pointer(&Text)),
        ],
    ),
    (
        "get_buckets",
        &[
            ("buckets", Slice(&LIVE_BUCKET)),
            ("usage_storage", Int),
            ("quota", Int),
            ("metering", METERING),
            ("access_key", Text),
            ("secret_key", Text),
            ("endpoint", Text),
            ("as_of", Text),
        ],
    ),
    ("show_key", &[("s3_key", Text), ("key", Text), ("secret_key", Text)]),
    ("get_users", &[("s3_users", Slice(&USER)), ("total", Int), ("offset", Int), ("limit", Int)]),
    ("history", &[("history", Slice(&ENTRY))]),
    ("delete_account", &[("s3uid", Text)]),
    ("delete_payment_account", &[("s3uid", Text), ("cancel_date", Text)]),
    ("cancel_payment_account_deletion", &[("s3uid", Text), ("status", Text)]),
    ("get_available_locations", &[("locations", Slice(&LOCATION))]),
    ("update_traffic_info", &[("s3uid", Text), ("metering", METERING), ("as_of", Pointer(&Text))]),
];

/// Decodes the success of an action.
///
/// # Panics
/// When a strict client could not read it.
pub(crate) fn decode_success(action: &str, answer: &Answer) -> Value {
    let value = answer.success();
    assert_eq!(value["action"], action, "{}", answer.text());
    let (_, fields) =
        PAYLOADS.iter().find(|(name, _)| *name == action).expect("the action has a type");
    let mut payload = value.clone();
    let object = payload.as_object_mut().expect("a success is an object");
    for name in ["result", "action"] {
        let text = object.remove(name).expect("the envelope is whole");
        Text.decode(name, &text).unwrap_or_else(|why| panic!("{why} in {}", answer.text()));
    }
    // `show_key` names its answer after what was asked for.
    if action == "show_key"
        && let Some(key) = object.remove("access_key")
    {
        object.insert("secret_key".to_owned(), key);
    }
    Struct(fields)
        .decode(action, &payload)
        .unwrap_or_else(|why| panic!("{why} in {}", answer.text()));
    value
}

/// Decodes a failure.
///
/// # Panics
/// When a strict client could not read it.
pub(crate) fn decode_failure(answer: &Answer) {
    let value = answer.value();
    let of = if value.get("details").is_some() { FAILURE_WITH_DETAILS } else { FAILURE };
    Struct(of).decode("failure", &value).unwrap_or_else(|why| panic!("{why} in {}", answer.text()));
}

#[test]
fn the_decoder_is_as_strict_as_it_says() {
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    for (of, text, is_taken) in [
        (Text, r#""1""#, true),
        (Text, "1", false),
        (Text, "null", false),
        (Int, "1", true),
        (Int, "-1", true),
        (Int, "1.0", false),
        (Int, "1e3", false),
        (Int, r#""1""#, false),
        (Int, "9223372036854775808", false),
        (Float, "1", true),
        (Float, "1.5", true),
        (Float, r#""1.5""#, false),
        (Bool, "0", false),
        (Slice(&Int), "[]", true),
        (Slice(&Int), "{}", false),
        (Slice(&Int), "null", false),
        (Map(&Float), r#"{"EUR":1}"#, true),
        (Map(&Float), "[]", false),
        (Pointer(&Text), "null", true),
        (Pointer(&Text), "1", false),
        (Struct(&[("a", Int)]), r#"{"a":1}"#, true),
        (Struct(&[("a", Int)]), r#"{"a":1,"b":2}"#, false),
        (Struct(&[("a", Int)]), "{}", false),
    ] {
        assert_eq!(of.decode("x", &json(text)).is_ok(), is_taken, "{of:?} {text}");
    }
}

/// Asks and decodes a success.
async fn ask(site: &Site, token: &str, action: &str, parameters: &[(&str, &str)]) -> Value {
    decode_success(action, &site.facade.action(action, token, parameters).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_client_reads_every_answer_of_every_action() {
    let kit = Kit::start().await;
    let customer = kit.site.customer("gopher@example.com", "EUR").await;
    let (paid, free) = kit.site.plans().await;
    read_before_anything_is_there(&kit.site, &customer, [paid, free]).await;
    let account = read_orders(&kit.site, &customer, [paid, free]).await;
    read_objects(&kit.site, &customer, &account).await;
    read_figures(&kit.site, &customer, &account, paid).await;
    read_ends(&kit.site, &customer, &account).await;
    read_failures(&kit.site, &customer).await;
    kit.stop().await;
}

async fn read_before_anything_is_there(site: &Site, customer: &Customer, plans: [i64; 2]) {
    for token in [customer.token.as_str(), &site.admin_token] {
        ask(site, token, "list_plans", &[]).await;
        ask(site, token, "list_plans", &[("location", "XX")]).await;
        ask(site, token, "get_users", &[]).await;
        ask(site, token, "get_available_locations", &[]).await;
        for plan in plans {
            ask(site, token, "history", &[("id", &plan.to_string())]).await;
        }
    }
}

/// Orders both plans, and leaves the one that costs something.
async fn read_orders(site: &Site, customer: &Customer, plans: [i64; 2]) -> Account {
    let token = customer.token.as_str();
    let [paid, free] = plans.map(|id| id.to_string());
    let free = [("plan_id", free.as_str()), ("bucket_name", "gratis")];
    let free = ask(site, token, "create_account", &free).await;
    // Not a byte has been stored or moved yet.
    for s3uid in [&[("s3uid", free["s3uid"].as_str().expect("a text"))][..], &[]] {
        ask(site, token, "get_buckets_rmq", s3uid).await;
        ask(site, token, "get_buckets", s3uid).await;
    }
    let s3uid = [("s3uid", free["s3uid"].as_str().expect("a text"))];
    ask(site, token, "get_users", &s3uid).await;
    ask(site, &site.admin_token, "update_traffic_info", &s3uid).await;
    ask(site, token, "delete_account", &s3uid).await;

    let parameters = [("plan_id", paid.as_str()), ("bucket_name", "gophers")];
    let order = ask(site, token, "create_order", &parameters).await;
    let text = |name: &str| order[name].as_str().expect("a text").to_owned();
    let (s3uid, endpoint) = (text("s3uid"), text("endpoint"));
    let mut keys = [String::new(), String::new()];
    for (key, which) in keys.iter_mut().zip(["access_key", "secret_key"]) {
        let parameters = [("s3uid", s3uid.as_str()), ("s3_key", which)];
        let answer = ask(site, token, "show_key", &parameters).await;
        assert_eq!(answer["s3_key"], which);
        assert_eq!(answer[which], answer["key"]);
        answer["key"].as_str().expect("a text").clone_into(key);
    }
    let [access_key, secret_key] = keys;
    Account { s3uid, bucket: "gophers".to_owned(), endpoint, access_key, secret_key }
}

async fn read_objects(site: &Site, customer: &Customer, account: &Account) {
    let (token, s3uid) = (customer.token.as_str(), ("s3uid", account.s3uid.as_str()));
    let bucket = ("bucket_name", "gophers");
    ask(site, token, "get_files", &[s3uid, bucket]).await;
    for key in ["a", "b/c", "b/"] {
        let put = account.s3().put_object().bucket("gophers").key(key);
        put.body(vec![0; 1_500_000].into()).send().await.expect("an object is stored");
    }
    for rest in [
        &[][..],
        &[("max_keys", "1")],
        &[("prefix", "b/")],
        &[("prefix", "nothing/")],
        &[("search", "C")],
        &[("search", "nothing")],
        &[("page", "9")],
    ] {
        ask(site, token, "get_files", &[&[s3uid, bucket], rest].concat()).await;
    }
    ask(site, token, "delete_file", &[s3uid, bucket, ("filename", "a")]).await;
    ask(site, token, "create_bucket", &[s3uid, ("bucket_name", "second-one")]).await;
    ask(site, token, "get_files", &[s3uid, ("bucket_name", "second-one")]).await;
    ask(site, token, "get_buckets", &[s3uid]).await;
    ask(site, token, "delete_bucket", &[s3uid, ("bucket_name", "second-one")]).await;
}

async fn read_figures(site: &Site, customer: &Customer, account: &Account, plan: i64) {
    let (token, s3uid) = (customer.token.as_str(), ("s3uid", account.s3uid.as_str()));
    eventually("figures arrive", SHOWN_WITHIN, async || {
        let answer = ask(site, token, "get_buckets_rmq", &[s3uid]).await;
        if answer["usage_storage"] == 3 { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    let users = ask(site, token, "get_users", &[]).await;
    assert_eq!(users["s3_users"][0]["storage_usage"], 3, "{users}");
    ask(site, &site.admin_token, "get_users", &[("order_by", "ASC")]).await;
    ask(site, &site.admin_token, "get_users", &[("limit", "1"), ("offset", "9")]).await;
    ask(site, &site.admin_token, "update_traffic_info", &[s3uid]).await;
    let id = customer.id.to_string();
    ask(site, &site.admin_token, "get_buckets", &[s3uid, ("id", &id)]).await;
    for token in [token, &site.admin_token] {
        let history = ask(site, token, "history", &[("id", &plan.to_string())]).await;
        assert!(history["history"].as_array().is_some_and(|rows| !rows.is_empty()), "{history}");
    }
}

async fn read_ends(site: &Site, customer: &Customer, account: &Account) {
    let (token, s3uid) = (customer.token.as_str(), [("s3uid", account.s3uid.as_str())]);
    ask(site, token, "delete_payment_account", &s3uid).await;
    ask(site, token, "get_users", &[]).await;
    ask(site, token, "cancel_payment_account_deletion", &s3uid).await;
    ask(site, token, "delete_account", &s3uid).await;
    ask(site, token, "get_users", &[]).await;
}

async fn read_failures(site: &Site, customer: &Customer) {
    for (action, _) in PAYLOADS {
        for parameters in [
            &[("s3uid", "0123456789abcdef0123456789abcdef"), ("s3_key", "secret_key"), ("id", "")]
                [..],
            &[("s3uid", "1"), ("bucket_name", "photos"), ("filename", "x"), ("plan_id", "77")],
            &[("id", "999"), ("s3uid", "1"), ("bucket_name", "NO"), ("s3_key", "both")],
        ] {
            for token in [customer.token.as_str(), &site.admin_token, "unknown"] {
                let answer = site.facade.action(action, token, parameters).await;
                if answer.value()["result"] == "OK" {
                    decode_success(action, &answer);
                } else {
                    decode_failure(&answer);
                }
            }
        }
    }
}
