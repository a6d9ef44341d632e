//! Accounts, which are users of IAM, and their keys.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use stowage_engine::{AccountAccess, AccountInfo, AccountSpec, Error, KeyPair, KeyUsage};
use stowage_engine_remote::{ASKED_AT_ONCE, BackOff};
use stowage_types::S3uid;

use crate::aws::Aws;
use crate::record::Record;
use crate::wire::Key;

/// Users of a page.
const NAMES_PAGE: u32 = 1000;
/// Pages of them that are read at most. An AWS account has 5000 users, or more by agreement.
const NAME_PAGES_MAX: usize = 100;
/// Accounts of one answer.
const ACCOUNTS_MAX: u32 = 1000;

/// Whose user of a uid it is.
pub(crate) enum Found {
    Nobody,
    Ours(Record),
    /// Ours, half made or half removed.
    Bare,
    /// Somebody else's, or ours and changed by somebody else.
    Foreign,
}

impl Aws {
    /// Looks at the user of a uid.
    pub(crate) async fn look(&self, uid: &S3uid) -> Result<Found, Error> {
        let asked = tokio::try_join!(self.iam.user(uid.as_str()), self.iam.policy(uid))?;
        Ok(match asked {
            (None, _) => Found::Nobody,
            (Some(user), _) if !self.iam.is_ours(&user) => {
                tracing::error!(account = %uid, "IAM has a user of this uid under another path");
                Found::Foreign
            }
            (Some(_), None) => Found::Bare,
            (Some(_), Some(text)) => match Record::read(&text, &self.names) {
                Some(record) => Found::Ours(record),
                None => {
                    tracing::error!(account = %uid, "somebody has changed a policy of ours in IAM");
                    Found::Foreign
                }
            },
        })
    }

    /// Our account of a uid.
    pub(crate) async fn record(&self, uid: &S3uid) -> Result<Record, Error> {
        match self.look(uid).await? {
            Found::Ours(record) => Ok(record),
            Found::Nobody | Found::Bare | Found::Foreign => Err(Error::NotFound),
        }
    }

    pub(crate) async fn write(&self, uid: &S3uid, record: &Record) -> Result<(), Error> {
        match self.iam.put_policy(uid, &record.text(&self.names)?).await {
            // It was just seen.
            Err(Error::NotFound) => Err(Error::Conflict),
            put => put,
        }
    }

    pub(crate) async fn make_account(&self, spec: &AccountSpec) -> Result<(), Error> {
        let _turn = self.locks.hold(&spec.uid).await;
        let mut back_off = BackOff::new(&self.random);
        loop {
            let made = self.try_make(spec).await;
            // A key that was made a moment ago may be unknown to who is asked for it.
            let may_pass = matches!(made, Err(Error::Conflict | Error::Invalid { .. }));
            if !may_pass || !back_off.pause().await {
                return made;
            }
        }
    }

    /// Looks what there is, changes what differs, and looks again. What shuts comes before what
    /// opens, and what is refused is refused before anything is changed.
    async fn try_make(&self, spec: &AccountSpec) -> Result<(), Error> {
        let uid = &spec.uid;
        let (had, keys) = match self.look(uid).await? {
            Found::Foreign => return Err(Error::AlreadyExists),
            Found::Nobody => {
                self.check_keys(spec, &[]).await?;
                self.iam.create_user(uid).await?;
                (None, Vec::new())
            }
            Found::Bare => (None, self.iam.keys(uid).await?),
            Found::Ours(record) => (Some(record), self.iam.keys(uid).await?),
        };
        self.check_keys(spec, &keys).await?;
        let wanted = had.as_ref().map_or_else(|| Record::of(spec), |had| had.changed_to(spec));
        if had.as_ref() == Some(&wanted) && are_met(spec, &keys) {
            return Ok(());
        }
        let (is_new, shuts) =
            (had.as_ref() != Some(&wanted), had.as_ref().is_none_or(|h| spec.access > h.access));
        if is_new && shuts {
            self.write(uid, &wanted).await?;
        }
        let is_wanted = |key: &&Key| is_named(spec, &key.access_key_id);
        for key in keys.iter().filter(|key| !is_wanted(key)) {
            self.iam.delete_key(uid, &key.access_key_id).await?;
        }
        if is_new && !shuts {
            self.write(uid, &wanted).await?;
        }
        let kept: Vec<&Key> = keys.iter().filter(is_wanted).collect();
        self.set_active(uid, &kept, spec.access).await?;
        let Found::Ours(record) = self.look(uid).await? else { return Err(Error::Conflict) };
        // Another process has changed it meanwhile, or IAM has not told all of itself yet.
        let is_met = record == wanted && are_met(spec, &self.iam.keys(uid).await?);
        if is_met { Ok(()) } else { Err(Error::Conflict) }
    }

    /// Refuses keys that the account has not: those of others, and those that were made elsewhere.
    async fn check_keys(&self, spec: &AccountSpec, own: &[Key]) -> Result<(), Error> {
        for key in &spec.keys {
            let id = &key.access_key;
            if own.iter().any(|own| own.access_key_id == *id) {
                continue;
            }
            let found = self.iam.key_use(id).await?;
            return Err(match found {
                Some(found) if found.user_name == spec.uid.as_str() => Error::Conflict,
                Some(_) => Error::AlreadyExists,
                None => Error::Invalid {
                    why: format!("{id} was not made by this engine, which takes no other"),
                },
            });
        }
        Ok(())
    }

    /// Shuts keys or opens them. The policy alone would do; this is told in IAM's own console too.
    async fn set_active(
        &self,
        uid: &S3uid,
        keys: &[&Key],
        access: AccountAccess,
    ) -> Result<(), Error> {
        let is_active = access != AccountAccess::Suspended;
        for key in keys.iter().filter(|key| key.is_active() != is_active) {
            self.iam.set_active(uid, &key.access_key_id, is_active).await?;
        }
        Ok(())
    }

    pub(crate) async fn make_key(&self, uid: &S3uid) -> Result<KeyPair, Error> {
        let _turn = self.locks.hold(uid).await;
        let record = self.record(uid).await?;
        let made = self.iam.create_key(uid).await?;
        if record.access == AccountAccess::Suspended {
            self.iam.set_active(uid, &made.access_key, false).await?;
        }
        Ok(made)
    }

    pub(crate) async fn change_access(
        &self,
        uid: &S3uid,
        access: AccountAccess,
    ) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let mut back_off = BackOff::new(&self.random);
        loop {
            let mut record = self.record(uid).await?;
            let keys = self.iam.keys(uid).await?;
            let is_active = access != AccountAccess::Suspended;
            let are_set = keys.iter().all(|key| key.is_active() == is_active);
            if record.access == access && are_set {
                return Ok(());
            }
            record.access = access;
            self.write(uid, &record).await?;
            // One that has gone meanwhile is shut.
            match self.set_active(uid, &keys.iter().collect::<Vec<_>>(), access).await {
                Ok(()) | Err(Error::Conflict) => {}
                Err(error) => return Err(error),
            }
            if !back_off.pause().await {
                return Err(Error::Conflict);
            }
        }
    }

    /// IAM lists users in an order of its own, so all names are read for every page of ours.
    pub(crate) async fn accounts(
        &self,
        after: Option<&S3uid>,
        max: u32,
    ) -> Result<Vec<AccountInfo>, Error> {
        let max = usize::try_from(max.min(ACCOUNTS_MAX)).unwrap_or(0);
        let mut uids = self.uids().await?;
        uids.retain(|uid| after.is_none_or(|after| uid > after));
        let mut infos = Vec::new();
        let asked = uids.into_iter().map(|uid| async move { self.info(uid).await });
        let mut asked = stream::iter(asked).buffered(ASKED_AT_ONCE);
        while infos.len() < max
            && let Some(info) = asked.next().await
        {
            infos.extend(info?);
        }
        Ok(infos)
    }

    /// All of ours, in order.
    async fn uids(&self) -> Result<Vec<S3uid>, Error> {
        let (mut uids, mut marker) = (Vec::new(), None);
        for page in 0.. {
            if page >= NAME_PAGES_MAX {
                return Err(Error::Unsupported);
            }
            let page = self.iam.users(marker.as_deref(), NAMES_PAGE).await?;
            let ours = page.users.members.iter().filter(|user| self.iam.is_ours(user));
            uids.extend(ours.filter_map(|user| S3uid::parse(&user.user_name).ok()));
            marker = page.marker.filter(|marker| page.is_truncated && !marker.is_empty());
            if marker.is_none() {
                break;
            }
        }
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    /// `None`: it is not ours, or comes or goes at this moment.
    async fn info(&self, uid: S3uid) -> Result<Option<AccountInfo>, Error> {
        let Found::Ours(record) = self.look(&uid).await? else { return Ok(None) };
        let keys = match self.iam.keys(&uid).await {
            Err(Error::NotFound) => return Ok(None),
            keys => keys?,
        };
        Ok(Some(AccountInfo {
            uid,
            access_keys: keys.into_iter().map(|key| key.access_key_id).collect(),
            quota: record.quota,
            bucket_max: record.bucket_max,
            access: record.access,
            bucket_count: record.open.len() as u64,
        }))
    }

    /// Our account who has an access key.
    pub(crate) async fn owner_of_key(&self, id: &str) -> Result<Option<S3uid>, Error> {
        let Some(found) = self.iam.key_use(id).await? else { return Ok(None) };
        let Ok(uid) = S3uid::parse(&found.user_name) else { return Ok(None) };
        let user = self.iam.user(uid.as_str()).await?;
        Ok(user.is_some_and(|user| self.iam.is_ours(&user)).then_some(uid))
    }

    pub(crate) async fn usage_of_keys(&self, uid: &S3uid) -> Result<Vec<KeyUsage>, Error> {
        self.record(uid).await?;
        let asked = self.iam.keys(uid).await?.into_iter().map(|key| async move {
            let found = self.iam.key_use(&key.access_key_id).await?;
            let last_use_time = found.and_then(|found| found.time());
            Ok(KeyUsage { access_key: key.access_key_id, last_use_time })
        });
        let asked: Vec<_> = asked.collect();
        stream::iter(asked).buffered(ASKED_AT_ONCE).try_collect().await
    }
}

/// Whether these are the keys that an account shall have, open or shut as it is.
fn are_met(spec: &AccountSpec, keys: &[Key]) -> bool {
    let is_active = spec.access != AccountAccess::Suspended;
    let is_met = |key: &Key| is_named(spec, &key.access_key_id) && key.is_active() == is_active;
    let has = |id: &str| keys.iter().any(|key| key.access_key_id == id);
    keys.iter().all(is_met) && spec.keys.iter().all(|key| has(&key.access_key))
}

fn is_named(spec: &AccountSpec, id: &str) -> bool {
    spec.keys.iter().any(|key| key.access_key == id)
}
