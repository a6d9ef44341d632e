//! Accounts, which are users of RGW.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use secrecy::ExposeSecret as _;
use stowage_engine::{AccountAccess, AccountInfo, AccountSpec, Error, KeyPair};
use stowage_engine_remote::{ASKED_AT_ONCE, BackOff, until_won};
use stowage_types::S3uid;

use crate::ceph::Ceph;
use crate::user::UserId;
use crate::wire::{Quota, User};

/// Names of users read with one call; RGW has no more in a page.
const NAMES_PAGE: u32 = 1000;
/// Pages of them that are read at most: a million users.
const NAME_PAGES_MAX: usize = 1000;
/// Accounts of one answer.
const ACCOUNTS_MAX: u32 = 1000;

/// Whose user of a uid it is.
pub(crate) enum Found {
    Nobody,
    Ours(Box<User>),
    /// Somebody has made it by hand, or another installation has.
    Foreign,
}

/// What RGW shall have of a specification.
struct Target<'a> {
    spec: &'a AccountSpec,
    max_buckets: i64,
    quota: Quota,
}

impl<'a> Target<'a> {
    fn of(spec: &'a AccountSpec) -> Self {
        Self { spec, max_buckets: max_buckets_of(spec.bucket_max), quota: Quota::of(spec.quota) }
    }

    fn wants(&self, access_key: &str) -> bool {
        self.spec.keys.iter().any(|key| key.access_key == access_key)
    }

    /// Keys that the user lacks, or has with another secret.
    fn missing<'u>(&'u self, user: &'u User) -> impl Iterator<Item = &'u KeyPair> {
        self.spec.keys.iter().filter(|key| !has_key(user, key))
    }

    fn is_met_by(&self, user: &User) -> bool {
        self.is_limited_as(user)
            && user.access() == self.spec.access
            && self.missing(user).next().is_none()
            && user.keys.iter().all(|key| self.wants(&key.access_key))
    }

    fn is_limited_as(&self, user: &User) -> bool {
        user.max_buckets == self.max_buckets && user.user_quota.is_as(self.quota)
    }
}

fn has_key(user: &User, key: &KeyPair) -> bool {
    user.keys.iter().any(|had| {
        had.access_key == key.access_key
            && had.secret_key.expose_secret() == key.secret_key.expose_secret()
    })
}

/// RGW's 0 is no limit, and below it none may be made. It counts in 32 bits with a sign.
fn max_buckets_of(bucket_max: Option<u32>) -> i64 {
    match bucket_max {
        None => 0,
        Some(0) => -1,
        Some(max) => i64::from(max).min(i64::from(i32::MAX)),
    }
}

/// The other way round.
pub(crate) fn bucket_max_of(max_buckets: i64) -> Option<u32> {
    match max_buckets {
        0 => None,
        ..0 => Some(0),
        max => Some(u32::try_from(max).unwrap_or(u32::MAX)),
    }
}

impl Ceph {
    /// Looks at the user of a uid.
    pub(crate) async fn look(&self, uid: &S3uid) -> Result<Found, Error> {
        match self.admin.user(&uid.into()).await? {
            Some(user) => Ok(self.found(uid, user)),
            None => self.look_adopted(uid).await,
        }
    }

    fn found(&self, uid: &S3uid, user: User) -> Found {
        if self.is_account(uid, &user) { Found::Ours(Box::new(user)) } else { Found::Foreign }
    }

    /// Looks for an adopted user of a uid: the one with the key that says so.
    async fn look_adopted(&self, uid: &S3uid) -> Result<Found, Error> {
        let Some(mut user) = self.admin.user_with_key(uid.as_str()).await? else {
            return Ok(Found::Nobody);
        };
        user.keys.retain(|key| key.access_key != uid.as_str());
        Ok(self.found(uid, user))
    }

    /// Our user who has an access key.
    pub(crate) async fn owner_of_key(&self, access_key: &str) -> Result<Option<S3uid>, Error> {
        // RGW would take an empty one for none, and then miss the uid.
        if access_key.is_empty() {
            return Ok(None);
        }
        let Some(user) = self.admin.user_with_key(access_key).await? else {
            // Or we may not ask.
            self.admin.users("", 1).await?;
            return Ok(None);
        };
        Ok(self.account_of(&user).map(|(uid, _)| uid))
    }

    /// Our user of a uid.
    pub(crate) async fn account(&self, uid: &S3uid) -> Result<User, Error> {
        match self.look(uid).await? {
            Found::Ours(user) => Ok(*user),
            Found::Nobody | Found::Foreign => Err(Error::NotFound),
        }
    }

    pub(crate) async fn make_account(&self, spec: &AccountSpec) -> Result<(), Error> {
        let _turn = self.locks.hold(&spec.uid).await;
        let target = Target::of(spec);
        until_won(&self.random, || self.try_make(&target)).await
    }

    /// Looks what there is, changes what differs, and looks again. What shuts comes before what
    /// opens. A [`Error::Conflict`] may have changed some of it: the next look tells.
    async fn try_make(&self, target: &Target<'_>) -> Result<(), Error> {
        let uid = &target.spec.uid;
        let user = match self.look(uid).await? {
            Found::Foreign => {
                tracing::error!(account = %uid, "RGW has a user of this uid that is not ours");
                return Err(Error::AlreadyExists);
            }
            Found::Ours(user) if target.is_met_by(&user) => return Ok(()),
            Found::Ours(user) => {
                self.check_keys(target, Some(&user)).await?;
                *user
            }
            Found::Nobody => {
                self.check_keys(target, None).await?;
                self.create(target).await?;
                self.account(uid).await?
            }
        };
        self.change(target, &user).await?;
        match self.look(uid).await? {
            Found::Ours(user) if target.is_met_by(&user) => Ok(()),
            // Another process has changed it meanwhile, or RGW has not done what it said.
            _ => Err(Error::Conflict),
        }
    }

    /// Refuses keys of others before anything is changed.
    async fn check_keys(&self, target: &Target<'_>, user: Option<&User>) -> Result<(), Error> {
        let id = user.map_or_else(|| UserId::from(&target.spec.uid), |user| user.user_id.clone());
        for key in &target.spec.keys {
            let had = user
                .is_some_and(|user| user.keys.iter().any(|had| had.access_key == key.access_key));
            if had {
                continue;
            }
            // That we may ask was seen by the look.
            match self.admin.user_with_key(&key.access_key).await? {
                Some(holder) if holder.user_id == id && holder.tenant.is_empty() => {}
                Some(_) => return Err(Error::AlreadyExists),
                None => {}
            }
        }
        Ok(())
    }

    async fn create(&self, target: &Target<'_>) -> Result<(), Error> {
        let uid = &target.spec.uid;
        match self.admin.create_user(&uid.into(), &self.display_name(uid), target.max_buckets).await
        {
            // Another was faster; whose it is, a look tells.
            Err(fault) if fault.code() == "UserAlreadyExists" => Err(Error::Conflict),
            created => Ok(created?),
        }
    }

    async fn change(&self, target: &Target<'_>, user: &User) -> Result<(), Error> {
        let spec = target.spec;
        let uid = &user.user_id;
        let had = user.access();
        if spec.access > had {
            self.admin.modify_user(uid, target.max_buckets, spec.access).await?;
        }
        for key in user.keys.iter().filter(|key| !target.wants(&key.access_key)) {
            match self.admin.delete_key(uid, &key.access_key).await {
                // It is gone already, or our own key is: the next look tells.
                Err(fault) if fault.code() == "InvalidAccessKeyId" => return Err(Error::Conflict),
                deleted => deleted?,
            }
        }
        if !user.user_quota.is_as(target.quota) {
            self.admin.set_quota(uid, target.quota).await?;
        }
        for key in target.missing(user) {
            self.admin.put_key(uid, key).await?;
        }
        if spec.access < had || user.max_buckets != target.max_buckets {
            self.admin.modify_user(uid, target.max_buckets, spec.access).await?;
        }
        Ok(())
    }

    pub(crate) async fn change_access(
        &self,
        uid: &S3uid,
        access: AccountAccess,
    ) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        let mut back_off = BackOff::new(&self.random);
        loop {
            let user = self.account(uid).await?;
            if user.access() == access {
                return Ok(());
            }
            // A race that was lost: the next look tells.
            let set = self.admin.modify_user(&user.user_id, user.max_buckets, access).await;
            match set.map_err(Error::from) {
                Ok(()) | Err(Error::Conflict) => {}
                Err(error) => return Err(error),
            }
            if !back_off.pause().await {
                return Err(Error::Conflict);
            }
        }
    }

    pub(crate) async fn unmake_account(&self, uid: &S3uid, purge: bool) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        until_won(&self.random, || self.try_unmake(uid, purge)).await
    }

    async fn try_unmake(&self, uid: &S3uid, purge: bool) -> Result<(), Error> {
        let user = match self.look(uid).await? {
            Found::Nobody => return Ok(()),
            Found::Foreign => {
                tracing::error!(account = %uid, "RGW has a user of this uid that is not ours");
                return Ok(());
            }
            Found::Ours(user) => user,
        };
        let uid = &user.user_id;
        if purge {
            if !user.suspended {
                let shut = AccountAccess::Suspended;
                self.admin.modify_user(uid, user.max_buckets, shut).await?;
            }
            // Bucket by bucket, so that an attempt that takes too long has done something.
            for bucket in self.admin.bucket_names(uid).await? {
                self.admin.purge_bucket(uid, &bucket).await?;
            }
        }
        match self.admin.delete_user(uid).await {
            // So it calls a user who has buckets.
            Err(fault) if fault.code() == "BucketAlreadyExists" => {
                // A request was under way when the account was suspended.
                Err(if purge { Error::Conflict } else { Error::NotEmpty })
            }
            Err(fault) if fault.code() == "NoSuchUser" => Ok(()),
            deleted => Ok(deleted?),
        }
    }

    /// RGW lists users in an order of its own, so all names are read for every page of ours.
    pub(crate) async fn accounts(
        &self,
        after: Option<&S3uid>,
        max: u32,
    ) -> Result<Vec<AccountInfo>, Error> {
        let max = usize::try_from(max.min(ACCOUNTS_MAX)).unwrap_or(0);
        let names = self.user_names().await?;
        let mut uids = self.uids_of(names).await?;
        uids.retain(|uid| after.is_none_or(|after| uid > after));
        uids.sort_unstable();
        uids.dedup();
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

    /// Names of all users, in RGW's order.
    pub(crate) async fn user_names(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        let mut marker = String::new();
        for _ in 0..NAME_PAGES_MAX {
            let page = self.admin.users(&marker, NAMES_PAGE).await?;
            names.extend(page.keys);
            if !page.truncated || page.marker.is_empty() {
                return Ok(names);
            }
            marker = page.marker;
        }
        Err(Error::Unsupported)
    }

    /// Uids of users by their names; those that are no accounts are left out.
    pub(crate) async fn uids_of(&self, names: Vec<String>) -> Result<Vec<S3uid>, Error> {
        let asked = names.into_iter().map(|name| async move { self.uid_of(&name).await });
        let uids: Vec<_> = stream::iter(asked).buffered(ASKED_AT_ONCE).try_collect().await?;
        Ok(uids.into_iter().flatten().collect())
    }

    /// `None`: it is not ours, or has just gone.
    async fn info(&self, uid: S3uid) -> Result<Option<AccountInfo>, Error> {
        let Found::Ours(user) = self.look(&uid).await? else {
            return Ok(None);
        };
        let bucket_count = self.admin.bucket_names(&user.user_id).await?.len() as u64;
        let (quota, access) = (user.user_quota.into(), user.access());
        let keys: BTreeSet<_> = user.keys.into_iter().map(|key| key.access_key).collect();
        Ok(Some(AccountInfo {
            uid,
            access_keys: keys.into_iter().collect(),
            quota,
            bucket_max: bucket_max_of(user.max_buckets),
            access,
            bucket_count,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_buckets_comes_back() {
        for (bucket_max, max_buckets) in [(None, 0), (Some(0), -1), (Some(1), 1), (Some(7), 7)] {
            assert_eq!(max_buckets_of(bucket_max), max_buckets);
            assert_eq!(bucket_max_of(max_buckets), bucket_max);
        }
    }
}
