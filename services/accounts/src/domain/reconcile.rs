//! Reconciliation: what accounts are meant to be, against what engines and billing have.
//!
//! It looks without locks while all of it changes, so what is under way is left alone, and what is
//! mended is mended under the account's own lock: by the saga of a change that changes nothing and
//! makes every part be as the account says. Nothing that holds data is removed.

use std::collections::BTreeMap;
use std::time::Duration;

use stowage_auth::{RequestContext, Scope};
use stowage_proto::common::ErrorReason;
use stowage_request::Once;
use stowage_saga::{Filter, Outcome};
use stowage_types::S3uid;
use time::OffsetDateTime;

use super::Domain;
use super::account::Account;
use super::change_saga::{ChangeAccount, What};
use super::finding::{Finding, Kind, difference};
use super::history::{Cause, Entry, Event};
use super::life::{Act, State};
use super::reconcile_cursor::Cursor;
use crate::error::Error;
use crate::roles::{OnEngine, Open};
use crate::store;

/// Accounts looked at with their subscriptions at once.
const ACCOUNTS_PAGE: i64 = 500;
/// Accounts between two that the engine has, at most: the rest is left to the next round.
const RANGE_MAX: i64 = 1000;
/// From when on what waits is reported.
const OVERDUE_AFTER: Duration = Duration::from_secs(300);
/// Stuck sagas reported.
const STUCK_MAX: usize = 100;

/// A part of a round.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) findings: Vec<Finding>,
    pub(crate) looked_at: i64,
    /// `None`: that was all.
    pub(crate) next: Option<Cursor>,
}

/// An account, and the ids of its keys.
struct Known {
    account: Account,
    keys: Vec<String>,
}

/// One round, as its parts are looked at.
struct Round<'a> {
    domain: &'a Domain,
    cx: &'a RequestContext,
    dry_run: bool,
    part: Part,
}

impl Domain {
    /// Looks at one part of a round.
    pub(crate) async fn reconcile(
        &self,
        cx: &RequestContext,
        dry_run: bool,
        from: Cursor,
    ) -> Result<Part, Error> {
        if cx.principal.scope() != Scope::Everything {
            return Err(Error::RoleNotAllowed { what: "reconcile for one customer" });
        }
        let mut round = Round { domain: self, cx, dry_run, part: Part::default() };
        round.part.next = match from {
            Cursor::Engine { location, page, after } => round.engine(location, page, after).await?,
            Cursor::Accounts { after } => round.accounts(after).await?,
            Cursor::Subscriptions { page } => round.subscriptions(&page).await?,
            Cursor::Rest => round.rest().await?,
        };
        Ok(round.part)
    }

    /// A whole round, for the timer; answers what is left unmended.
    pub(crate) async fn reconcile_all(&self) -> Result<Vec<Finding>, Error> {
        let cx = RequestContext::background("reconcile");
        let (mut left, mut from) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = from {
            let part = self.reconcile(&cx, false, cursor).await?;
            for finding in &part.findings {
                tracing::warn!(
                    account = finding.s3uid,
                    kind = ?finding.kind,
                    what = finding.what,
                    why_not = finding.why_not.as_deref().unwrap_or_default(),
                    mended = finding.why_not.is_none(),
                    "parts did not agree"
                );
            }
            left.extend(part.findings.into_iter().filter(|finding| finding.why_not.is_some()));
            from = part.next;
        }
        Ok(left)
    }
}

impl Round<'_> {
    fn report(&mut self, kind: Kind, s3uid: &str, what: String, outcome: Result<(), String>) {
        let (s3uid, why_not) = (s3uid.to_owned(), outcome.err());
        self.part.findings.push(Finding { kind, s3uid, what, why_not });
    }

    /// Accounts of one engine, against ours of the same range.
    async fn engine(
        &mut self,
        place: usize,
        page: String,
        after: String,
    ) -> Result<Option<Cursor>, Error> {
        let Domain { shared, .. } = self.domain;
        let locations = shared.roles.list_locations(self.cx).await?;
        let Some(location) = locations.get(place) else {
            return Ok(Some(Cursor::Accounts { after: 0 }));
        };
        let next_place =
            Cursor::Engine { location: place + 1, page: String::new(), after: String::new() };
        let listed = match shared.roles.list_engine_accounts(self.cx, location, &page).await {
            Err(error) if error.reason == ErrorReason::EngineUnsupported => {
                let why = Err("its accounts must be looked at by hand".to_owned());
                self.report(Kind::EngineUnlisted, "", format!("{location} lists none"), why);
                return Ok(Some(next_place));
            }
            listed => listed?,
        };
        let last = listed.rows.last().map(|row| row.0.clone()).unwrap_or_default();
        let until = if listed.next.is_empty() { None } else { Some(last.as_str()) };
        let code = location.trim_start_matches("locations/");
        let range = (after.as_str(), until);
        let ours = store::account::list_range(&shared.db, code, range, RANGE_MAX).await?;
        self.part.looked_at += i64::try_from(ours.len()).unwrap_or(0);
        let mut ours = self.with_keys(ours).await?;
        for (s3uid, on_engine) in &listed.rows {
            match ours.remove(s3uid) {
                Some(known) => self.engine_account(&known, on_engine.as_ref()).await?,
                None => self.stranger(s3uid, location, on_engine.as_ref()).await?,
            }
        }
        // What the engine did not list.
        for known in ours.values() {
            self.engine_account(known, None).await?;
        }
        match listed.next.is_empty() {
            true => Ok(Some(next_place)),
            false => Ok(Some(Cursor::Engine { location: place, page: listed.next, after: last })),
        }
    }

    /// Accounts by s3uid, each with the ids of its keys.
    async fn with_keys(&self, accounts: Vec<Account>) -> Result<BTreeMap<String, Known>, Error> {
        let uids: Vec<&str> = accounts.iter().map(|account| account.s3uid.as_str()).collect();
        let keys = store::access_key::list_of(&self.domain.shared.db, &uids).await?;
        let known =
            |account: Account| (account.s3uid.to_string(), Known { account, keys: Vec::new() });
        let mut known: BTreeMap<String, Known> = accounts.into_iter().map(known).collect();
        for (s3uid, key) in keys {
            known.entry(s3uid).and_modify(|known| known.keys.push(key));
        }
        Ok(known)
    }

    /// What the engine has, and is none of ours at this location as far as was read.
    async fn stranger(
        &mut self,
        s3uid: &str,
        location: &str,
        on_engine: Option<&OnEngine>,
    ) -> Result<(), Error> {
        let Some(on_engine) = on_engine else { return Ok(()) };
        let db = &self.domain.shared.db;
        let known = match S3uid::parse(s3uid) {
            Ok(s3uid) => store::account::find(db, &s3uid, None).await?,
            Err(_) => None,
        };
        let why = match known {
            // Ordered since the others were read, or more of them than are read at once.
            Some(known) if location.ends_with(&format!("/{}", known.location)) => {
                for known in self.with_keys(vec![known]).await?.values() {
                    self.engine_account(known, Some(on_engine)).await?;
                }
                return Ok(());
            }
            // Either side of a move has it until that has ended.
            Some(known) if known.move_id.is_some() => return Ok(()),
            Some(known) => {
                format!("it is at location {}, and here it may hold data", known.location)
            }
            None => "accounts has never heard of it, and it may hold data".to_owned(),
        };
        let what = format!("the engine of {location} has an account that it should not");
        self.report(Kind::EngineAccountOrphan, s3uid, what, Err(why));
        Ok(())
    }

    async fn engine_account(
        &mut self,
        Known { account, keys }: &Known,
        on_engine: Option<&OnEngine>,
    ) -> Result<(), Error> {
        match (account.state, on_engine) {
            (State::Failed | State::Deleted, Some(on_engine)) => {
                self.orphan(account, on_engine).await
            }
            (State::Active | State::ReadOnly | State::Suspended | State::Ended, _)
                if account.change_saga.is_none() && !account.is_frozen =>
            {
                let (kind, what) = match on_engine {
                    None => (Kind::EngineAccountMissing, "the engine has it not".to_owned()),
                    Some(on_engine) => match difference(account, keys, on_engine) {
                        Some(what) => (Kind::EngineAccountDiffers, what),
                        None => return Ok(()),
                    },
                };
                let outcome = self.mend(account, &what).await?;
                self.report(kind, account.s3uid.as_str(), what, outcome);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What an order or a deletion has left on the engine.
    async fn orphan(&mut self, account: &Account, on_engine: &OnEngine) -> Result<(), Error> {
        let state = account.state.text().to_lowercase();
        let what =
            format!("the engine has it, with {} bucket(s); it {state}", on_engine.bucket_count);
        let outcome = match (self.dry_run, on_engine.bucket_count) {
            (_, 1..) => Err("it has buckets: look what is in them, then remove it".to_owned()),
            (true, _) => Err(DRY_RUN.to_owned()),
            (false, _) => {
                let shared = &self.domain.shared;
                let removed = shared.roles.remove_engine_account(self.cx, &account.s3uid, false);
                removed.await.map_err(|error| error.message)
            }
        };
        if outcome.is_ok() {
            self.note(account, &what).await?;
        }
        self.report(Kind::EngineAccountOrphan, account.s3uid.as_str(), what, outcome);
        Ok(())
    }

    /// Accounts against their subscriptions.
    async fn accounts(&mut self, after: i64) -> Result<Option<Cursor>, Error> {
        let Domain { shared, .. } = self.domain;
        let page = store::account::list(&shared.db, None, after, ACCOUNTS_PAGE).await?;
        let Some(last) = page.last().map(|account| account.account_id) else {
            return Ok(Some(Cursor::Subscriptions { page: String::new() }));
        };
        self.part.looked_at += i64::try_from(page.len()).unwrap_or(0);
        let in_use = |account: &&Account| {
            matches!(account.state, State::Active | State::ReadOnly | State::Suspended)
                && account.change_saga.is_none()
        };
        let ids = page.iter().filter(in_use).map(|account| account.service_id).collect();
        let found = shared.roles.get_subscriptions(self.cx, ids).await?;
        let found: BTreeMap<i64, Open> =
            found.into_iter().map(|open| (open.service_id, open)).collect();
        for account in page.iter().filter(in_use) {
            self.subscription_of(account, found.get(&account.service_id)).await?;
        }
        Ok(Some(Cursor::Accounts { after: last }))
    }

    async fn subscription_of(
        &mut self,
        account: &Account,
        open: Option<&Open>,
    ) -> Result<(), Error> {
        let s3uid = account.s3uid.as_str();
        let Some(open) = open.filter(|open| open.is_active) else {
            let what = "it is in use, and no active subscription bills it".to_owned();
            let why = "whether to bill it or to delete it is for people to say".to_owned();
            // It may have ended since the account was read.
            if self.is_unchanged(account).await? {
                self.report(Kind::SubscriptionMissing, s3uid, what, Err(why));
            }
            return Ok(());
        };
        if open.cancel_time != account.cancel_time && self.is_unchanged(account).await? {
            let what = "its scheduled end is another at billing, which decides it".to_owned();
            let outcome = self.copy_cancellation(account, open.cancel_time, &what).await?;
            self.report(Kind::CancellationDiffers, s3uid, what, outcome);
        }
        let (sold, billed) =
            ((account.plan.0, account.plan_version), (open.plan_id, open.plan_version));
        if sold == billed || !self.is_unchanged(account).await? {
            return Ok(());
        }
        let what = format!(
            "sold as plan {} version {}, billed as {} {}",
            sold.0, sold.1, billed.0, billed.1
        );
        let outcome = self.mend(account, &what).await?;
        self.report(Kind::SubscriptionDiffers, s3uid, what, outcome);
        Ok(())
    }

    /// Open subscriptions of accounts that are not.
    async fn subscriptions(&mut self, page: &str) -> Result<Option<Cursor>, Error> {
        let Domain { shared, .. } = self.domain;
        let listed = shared.roles.list_open_subscriptions(self.cx, page).await?;
        self.part.looked_at += i64::try_from(listed.rows.len()).unwrap_or(0);
        let uids: Vec<&str> = listed.rows.iter().map(|open| open.s3uid.as_str()).collect();
        let ours = store::account::list_whatever(&shared.db, &uids).await?;
        let ours: BTreeMap<&str, &Account> =
            ours.iter().map(|account| (account.s3uid.as_str(), account)).collect();
        for open in &listed.rows {
            match ours.get(open.s3uid.as_str()) {
                None => {
                    let why = "accounts has never heard of it".to_owned();
                    let what = format!("service {} is billed for nothing", open.service_id);
                    self.report(Kind::SubscriptionOrphan, &open.s3uid, what, Err(why));
                }
                Some(account) => self.open_subscription(account, open).await?,
            }
        }
        match listed.next.is_empty() {
            true => Ok(Some(Cursor::Rest)),
            false => Ok(Some(Cursor::Subscriptions { page: listed.next })),
        }
    }

    async fn open_subscription(&mut self, account: &Account, open: &Open) -> Result<(), Error> {
        let shared = &self.domain.shared;
        let is_over = matches!(account.state, State::Failed | State::Deleted | State::Ended);
        if !is_over {
            return Ok(());
        }
        let state = account.state.text().to_lowercase();
        let what = format!("service {} is billed, and the account {state}", open.service_id);
        let outcome = match (self.dry_run, account.state) {
            (true, _) => Err(DRY_RUN.to_owned()),
            // The order was undone: nothing is to be charged.
            (false, State::Failed) => {
                let undone = shared.roles.undo_order(self.cx, &account.s3uid).await;
                undone.map_err(|error| error.message)
            }
            (false, _) => {
                let ended = shared.roles.terminate(self.cx, open.service_id).await;
                ended.map_err(|error| error.message)
            }
        };
        if outcome.is_ok() {
            self.note(account, &what).await?;
        }
        self.report(Kind::SubscriptionOrphan, account.s3uid.as_str(), what, outcome);
        Ok(())
    }

    /// Sagas and events that do not go on.
    async fn rest(&mut self) -> Result<Option<Cursor>, Error> {
        let filter = Filter {
            kind: None,
            status: Some(stowage_saga::Status::Stuck),
            before: None,
            max: STUCK_MAX,
        };
        for saga in self.domain.sagas.list(&filter).await? {
            let what = format!("saga {} ({}) is stuck at {}", saga.id, saga.kind, saga.step);
            let why = format!("mend its cause, then `stowage admin saga retry {}`", saga.id);
            self.report(Kind::SagaStuck, "", what, Err(why));
        }
        let before = self.domain.shared.clock.now() - OVERDUE_AFTER;
        for (kind, count) in self.domain.sagas.count_abandoned(before).await? {
            let what = format!("{count} saga(s) of kind {kind} are open, and nobody drives them");
            let why = "this program does not know the kind, or has too many open".to_owned();
            self.report(Kind::SagaAbandoned, "", what, Err(why));
        }
        self.events(before).await?;
        Ok(None)
    }

    async fn events(&mut self, before: OffsetDateTime) -> Result<(), Error> {
        let db = &self.domain.shared.db;
        let (dead, overdue) =
            (stowage_bus::backlog(db).await?.dead, stowage_bus::overdue(db, before).await?);
        if dead > 0 {
            let what = format!("{dead} event(s) of accounts were given up on");
            let why = "their consumer refuses them: the log says why".to_owned();
            self.report(Kind::EventsDead, "", what, Err(why));
        }
        if overdue > 0 {
            let what = format!("{overdue} event(s) of accounts wait to be sent");
            let why = "the bus or a consumer is away; they go when it is back".to_owned();
            self.report(Kind::EventsOverdue, "", what, Err(why));
        }
        Ok(())
    }

    async fn is_unchanged(&self, account: &Account) -> Result<bool, Error> {
        let db = &self.domain.shared.db;
        let now = store::account::find(db, &account.s3uid, None).await?;
        let shape =
            |of: &Account| (of.state, of.plan, of.plan_version, of.change_saga, of.cancel_time);
        Ok(now.as_ref().map(shape) == Some(shape(account)))
    }

    /// Notes the scheduled end that billing keeps: a call that was cut off between the two.
    async fn copy_cancellation(
        &self,
        account: &Account,
        time: Option<OffsetDateTime>,
        what: &str,
    ) -> Result<Result<(), String>, Error> {
        if self.dry_run {
            return Ok(Err(DRY_RUN.to_owned()));
        }
        let shared = &self.domain.shared;
        let mut tx = shared.db.begin().await?;
        if store::account::set_cancel_time(&mut tx, &account.s3uid, time).await? {
            self.entry(account, what).write(&mut tx, shared.clock.now()).await?;
            tx.commit().await?;
        }
        Ok(Ok(()))
    }

    /// Makes every part be as the account says, one change at a time.
    async fn mend(&self, account: &Account, why: &str) -> Result<Result<(), String>, Error> {
        if self.dry_run {
            return Ok(Err(DRY_RUN.to_owned()));
        }
        account.allow(Act::Mend)?;
        let mut state = self.domain.state_of(self.cx, account, What::Mend).await?;
        state.reason = why.to_owned();
        let once = Once::<Account>::nobodys();
        let begun = self.domain.begin::<ChangeAccount, _>((&account.s3uid, &state), None, &once);
        let Some(saga) = begun.await? else {
            return Ok(Err("it changed meanwhile; the next round looks again".to_owned()));
        };
        Ok(match self.domain.wait_for(self.cx, saga).await? {
            Outcome::Completed => Ok(()),
            Outcome::Undone(failure) | Outcome::Stuck(failure) => {
                Err(format!("{} refused: {}", failure.step, failure.why))
            }
        })
    }

    /// What was mended of an account that is gone.
    async fn note(&self, account: &Account, what: &str) -> Result<(), Error> {
        let shared = &self.domain.shared;
        let mut tx = shared.db.begin().await?;
        self.entry(account, what).write(&mut tx, shared.clock.now()).await?;
        Ok(tx.commit().await?)
    }

    fn entry(&self, account: &Account, what: &str) -> Entry {
        Entry::new(Event::AccountMended, Cause::of(self.cx))
            .customer(account.customer)
            .account(&account.s3uid, account.plan)
            .new_state(serde_json::json!({ "reason": what }))
    }
}

const DRY_RUN: &str = "nothing is mended in a dry run";
