//! The table of actions: it routes, validates and lists.
//!
//! An action is one row. The router knows no other actions, the validator no other parameters, and
//! a test compares the rows with the contract.

use futures_util::future::BoxFuture;
use http::Method;

use super::actions::{accounts, buckets, files, history, keys, locations, orders, plans, usage};
use super::actions::{rankings, traffic};
use super::answers;
use super::call::Call;
use super::errors::Failure;
use super::params::{self as p, Kind, Param};
use super::request::Params;
use super::schema::Field;
use crate::json::Object;

/// What an action does, once its parameters are known to be good.
pub(crate) type Handler = for<'a> fn(&'a Call<'a>) -> BoxFuture<'a, Result<Object, Failure>>;

/// What the parameter `id` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdMeans {
    /// The customer an administrator acts for.
    Customer,
    /// The customer whose rows an administrator asks for. Nothing is done in his name, so that no
    /// role has to be told who he is.
    Shown,
    /// A plan.
    Plan,
}

/// One action.
pub(crate) struct Action {
    pub(crate) name: &'static str,
    /// Whether GET is taken too; POST always is.
    pub(crate) get: bool,
    /// Whether it changes anything: then a missing `s3uid` is never guessed.
    pub(crate) writes: bool,
    pub(crate) id: IdMeans,
    pub(crate) required: &'static [&'static Param],
    pub(crate) optional: &'static [&'static Param],
    pub(crate) handler: Handler,
    /// For the document of the facade: what it does.
    pub(crate) about: &'static str,
    /// What a success has beside `result` and `action`.
    pub(crate) answer: &'static [Field],
}

/// Declares an action: `"name" GET POST, reads [required] [optional], id => handler, "what it
/// does", its answer`.
macro_rules! action {
    (@writes reads) => { false };
    (@writes writes) => { true };
    (@get GET POST) => { true };
    (@get POST) => { false };
    (
        $name:literal $($method:ident)+,
        $mode:ident [$($required:ident),*] [$($optional:ident),*], $id:ident => $handler:path,
        $about:literal, $answer:expr
    ) => {
        Action {
            name: $name,
            get: action!(@get $($method)+),
            writes: action!(@writes $mode),
            id: IdMeans::$id,
            required: &[$(&p::$required),*],
            optional: &[$(&p::$optional),*],
            handler: |call| Box::pin($handler(call)),
            about: $about,
            answer: $answer,
        }
    };
}

/// Every action of `/s3/<action>`.
pub(crate) static ACTIONS: &[Action] = &[
    action!("list_plans" GET POST, reads [] [ID, LOCATION], Plan => plans::list_plans,
        "What is sold. Customers see what they can order, with prices in their currency. `id` \
         picks a plan, for the provider's people.", answers::LIST_PLANS),
    action!("create_order" POST, writes [PLAN_ID, BUCKET_NAME] [LOCATION, ID, IDEMPOTENCY_KEY],
        Customer => orders::create_order,
        "Orders an account with its first bucket, and waits for the end of the order.",
        answers::ORDER),
    action!("create_account" POST, writes [PLAN_ID, BUCKET_NAME] [LOCATION, ID, IDEMPOTENCY_KEY],
        Customer => orders::create_order,
        "The same as `create_order`, with another wording of its failure.", answers::ORDER),
    action!("create_bucket" POST, writes [S3UID, BUCKET_NAME] [ID, IDEMPOTENCY_KEY],
        Customer => buckets::create_bucket,
        "Makes a bucket. One that the account has already is no failure.", answers::BUCKET),
    action!("delete_bucket" POST, writes [S3UID, BUCKET_NAME] [ID, IDEMPOTENCY_KEY],
        Customer => buckets::delete_bucket,
        "Deletes an empty bucket.", answers::BUCKET),
    action!("get_files" GET POST, reads [S3UID, BUCKET_NAME]
        [CONTINUATION_TOKEN, MAX_KEYS, SEARCH, PREFIX, PAGE, ID], Customer => files::get_files,
        "One level of a bucket, or what a search finds.", answers::FILES),
    action!("delete_file" POST, writes [S3UID, BUCKET_NAME, FILENAME] [ID, IDEMPOTENCY_KEY],
        Customer => files::delete_file,
        "Deletes an object. One that is not there is no failure.", answers::FILE),
    action!("get_buckets_rmq" GET POST, reads [S3UID] [ID], Customer => usage::get_buckets_rmq,
        "Buckets, figures and keys of an account, from metered figures.",
        answers::BUCKETS_METERED),
    action!("get_buckets" GET POST, reads [] [S3UID, ID], Customer => usage::get_buckets,
        "Buckets, figures and keys of an account, asked of the engine now.", answers::BUCKETS_LIVE),
    action!("show_key" GET POST, reads [S3UID, S3_KEY] [ID], Customer => keys::show_key,
        "One half of an account's key pair.", answers::KEY),
    action!("get_users" GET POST, reads []
        [ID, PLAN_ID, S3UID, EMAIL, BILLING, BUCKET_NAME, LOCATION, STORAGE_TYPE, PERIOD_FROM,
        PERIOD_TO, OFFSET, LIMIT, ORDER, ORDER_BY], Shown => rankings::get_users,
        "Accounts ranked by traffic or storage over a period.", answers::USERS),
    action!("history" GET POST, reads [ID] [HISTORY_OFFSET, LIMIT], Plan => history::history,
        "What happened to a plan, and to the caller's accounts on it.", answers::HISTORY),
    action!("delete_account" POST, writes [S3UID] [ID, REASON, IDEMPOTENCY_KEY],
        Customer => accounts::delete_account,
        "Deletes an account now, with all that is in it.", answers::ACCOUNT),
    action!("delete_payment_account" POST, writes [S3UID] [ID, REASON, IDEMPOTENCY_KEY],
        Customer => accounts::delete_payment_account,
        "Schedules the end of an account at the end of what is paid for.", answers::CANCELLED),
    action!("cancel_payment_account_deletion" GET POST, writes [S3UID] [ID, IDEMPOTENCY_KEY],
        Customer => accounts::cancel_payment_account_deletion,
        "Withdraws a scheduled end.", answers::WITHDRAWN),
    action!("get_available_locations" GET POST, reads [] [],
        Customer => locations::get_available_locations,
        "Where accounts can be ordered.", answers::LOCATIONS),
    action!("update_traffic_info" POST, writes [S3UID] [ID, IDEMPOTENCY_KEY],
        Customer => traffic::update_traffic_info,
        "Asks the engine for fresh figures now. For the provider's people.", answers::TRAFFIC),
];

/// The action of that name.
pub(crate) fn find(name: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.name == name)
}

impl Action {
    /// Methods for `Allow`.
    pub(crate) fn allow(&self) -> &'static str {
        if self.get { "GET, POST" } else { "POST" }
    }

    pub(crate) fn takes(&self, method: &Method) -> bool {
        method == Method::POST || (self.get && method == Method::GET)
    }

    /// Checks presence first, then form, each in the order of the row.
    pub(crate) fn validate(&self, params: &Params) -> Result<(), Failure> {
        for param in self.required {
            let may_be_guessed = !self.writes && matches!(param.kind, Kind::Account);
            if !may_be_guessed && param.of(params).is_none() {
                return Err(Failure::required(param.name));
            }
        }
        for param in self.required.iter().chain(self.optional) {
            // `id` was judged with the token: it may be none of this caller's business.
            if param.name == p::ID.name && self.id == IdMeans::Customer {
                continue;
            }
            if let Some(why) = param.of(params).and_then(|value| param.fault(value)) {
                return Err(Failure::invalid(param.name, why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;
    use crate::legacy::request::parse;

    /// The rows of the contract: action, methods, required and optional parameters. A plus is
    /// before an `id` that §3 has for every action. Those that change something take the key of §1
    /// too.
    const CONTRACT: &[(&str, &str, &str, &str)] = &[
        ("list_plans", "GET, POST", "", "id location"),
        ("create_order", "POST", "plan_id bucket_name", "location id"),
        ("create_account", "POST", "plan_id bucket_name", "location id"),
        ("create_bucket", "POST", "s3uid bucket_name", "id"),
        ("delete_bucket", "POST", "s3uid bucket_name", "id"),
        (
            "get_files",
            "GET, POST",
            "s3uid bucket_name",
            "continuation_token max_keys search prefix page +id",
        ),
        ("delete_file", "POST", "s3uid bucket_name filename", "id"),
        ("get_buckets_rmq", "GET, POST", "s3uid", "id"),
        ("get_buckets", "GET, POST", "", "s3uid id"),
        ("show_key", "GET, POST", "s3uid s3_key", "id"),
        (
            "get_users",
            "GET, POST",
            "",
            "id plan_id s3uid email billing bucket_name location storage_type period_from \
             period_to offset limit order order_by",
        ),
        ("history", "GET, POST", "id", "offset limit"),
        ("delete_account", "POST", "s3uid", "id reason"),
        ("delete_payment_account", "POST", "s3uid", "id reason"),
        ("cancel_payment_account_deletion", "GET, POST", "s3uid", "id"),
        ("get_available_locations", "GET, POST", "", ""),
        ("update_traffic_info", "POST", "s3uid", "+id"),
    ];

    fn names(params: &[&Param]) -> BTreeSet<&'static str> {
        params.iter().map(|param| param.name).collect()
    }

    #[test]
    fn the_table_is_the_contracts() {
        assert_eq!(ACTIONS.len(), CONTRACT.len());
        for (name, methods, required, optional) in CONTRACT {
            let action = find(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(action.allow(), *methods, "{name}");
            let found: Vec<&str> = action.required.iter().map(|param| param.name).collect();
            assert_eq!(found.join(" "), *required, "{name}");
            let mut wanted: BTreeSet<&str> =
                optional.split_whitespace().map(|name| name.trim_start_matches('+')).collect();
            if action.writes {
                wanted.insert("idempotency_key");
            }
            assert_eq!(names(action.optional), wanted, "{name}");
        }
    }

    #[test]
    fn no_row_names_a_parameter_twice_and_every_write_takes_a_key() {
        for action in ACTIONS {
            let all = action.required.iter().chain(action.optional);
            let names: Vec<&str> = all
                .flat_map(|p| std::iter::once(p.name).chain(p.aliases.iter().copied()))
                .collect();
            let distinct: BTreeSet<&str> = names.iter().copied().collect();
            assert_eq!(distinct.len(), names.len(), "{}", action.name);
            assert_eq!(names.contains(&"idempotency_key"), action.writes, "{}", action.name);
        }
    }

    #[tokio::test]
    async fn what_is_missing_or_malformed_is_named() {
        for (action, query, message) in [
            ("create_order", "", "plan_id required"),
            ("create_order", "plan_id=1", "bucket_name required"),
            ("create_order", "plan_id=x", "bucket_name required"),
            ("create_order", "plan_id=x&bucket=photos", "plan_id invalid"),
            ("create_order", "plan_id=1&bucket=A_B", "bucket_name invalid"),
            ("delete_file", "s3uid=a&bucket=photos", "filename required"),
            ("delete_account", "", "s3uid required"),
            ("show_key", "", "s3_key required"),
            ("show_key", "key_type=both", "s3_key invalid"),
            ("history", "", "id required"),
            ("history", "id=x", "id invalid"),
            ("get_users", "order=email", "order invalid"),
            ("get_users", "limit=0", "limit invalid"),
            ("get_files", "bucket=photos&page=0", "page invalid"),
        ] {
            let params = parse(Some(query), None, Bytes::new()).await.unwrap();
            let failure = find(action).unwrap().validate(&params).unwrap_err();
            assert_eq!(failure.message, message, "{action}?{query}");
        }
    }
}
