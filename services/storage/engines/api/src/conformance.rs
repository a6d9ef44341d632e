//! One suite for every engine. Plain code, so that an adapter runs it against a real server.
//!
//! The suite speaks to the engine through [`Engine`] and, where objects are needed, through an S3
//! client that the engine's own tests bring ([`ObjectClient`]): it needs no S3 library itself.
//! Accounts and buckets are named from `seed`, so suites can share one server.

mod accounts;
mod adoption;
mod buckets;
mod contents;
mod issued;
mod keys;
mod limits;
mod objects;
mod troubled;
mod uploads;
mod usage;

use async_trait::async_trait;
use issued::Issued;
use secrecy::SecretString;
use stowage_types::{BucketName, S3uid};
pub use troubled::Troubled;

use crate::{AccountSpec, BucketNamespace, Engine, Error, KeyPair};

/// An S3 client for the engine's endpoint.
#[async_trait]
pub trait ObjectClient: Send + Sync {
    /// Puts an object with the credentials given.
    ///
    /// # Errors
    /// As the endpoint answers, mapped to the engine's errors.
    async fn put(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        body: Vec<u8>,
    ) -> Result<(), Error>;

    /// Gets an object with the credentials given.
    ///
    /// # Errors
    /// As the endpoint answers, mapped to the engine's errors.
    async fn get(&self, keys: &KeyPair, bucket: &BucketName, key: &str) -> Result<Vec<u8>, Error>;

    /// Creates a bucket with the credentials given.
    ///
    /// # Errors
    /// As the endpoint answers, mapped to the engine's errors.
    async fn create_bucket(&self, keys: &KeyPair, bucket: &BucketName) -> Result<(), Error>;

    /// Begins an upload in parts, sends one part and leaves it so; answers its id.
    ///
    /// # Errors
    /// As the endpoint answers, mapped to the engine's errors.
    async fn begin_upload(
        &self,
        keys: &KeyPair,
        bucket: &BucketName,
        key: &str,
        part: Vec<u8>,
    ) -> Result<String, Error>;

    /// Sends a body to a signed URL, or without one asks it for what it opens.
    ///
    /// # Errors
    /// As the endpoint answers, mapped to the engine's errors.
    async fn send(&self, url: &SecretString, body: Option<Vec<u8>>) -> Result<Vec<u8>, Error>;

    /// Where it reaches the endpoint, and the region that it signs for.
    fn endpoint(&self) -> (String, String);
}

/// A case that did not hold.
#[derive(Debug, thiserror::Error)]
#[error("{case}: {why}")]
pub struct Failure {
    /// What the case states.
    pub case: &'static str,
    /// What was seen instead.
    pub why: String,
}

/// Runs every case and returns those that did not hold; an engine conforms when there are none.
///
/// `seed`: 1 to 12 lower-case hexadecimal digits that no other run on this engine uses.
pub async fn conformance(
    engine: &dyn Engine,
    client: &dyn ObjectClient,
    seed: &str,
) -> Vec<Failure> {
    let suite = Suite { engine, client, seed, issued: Issued::default() };
    let mut failures = Vec::new();
    for (case, outcome) in suite.outcomes().await {
        failures.extend(outcome.err().map(|why| Failure { case, why }));
    }
    failures
}

struct Suite<'a> {
    engine: &'a dyn Engine,
    client: &'a dyn ObjectClient,
    seed: &'a str,
    /// Keys that the engine has made, where it takes no others.
    issued: Issued,
}

type Outcome = Result<(), String>;

fn text(error: Error) -> String {
    format!("{error:?}")
}

fn ensure(holds: bool, why: &str) -> Outcome {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

/// `result` must be the error that `expected` accepts.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: fn(&Error) -> bool) -> Outcome {
    match result {
        Err(error) if expected(&error) => Ok(()),
        other => Err(format!("answered {other:?}")),
    }
}

/// An account is kept out of another's bucket: where names are an account's own, the name is one
/// that it does not know.
fn kept_out<T: std::fmt::Debug>(engine: &dyn Engine, result: Result<T, Error>) -> Outcome {
    match engine.capabilities().namespace {
        BucketNamespace::Engine => refused(result, |e| matches!(e, Error::Denied)),
        BucketNamespace::Account => {
            refused(result, |e| matches!(e, Error::Denied | Error::NotFound))
        }
    }
}

type Cases = Vec<(&'static str, Outcome)>;

impl Suite<'_> {
    async fn outcomes(&self) -> Cases {
        let mut all = Cases::new();
        all.extend(self.of_accounts().await);
        all.extend(self.of_keys().await);
        all.extend(self.of_adoption().await);
        all.extend(self.of_buckets().await);
        all.extend(self.of_objects().await);
        all.extend(self.of_contents().await);
        all.extend(self.of_limits().await);
        all.extend(self.of_uploads().await);
        all.extend(self.of_usage().await);
        let health = self.engine.health().await;
        all.push(("the engine is healthy", health.map_err(|error| error.to_string())));
        all
    }

    async fn of_accounts(&self) -> Cases {
        vec![
            ("an account can be ensured twice", self.account_is_idempotent().await),
            ("other accounts are kept out", self.accounts_are_apart().await),
            ("accounts are listed as they are", self.accounts_are_listed().await),
            ("accounts come to an end", self.accounts_end().await),
            ("a suspended account is shut and keeps its data", self.suspension_holds().await),
            (
                "a suspended account is managed all the same",
                self.suspended_account_is_managed().await,
            ),
            (
                "an account without keys is shut and keeps its buckets",
                self.account_without_keys_is_shut().await,
            ),
            ("an account can be purged", self.account_is_purged().await),
            ("an account that never was is removed", self.what_never_was_is_removed().await),
            ("a purged account begins anew", self.purged_account_begins_anew().await),
        ]
    }

    async fn of_keys(&self) -> Cases {
        vec![
            ("keys not listed are removed", self.keys_are_replaced().await),
            ("keys come and go one by one", self.key_sets_change().await),
            ("the secret of a key is replaced", self.secret_is_replaced().await),
            ("a key of another account changes nothing", self.stolen_key_changes_nothing().await),
            ("keys tell when they were used", self.key_usage_is_told().await),
            ("keys of nobody are unknown", self.keys_of_nobody_are_unknown().await),
            ("a key tells whose it is", self.key_tells_whose_it_is().await),
            ("a key that is gone is of nobody", self.key_that_is_gone_is_of_nobody().await),
            ("keys are made by the engine or by us", self.keys_are_made_by_one_side().await),
            ("a key that nobody knows is removed", self.key_that_nobody_knows_is_removed().await),
        ]
    }

    async fn of_adoption(&self) -> Cases {
        vec![
            ("an account is given up as it is", self.account_is_given_up().await),
            ("who was there is adopted as it is", self.who_was_there_is_adopted().await),
            ("nobody is not adopted", self.nobody_is_not_adopted().await),
        ]
    }

    async fn of_buckets(&self) -> Cases {
        vec![
            ("buckets have one owner and are counted", self.buckets_have_one_owner().await),
            ("buckets are listed in pages", self.buckets_are_paged().await),
            ("a full bucket is not deleted", self.full_bucket_stays().await),
            ("clients make buckets too", self.client_makes_buckets_too().await),
            ("the bounds of names hold", self.bounds_of_names_hold().await),
            ("a bucket tells when it was made", self.bucket_tells_when_it_was_made().await),
            ("figures follow what is stored", self.figures_follow().await),
            ("the name of a deleted bucket is free", self.name_of_a_deleted_bucket_is_free().await),
            ("a bucket of nobody is unknown", self.bucket_of_nobody_is_unknown().await),
        ]
    }

    async fn of_objects(&self) -> Cases {
        vec![
            ("objects are listed in key order", self.objects_are_listed().await),
            ("an empty bucket lists nothing", self.empty_bucket_lists_nothing().await),
            (
                "pages of one meet every object once",
                self.pages_of_one_meet_every_object_once().await,
            ),
            ("odd keys are themselves", self.odd_keys_are_themselves().await),
            ("another delimiter rolls up", self.another_delimiter_rolls_up().await),
            ("objects tell of themselves", self.objects_tell_of_themselves().await),
            ("foreign objects are unknown", self.foreign_objects_are_unknown().await),
            ("many objects are deleted at once", self.objects_are_deleted_together().await),
            (
                "a thousand objects are deleted at once",
                self.a_thousand_are_deleted_together().await,
            ),
        ]
    }

    async fn of_contents(&self) -> Cases {
        vec![
            ("we read and write objects", self.objects_are_read_and_written().await),
            ("what breaks off is not stored", self.what_breaks_off_is_not_stored().await),
            ("we read and write large objects", self.large_objects_are_read_and_written().await),
            (
                "an account is filled before it opens",
                self.account_is_filled_before_it_opens().await,
            ),
            ("access alone is changed", self.access_alone_changes().await),
        ]
    }

    async fn of_limits(&self) -> Cases {
        vec![
            ("a quota holds", self.quota_holds().await),
            ("a quota may fall below what is stored", self.quota_falls().await),
            ("a quota is lifted", self.quota_is_lifted().await),
            ("a quota of objects holds", self.object_quota_holds().await),
            ("a bucket has a quota of its own", self.bucket_quota_holds().await),
            ("a limit of buckets may fall", self.bucket_limit_falls().await),
            ("a read-only account is read and not written", self.read_only_holds().await),
            ("an engine tells its room", self.capacity_is_told().await),
        ]
    }

    async fn of_uploads(&self) -> Cases {
        vec![
            ("unfinished uploads are shown and ended", self.uploads_are_shown().await),
            ("an unfinished upload is no object", self.unfinished_upload_is_no_object().await),
            ("old uploads are ended", self.old_uploads_are_ended().await),
            ("a signed URL opens what it names", self.signed_urls_open().await),
        ]
    }

    async fn of_usage(&self) -> Cases {
        vec![
            ("usage is absolute", self.usage_is_absolute().await),
            ("usage goes on where it ended", self.usage_goes_on_where_it_ended().await),
            (
                "usage of a deleted bucket is nothing",
                self.usage_of_a_deleted_bucket_is_nothing().await,
            ),
        ]
    }
}

impl Suite<'_> {
    fn uid(&self, number: u32) -> Result<S3uid, String> {
        S3uid::parse(&format!("{:0>24}{number:08x}", self.seed)).map_err(|e| e.to_string())
    }

    fn bucket(&self, name: &str) -> Result<BucketName, String> {
        BucketName::new(&format!("{name}-{}", self.seed)).map_err(|e| e.to_string())
    }

    /// A key of an account: ours, or the engine's own in its place. Where it has not been made yet
    /// it is a key of nobody.
    fn keys(&self, number: u32, generation: u32) -> KeyPair {
        if let Some(issued) = self.issued.get(number, generation) {
            return issued;
        }
        KeyPair {
            access_key: format!("CONF{:0>12}{number:02}{generation:02}", self.seed.to_uppercase()),
            secret_key: format!("secret-of-{}-{number:04}-{generation:04}-padding", self.seed)
                .into(),
        }
    }

    async fn account(&self, number: u32, change: fn(&mut AccountSpec)) -> Result<S3uid, String> {
        let uid = self.uid(number)?;
        let mut spec = AccountSpec::new(uid.clone(), Vec::new());
        change(&mut spec);
        self.ensure(number, &[0], spec).await?;
        Ok(uid)
    }

    /// Deletes a bucket that is there; a repeat of that may find that it is done.
    async fn delete_bucket(&self, uid: &S3uid, bucket: &BucketName) -> Outcome {
        match self.engine.delete_bucket(uid, bucket).await {
            Ok(()) | Err(Error::NotFound) => {}
            Err(error) => return Err(text(error)),
        }
        let page = self.engine.list_buckets(uid, None, 1000).await.map_err(text)?;
        ensure(page.iter().all(|info| info.bucket != *bucket), "a deleted bucket is listed")
    }

    async fn put(&self, number: u32, bucket: &BucketName, key: &str, size: usize) -> Outcome {
        let body = vec![b'x'; size];
        self.client.put(&self.keys(number, 0), bucket, key, body).await.map_err(text)
    }
}
