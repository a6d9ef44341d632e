//! Users of RGW that are no accounts of ours, and become some; see [`crate::user`] for what that
//! means to a user.

use std::collections::BTreeMap;

use secrecy::SecretString;
use stowage_engine::{Adopted, Error, Foreign, KeyPair};
use stowage_engine_remote::{page_of, until_won};
use stowage_types::{BucketName, S3uid};

use crate::account::{Found, bucket_max_of};
use crate::ceph::Ceph;
use crate::user::UserId;
use crate::wire::User;

/// Users of one answer.
const FOREIGN_MAX: u32 = 1000;
/// Random bytes of the secret that nobody keeps.
const SECRET_BYTES: usize = 20;

impl Ceph {
    /// RGW lists users in an order of its own, so all names are read for every page of ours.
    pub(crate) async fn foreign(
        &self,
        after: Option<&str>,
        max: u32,
    ) -> Result<Vec<Foreign>, Error> {
        let names = self.user_names().await?;
        let page = (after, max.min(FOREIGN_MAX));
        page_of(names, page, async |name: String| self.foreign_named(&name).await).await
    }

    pub(crate) async fn foreign_named(&self, name: &str) -> Result<Option<Foreign>, Error> {
        match UserId::try_from(name.to_owned()) {
            Ok(id) => self.look_foreign(&id).await,
            Err(_) => Ok(None),
        }
    }

    /// `None`: it is ours, or one of RGW's operators, or is not there.
    async fn look_foreign(&self, id: &UserId) -> Result<Option<Foreign>, Error> {
        let Some(user) = self.admin.user(id).await? else { return Ok(None) };
        if self.account_of(&user).is_some() || self.is_operator(&user) {
            return Ok(None);
        }
        let mut buckets = self.admin.bucket_names(id).await?;
        buckets.sort_unstable();
        let obstacle = obstacle(&user, &buckets);
        let uid = S3uid::parse(id.as_str()).ok();
        let (quota, access) = (user.user_quota.into(), user.access());
        let bucket_max = bucket_max_of(user.max_buckets);
        let mut access_keys: Vec<_> = user.keys.into_iter().map(|key| key.access_key).collect();
        access_keys.sort_unstable();
        Ok(Some(Foreign {
            name: id.as_str().to_owned(),
            uid,
            display_name: user.display_name,
            email: user.email,
            access_keys,
            quota,
            bucket_max,
            access,
            buckets,
            obstacle,
        }))
    }

    /// Whether it runs this RGW, as we do.
    fn is_operator(&self, user: &User) -> bool {
        let is_us = |key: &crate::wire::Key| key.access_key == self.options.access_key;
        user.system || user.admin || user.keys.iter().any(is_us)
    }

    pub(crate) async fn take_over(&self, name: &str, uid: &S3uid) -> Result<Adopted, Error> {
        let id = UserId::try_from(name.to_owned()).map_err(|_| Error::NotFound)?;
        let _turn = self.locks.hold(uid).await;
        until_won(&self.random, || self.try_take_over(&id, uid)).await
    }

    async fn try_take_over(&self, id: &UserId, uid: &S3uid) -> Result<Adopted, Error> {
        let user = self.admin.user(id).await?.ok_or(Error::NotFound)?;
        match self.account_of(&user) {
            Some((said, _)) if said == *uid => {}
            Some(_) => return Err(Error::AlreadyExists),
            None => self.mark(&user, uid).await?,
        }
        match self.look(uid).await? {
            Found::Ours(user) if user.user_id == *id => Ok(adopted(*user)),
            Found::Ours(_) => Err(Error::AlreadyExists),
            // Another process has changed it meanwhile.
            Found::Nobody | Found::Foreign => Err(Error::Conflict),
        }
    }

    /// Has RGW find a user by the uid, and then say so by its name for people. A process that dies
    /// in between has changed nothing that counts, and a repeat goes on.
    async fn mark(&self, user: &User, uid: &S3uid) -> Result<(), Error> {
        if self.is_operator(user) {
            return Err(Error::Invalid { why: "it is an operator of the engine".to_owned() });
        }
        let buckets = self.admin.bucket_names(&user.user_id).await?;
        if let Some(why) = obstacle(user, &buckets) {
            return Err(Error::Invalid { why });
        }
        match S3uid::parse(user.user_id.as_str()) {
            Ok(named) if named == *uid => {}
            Ok(_) => return Err(Error::Invalid { why: "its name is a uid already".to_owned() }),
            Err(_) => self.put_mark(user, uid).await?,
        }
        let name = format!("{} {}", self.display_name(uid), user.display_name);
        self.admin.name_user(user, name.trim_end()).await?;
        self.known.forget(user.user_id.as_str());
        Ok(())
    }

    async fn put_mark(&self, user: &User, uid: &S3uid) -> Result<(), Error> {
        if user.keys.iter().any(|key| key.access_key == uid.as_str()) {
            return Ok(());
        }
        if !matches!(self.look(uid).await?, Found::Nobody) {
            return Err(Error::AlreadyExists);
        }
        let mut secret = [0; SECRET_BYTES];
        self.random.fill(&mut secret);
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let key =
            KeyPair { access_key: uid.as_str().to_owned(), secret_key: SecretString::from(hex) };
        Ok(self.admin.put_key(&user.user_id, &key).await?)
    }

    pub(crate) async fn give_up(&self, uid: &S3uid) -> Result<(), Error> {
        let _turn = self.locks.hold(uid).await;
        if let Found::Ours(user) = self.look(uid).await? {
            let before = self.account_of(&user).map_or("", |(_, before)| before);
            let name = if before.is_empty() { user.user_id.as_str() } else { before };
            self.admin.name_user(&user, name).await?;
            self.known.forget(user.user_id.as_str());
        }
        // Last, or it would still say that it is ours and not be found.
        self.take_mark(uid).await
    }

    async fn take_mark(&self, uid: &S3uid) -> Result<(), Error> {
        // That we may ask was seen by the look.
        let Some(marked) = self.admin.user_with_key(uid.as_str()).await? else { return Ok(()) };
        match self.admin.delete_key(&marked.user_id, uid.as_str()).await {
            Err(fault) if fault.code() == "InvalidAccessKeyId" => Ok(()),
            deleted => Ok(deleted?),
        }
    }
}

fn adopted(user: User) -> Adopted {
    let (quota, access) = (user.user_quota.into(), user.access());
    let bucket_max = bucket_max_of(user.max_buckets);
    let pair = |key: crate::wire::Key| (key.access_key, key.secret_key);
    let keys: BTreeMap<_, _> = user.keys.into_iter().map(pair).collect();
    let keys = keys.into_iter().map(|(access_key, secret_key)| KeyPair { access_key, secret_key });
    Adopted { keys: keys.collect(), quota, bucket_max, access }
}

/// What of a user an account could not have, so that it would be lost or do harm.
fn obstacle(user: &User, buckets: &[String]) -> Option<String> {
    let odd_bucket = buckets.iter().find(|name| BucketName::new(name.as_str()).is_err());
    let says_another = user.display_name.ends_with(&format!(" {}", user.user_id));
    let whys = [
        (!user.tenant.is_empty(), "it is a tenant's".to_owned()),
        (
            says_another && S3uid::parse(user.user_id.as_str()).is_ok(),
            format!("it is another installation's account: {:?}", user.display_name),
        ),
        (!user.caps.is_empty(), "it has rights at the Admin Ops API".to_owned()),
        (!user.subusers.is_empty(), "it has subusers".to_owned()),
        (!user.swift_keys.is_empty(), "it has keys for Swift".to_owned()),
        (user.keys.is_empty(), "it has no key".to_owned()),
        (!user.has_known_rights(), "it may do some of reading, writing and deleting".to_owned()),
        (
            user.user_quota.enabled && user.user_quota.max_objects >= 0,
            "the number of its objects is bounded".to_owned(),
        ),
        (user.bucket_quota.enabled, "each of its new buckets gets a quota".to_owned()),
    ];
    let odd_bucket = odd_bucket.map(|name| format!("S3 allows no bucket of the name {name:?}"));
    let why = whys.into_iter().find_map(|(is_so, why)| is_so.then_some(why));
    why.or(odd_bucket)
}
