//! Which user of RGW an account is.
//!
//! One that we made is called by its uid. One that we adopted keeps its name: RGW cannot rename a
//! user, and its objects are owned by that name. Both say whose they are in the name for people,
//! `<marker> <uid>`, behind which an adopted one keeps what it was called before. And an adopted
//! one has one key more, whose id is the uid and whose secret nobody keeps: so RGW finds it by the
//! uid, and we keep nothing of our own.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use stowage_engine::Error;
use stowage_types::S3uid;
use time::{Duration, OffsetDateTime};

use crate::ceph::Ceph;
use crate::wire::User;

/// How long it is taken for known who a user is. Less than the hours of usage that are read again:
/// what another process adopts meanwhile loses none of it.
const KNOWN_FOR: Duration = Duration::minutes(10);
/// Users known at most; of more all are asked for again.
const KNOWN_MAX: usize = 100_000;

/// What RGW calls whoever signs nothing. It denies to be asked for it.
///
/// Source: Ceph, `src/rgw/rgw_common.h`, `RGW_USER_ANON_ID`.
const ANONYMOUS: &str = "anonymous";

/// What RGW calls a user. Never empty, which would mean all of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct UserId(String);

impl UserId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&S3uid> for UserId {
    fn from(uid: &S3uid) -> Self {
        Self(uid.as_str().to_owned())
    }
}

impl TryFrom<String> for UserId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Err("a user without a name") } else { Ok(Self(text)) }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who users are whose names are no uids.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<String, (Option<S3uid>, OffsetDateTime)>>);

impl Known {
    fn get(&self, name: &str, now: OffsetDateTime) -> Option<Option<S3uid>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (uid, time) = known.get(name)?;
        // A clock that was set back makes it unknown.
        (Duration::ZERO..KNOWN_FOR).contains(&(now - *time)).then(|| uid.clone())
    }

    fn set(&self, name: &str, uid: Option<S3uid>, now: OffsetDateTime) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(name.to_owned(), (uid, now));
    }

    pub(crate) fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Ceph {
    pub(crate) fn display_name(&self, uid: &S3uid) -> String {
        format!("{} {uid}", self.options.marker)
    }

    /// The account that a user says it is, and what it was called before it was adopted.
    pub(crate) fn account_of<'u>(&self, user: &'u User) -> Option<(S3uid, &'u str)> {
        let said = user.display_name.strip_prefix(&self.options.marker)?.strip_prefix(' ')?;
        let (uid, before) = said.split_once(' ').unwrap_or((said, ""));
        let uid = S3uid::parse(uid).ok()?;
        // One whose name is a uid is that account or none.
        let named = S3uid::parse(user.user_id.as_str());
        let is_so = user.tenant.is_empty() && named.map_or(true, |named| named == uid);
        is_so.then_some((uid, before))
    }

    pub(crate) fn is_account(&self, uid: &S3uid, user: &User) -> bool {
        self.account_of(user).is_some_and(|(said, _)| said == *uid)
    }

    /// The account that a user of this name is. Of one whose name is a uid it is that account,
    /// ours or not.
    pub(crate) async fn uid_of(&self, name: &str) -> Result<Option<S3uid>, Error> {
        let user = match (S3uid::parse(name), UserId::try_from(name.to_owned())) {
            (Ok(uid), _) => return Ok(Some(uid)),
            (_, Ok(user)) => user,
            (_, Err(_)) => return Ok(None),
        };
        if name == ANONYMOUS {
            return Ok(None);
        }
        let now = self.clock.now();
        if let Some(known) = self.known.get(name, now) {
            return Ok(known);
        }
        let found = self.admin.user(&user).await?;
        let uid = found.and_then(|user| Some(self.account_of(&user)?.0));
        self.known.set(name, uid.clone(), now);
        Ok(uid)
    }
}
