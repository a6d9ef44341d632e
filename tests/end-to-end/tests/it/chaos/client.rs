//! A client that orders, makes buckets and deletes, asks again until it has an answer, and keeps a
//! book of what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use stowage_testkit::{Customer, Facade};

use super::random::Random;

/// How long one answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(45);
/// Names that several clients want, so that some orders are refused after they were begun.
const CONTESTED: u64 = 6;
/// Accounts of a client, before it deletes one.
const ACCOUNTS_MAX: usize = 12;

/// Something asked for whose end is not known yet.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Order { bucket: String },
    Bucket { s3uid: String, bucket: String },
    Delete { s3uid: String },
}

/// What a client was told.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Accounts that are there, with their buckets.
    pub(super) accounts: BTreeMap<String, BTreeSet<String>>,
    /// Accounts that were there, with all buckets but the first that were ever made in them.
    pub(super) deleted: BTreeMap<String, BTreeSet<String>>,
    /// The first bucket of each account.
    pub(super) first: BTreeMap<String, String>,
    /// Orders that were refused.
    pub(super) refused: usize,
    /// Calls that were cut off and sent again.
    pub(super) resent: usize,
}

pub(super) struct Client {
    pub(super) customer: Customer,
    pub(super) book: Book,
    facade: Facade,
    plan: String,
    name: String,
    random: Random,
    count: u32,
    /// The key of the deed that is open, if it has one, and how often it was sent.
    open: Option<(Deed, Option<String>, u32)>,
}

impl Client {
    pub(super) fn new(
        (name, customer): (String, Customer),
        facade: Facade,
        plan: String,
        random: Random,
    ) -> Self {
        let (book, count, open) = (Book::default(), 0, None);
        Self { customer, book, facade, plan, name, random, count, open }
    }

    /// Sends what is open, or something new, once. Answers whether it was answered.
    pub(super) async fn step(&mut self) -> bool {
        let (deed, key, sent) = match self.open.take() {
            Some(open) => open,
            None => self.choose(),
        };
        let answer = self.send(&deed, key.as_deref()).await;
        match answer {
            Some(answer) => {
                self.note(deed, &answer, sent);
                true
            }
            None => {
                self.book.resent += 1;
                self.open = Some((deed, key, sent + 1));
                false
            }
        }
    }

    /// Whether something was asked for that has no answer yet.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn choose(&mut self) -> (Deed, Option<String>, u32) {
        self.count += 1;
        let number = self.count;
        let accounts: Vec<&String> = self.book.accounts.keys().collect();
        let some = |random: &mut Random| {
            let index = random.below(accounts.len().try_into().unwrap_or(1));
            accounts[usize::try_from(index).unwrap_or(0)].clone()
        };
        let has_key = self.random.below(2) == 0;
        let deed = match self.random.below(10) {
            0 | 1 if !accounts.is_empty() => Deed::Delete { s3uid: some(&mut self.random) },
            2 if !accounts.is_empty() => {
                let s3uid = some(&mut self.random);
                Deed::Bucket { s3uid, bucket: format!("{}-more-{number}", self.name) }
            }
            _ if accounts.len() >= ACCOUNTS_MAX => Deed::Delete { s3uid: some(&mut self.random) },
            3 | 4 => {
                let bucket = format!("contested-{}", self.random.below(CONTESTED));
                let is_own =
                    self.book.first.iter().any(|(uid, first)| {
                        *first == bucket && self.book.accounts.contains_key(uid)
                    });
                // An order without a key that repeats one which ended well is that order.
                let bucket = if is_own { format!("{}-{number}", self.name) } else { bucket };
                Deed::Order { bucket }
            }
            _ => Deed::Order { bucket: format!("{}-{number}", self.name) },
        };
        // A bucket that is there already is refused, so its repeat needs a key to be known.
        let has_key = has_key || matches!(deed, Deed::Bucket { .. });
        let key = has_key.then(|| format!("{}-key-{number}", self.name));
        (deed, key, 0)
    }

    /// The answer, if there was one that settles it.
    async fn send(&self, deed: &Deed, key: Option<&str>) -> Option<Value> {
        let (action, parameters) = match deed {
            Deed::Order { bucket } => {
                ("create_order", vec![("plan_id", &self.plan), ("bucket_name", bucket)])
            }
            Deed::Bucket { s3uid, bucket } => {
                ("create_bucket", vec![("s3uid", s3uid), ("bucket_name", bucket)])
            }
            Deed::Delete { s3uid } => ("delete_account", vec![("s3uid", s3uid)]),
        };
        let mut body: BTreeMap<&str, &str> =
            parameters.into_iter().map(|(name, value)| (name, value.as_str())).collect();
        body.insert("token", &self.customer.token);
        body.extend(key.map(|key| ("idempotency_key", key)));
        let body = serde_json::to_vec(&body).expect("a map can be written");
        let request = http::Request::post(format!("/s3/{action}"))
            .header("content-type", "application/json")
            .body(Bytes::from(body))
            .expect("a path makes a request");
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.facade.try_send(request)).await;
        let answer = answer.ok()?.ok()?;
        // Away, still running, or starting: ask again.
        (answer.status == StatusCode::OK).then(|| answer.value())
    }

    fn note(&mut self, deed: Deed, answer: &Value, sent: u32) {
        let book = &mut self.book;
        let is_done = answer["result"] == "OK";
        match deed {
            Deed::Order { bucket } if is_done => {
                let s3uid = answer["s3uid"].as_str().expect("an order has an account").to_owned();
                let before = book.accounts.insert(s3uid.clone(), BTreeSet::from([bucket.clone()]));
                assert!(before.is_none(), "{s3uid} was sold twice: {answer}");
                book.first.insert(s3uid, bucket);
            }
            Deed::Order { .. } => book.refused += 1,
            Deed::Bucket { s3uid, bucket } => {
                assert!(is_done, "{bucket} of {s3uid}: {answer}");
                book.accounts.entry(s3uid).or_default().insert(bucket);
            }
            Deed::Delete { s3uid } => {
                // Without a key, the repeat of one that was done finds nothing any more.
                assert!(is_done || sent > 0, "deletion of {s3uid}: {answer}");
                let mut buckets = book.accounts.remove(&s3uid).unwrap_or_default();
                if let Some(first) = book.first.get(&s3uid) {
                    buckets.remove(first);
                }
                book.deleted.insert(s3uid, buckets);
            }
        }
    }
}
