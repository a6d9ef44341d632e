//! What engines have and what this role knows, side by side, for whoever mends differences.

use std::collections::BTreeMap;

use stowage_auth::{RequestContext, Scope};
use stowage_engine::{AccountInfo, Engine, KeyUsage};
use stowage_types::{S3uid, name, page};

use super::Storage;
use super::engine_account::{Account, kept_by};
use crate::error::Error;
use crate::store;

const ACCOUNTS: &str = "engine_accounts";
const KEYS: &str = "key_usage";

/// One account, seen from both sides.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// `None`: the engine has it not.
    pub(crate) on_engine: Option<AccountInfo>,
    /// `None`: this role has never heard of it.
    pub(crate) in_storage: Option<Account>,
}

/// A page of accounts.
#[derive(Debug)]
pub(crate) struct ViewPage {
    pub(crate) views: Vec<(S3uid, View)>,
    /// Empty: the end.
    pub(crate) next_page_token: String,
}

/// A page of keys.
#[derive(Debug)]
pub(crate) struct KeyUsagePage {
    pub(crate) keys: Vec<KeyUsage>,
    /// Empty: the end.
    pub(crate) next_page_token: String,
}

impl View {
    /// What an engine cannot keep is no difference that anybody could mend.
    fn agree_on_access(&mut self, engine: &dyn Engine) {
        let (Some(info), Some(account)) = (&mut self.on_engine, &self.in_storage) else { return };
        if kept_by(engine, account.limits.access) == info.access {
            info.access = account.limits.access;
        }
    }

    fn is_visible(&self, cx: &RequestContext) -> bool {
        let owner = self.in_storage.as_ref().and_then(|account| account.customer);
        cx.principal.scope() == Scope::Everything || owner.is_some_and(|owner| cx.sees(owner))
    }
}

impl Storage {
    /// Accounts of a location by uid: all that its engine has, and all that should be there.
    pub(crate) async fn engine_accounts(
        &self,
        cx: &RequestContext,
        location: &str,
        (page_size, page_token): (i64, &str),
    ) -> Result<ViewPage, Error> {
        let location = self.location(cx, location).await?.code;
        let site = self.site(&location).await?;
        let engine = &*site.engine;
        let after = match page::decode(ACCOUNTS, &location, page_token) {
            Ok(after) => after.map(|text| S3uid::parse(&text)).transpose(),
            Err(error) => Err(error),
        };
        let after = after.map_err(|_| Error::PageTokenInvalid)?;
        let max = u32::try_from(page_size).unwrap_or(u32::MAX);
        let size = usize::try_from(page_size).unwrap_or(usize::MAX);
        // The engine first: what it has was written into the table before that.
        let there = engine.list_accounts(after.as_ref(), max).await?;
        let text = after.as_ref().map_or("", S3uid::as_str);
        let known = store::account::list_at(&self.db, &location, text, max).await?;
        let is_more = there.len() >= size || known.len() >= size;
        let mut views: BTreeMap<S3uid, View> = BTreeMap::new();
        for info in there {
            let uid = info.uid.clone();
            views.entry(uid).or_default().on_engine = Some(info);
        }
        for (uid, account) in known {
            views.entry(uid).or_default().in_storage = Some(account);
        }
        let mut views: Vec<_> = views.into_iter().take(size).collect();
        for (uid, view) in &mut views {
            if view.in_storage.is_none() {
                // Removed, at another location, or never heard of.
                view.in_storage = store::account::find(&self.db, uid).await?;
            }
            view.agree_on_access(engine);
        }
        let last = views.last().map(|(uid, _)| page::encode(ACCOUNTS, &location, uid.as_str()));
        let next_page_token = last.filter(|_| is_more).unwrap_or_default();
        views.retain(|(_, view)| view.is_visible(cx));
        Ok(ViewPage { views, next_page_token })
    }

    /// When the keys of an account were last used; none where its engine does not tell.
    pub(crate) async fn key_usage(
        &self,
        cx: &RequestContext,
        uid: &S3uid,
        (page_size, page_token): (i64, &str),
    ) -> Result<KeyUsagePage, Error> {
        let used = self.visible_account(cx, uid).await?;
        let scope = name::account(uid);
        let after = page::decode(KEYS, &scope, page_token).map_err(|_| Error::PageTokenInvalid)?;
        let mut keys = Vec::new();
        if used.engine().capabilities().key_usage {
            keys = used.engine().key_usage(uid).await?;
        }
        keys.retain(|key| after.as_ref().is_none_or(|after| key.access_key > *after));
        let size = usize::try_from(page_size).unwrap_or(usize::MAX);
        let is_more = keys.len() > size;
        keys.truncate(size);
        let last = keys.last().map(|key| page::encode(KEYS, &scope, &key.access_key));
        Ok(KeyUsagePage { keys, next_page_token: last.filter(|_| is_more).unwrap_or_default() })
    }
}
