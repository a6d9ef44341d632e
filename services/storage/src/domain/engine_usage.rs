//! What engines and fronts have reported of accounts, for whoever holds it against what metering
//! has: it goes by the totals, which no event has to carry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use stowage_auth::RequestContext;
use stowage_types::{S3uid, hour_of, name};
use time::OffsetDateTime;

use super::engine_account::{Account, State};
use super::usage::{BATCHES_MAX, KEPT_DAYS, Totals};
use super::{Site, Storage, check_operator, signed};
use crate::error::Error;
use crate::store;

/// Accounts that engines are asked for at once.
const ASKED_AT_ONCE: usize = 8;
/// Hours of one answer, where they are told one by one.
const HOURS_MAX: i64 = 40_000;

/// An account, and from when to when, in whole hours.
#[derive(Debug, Clone)]
pub(crate) struct EngineWindow {
    pub(crate) uid: S3uid,
    pub(crate) from: OffsetDateTime,
    pub(crate) to: OffsetDateTime,
}

/// What is asked of engines.
#[derive(Debug, Clone, Default)]
pub(crate) struct EngineQuestion {
    pub(crate) windows: Vec<EngineWindow>,
    pub(crate) with_hours: bool,
    pub(crate) with_stored: bool,
    pub(crate) collect_first: bool,
}

/// What an engine says it stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EngineStored {
    pub(crate) stored_bytes: i64,
    pub(crate) time: OffsetDateTime,
    pub(crate) is_told_late: bool,
}

/// What was reported of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EngineHour {
    pub(crate) moved: Totals,
    pub(crate) sampled_buckets: i64,
    pub(crate) sampled_bytes: i64,
}

/// What was reported of an account.
#[derive(Debug, Clone, Default)]
pub(crate) struct EngineUsage {
    pub(crate) moved: Totals,
    /// By their starts.
    pub(crate) hours: BTreeMap<OffsetDateTime, EngineHour>,
    /// `None`: nobody counts where it is.
    pub(crate) counted_from: Option<OffsetDateTime>,
    pub(crate) report_time: Option<OffsetDateTime>,
    /// Or why it is not known.
    pub(crate) stored: Option<Result<EngineStored, &'static str>>,
    pub(crate) is_waiting: bool,
    /// `None`: no sample was sent yet.
    pub(crate) sampled_from: Option<OffsetDateTime>,
}

/// What is known of all accounts of a question.
struct Known {
    accounts: BTreeMap<String, Account>,
    /// By account: from where it was last moved, and when.
    moves: BTreeMap<String, (String, OffsetDateTime)>,
    /// By location: when its engine was last read.
    reads: BTreeMap<String, OffsetDateTime>,
    /// By location: when a front of it last wrote.
    fronts: BTreeMap<String, OffsetDateTime>,
    waiting: BTreeSet<String>,
}

impl Storage {
    /// What was reported of each window.
    pub(crate) async fn engine_usage(
        &self,
        cx: &RequestContext,
        question: &EngineQuestion,
    ) -> Result<Vec<EngineUsage>, Error> {
        check_operator(cx, "compare figures for one customer")?;
        let windows = &question.windows;
        let hours: i64 = windows.iter().map(|window| (window.to - window.from).whole_hours()).sum();
        if question.with_hours && hours > HOURS_MAX {
            let why = format!("have {hours} hours, and at most {HOURS_MAX} are told one by one");
            return Err(Error::field("windows", why));
        }
        let uids: BTreeSet<&S3uid> = windows.iter().map(|window| &window.uid).collect();
        let uids: Vec<&S3uid> = uids.into_iter().collect();
        let accounts = store::account::list_of(&self.db, &uids).await?;
        let behind = match question.collect_first {
            true => self.collect_where(&accounts).await,
            false => BTreeSet::new(),
        };
        // What waits is looked at first: what is told on meanwhile is in the totals as well.
        let subjects: Vec<String> = uids.iter().map(|uid| name::account(uid)).collect();
        let known = Known {
            waiting: stowage_bus::waiting_of(&self.db, &subjects).await?,
            moves: store::engine_usage::last_moves(&self.db, &uids).await?,
            reads: store::engine_usage::reads(&self.db).await?,
            fronts: store::engine_usage::fronts(&self.db).await?,
            accounts,
        };
        let mut hours = match question.with_hours {
            true => store::engine_usage::hours(&self.db, windows).await?,
            false => store::engine_usage::sums(&self.db, windows).await?,
        };
        let mut sampled = match question.with_hours {
            true => store::sample_sent::hours(&self.db, windows).await?,
            false => BTreeMap::new(),
        };
        // What was sent in the hour in which samples began to be noted is not known in full.
        let first = store::sample_sent::first_hour(&self.db).await?;
        let sampled_from = first.map(|hour| hour + time::Duration::HOUR);
        let mut stored = match question.with_stored {
            true => self.stored_now(&uids, &known, &behind).await,
            false => BTreeMap::new(),
        };
        let usage = |(place, window): (usize, &EngineWindow)| {
            let hours = hours.remove(&place).unwrap_or_default();
            let moved = hours.iter().fold(Totals::default(), |sum, (_, moved)| sum.plus(*moved));
            let uid = window.uid.as_str();
            EngineUsage {
                moved,
                counted_from: self.counted_from(uid, &known, !hours.is_empty()),
                report_time: known.report_time(uid),
                stored: stored.remove(uid),
                is_waiting: known.waiting.contains(&name::account(&window.uid)),
                sampled_from,
                hours: match question.with_hours {
                    true => by_hour(hours, sampled.remove(&place).unwrap_or_default()),
                    false => BTreeMap::new(),
                },
            }
        };
        Ok(windows.iter().enumerate().map(usage).collect())
    }

    /// Collects what waits where these accounts are; codes of the locations where that failed.
    async fn collect_where(&self, accounts: &BTreeMap<String, Account>) -> BTreeSet<String> {
        let codes: BTreeSet<&str> =
            accounts.values().filter_map(|account| account.location.as_deref()).collect();
        let mut behind = BTreeSet::new();
        for code in codes {
            let collected = async {
                let site = self.site(code).await?;
                for _ in 0..BATCHES_MAX {
                    if !self.collect(&site).await? {
                        break;
                    }
                }
                Ok::<_, Error>(())
            };
            if let Err(error) = collected.await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, location = code, "what waits there could not be collected");
                behind.insert(code.to_owned());
            }
        }
        behind
    }

    /// From when on what moved is known in full.
    fn counted_from(&self, uid: &str, known: &Known, has_moved: bool) -> Option<OffsetDateTime> {
        let kept = end_of_hour(self.clock.now() - time::Duration::days(KEPT_DAYS));
        let account = known.accounts.get(uid);
        let is_counted = |code: &str| {
            let by_engine = self.sites.get(code).map(|site| site.engine.capabilities().traffic);
            known.fronts.contains_key(code) || by_engine.unwrap_or(has_moved)
        };
        let code = account.and_then(|account| account.location.as_deref());
        if !code.map_or(has_moved, is_counted) {
            return None;
        }
        let moved = known.moves.get(uid).filter(|(from, _)| !is_counted(from));
        Some(moved.map_or(kept, |(_, time)| end_of_hour(*time).max(kept)))
    }

    /// What engines say at this moment, of several accounts at a time.
    async fn stored_now(
        &self,
        uids: &[&S3uid],
        known: &Known,
        behind: &BTreeSet<String>,
    ) -> BTreeMap<String, Result<EngineStored, &'static str>> {
        let asked = uids.iter().map(|uid| async move {
            let account = known.accounts.get(uid.as_str());
            (uid.to_string(), self.stored_of(uid, account, behind).await)
        });
        let asked: Vec<_> = asked.collect();
        futures_util::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await
    }

    async fn stored_of(
        &self,
        uid: &S3uid,
        account: Option<&Account>,
        behind: &BTreeSet<String>,
    ) -> Result<EngineStored, &'static str> {
        let account = account.filter(|account| account.state == State::Active);
        let account = account.ok_or("the account is not in use")?;
        let code = account.location.as_deref().unwrap_or_default();
        if behind.contains(code) {
            return Err("what waits at its engine could not be collected");
        }
        let site: Arc<Site> =
            self.site(code).await.map_err(|_| "the location is not driven at present")?;
        let time = self.clock.now();
        match site.engine.account_usage(uid).await {
            Ok(usage) => {
                let can = site.engine.capabilities();
                let is_told_late = !can.changes_at_once || !can.immediate_figures;
                Ok(EngineStored { stored_bytes: signed(usage.stored_bytes), time, is_told_late })
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, account = %uid, "the engine does not say what is stored");
                Err("the engine does not say")
            }
        }
    }
}

impl Known {
    fn report_time(&self, uid: &str) -> Option<OffsetDateTime> {
        let code = self.accounts.get(uid)?.location.as_deref()?;
        self.reads.get(code).max(self.fronts.get(code)).copied()
    }
}

/// What moved and what was sampled, hour by hour.
fn by_hour(
    moved: Vec<(OffsetDateTime, Totals)>,
    sampled: Vec<(OffsetDateTime, (i64, i64))>,
) -> BTreeMap<OffsetDateTime, EngineHour> {
    let mut hours: BTreeMap<OffsetDateTime, EngineHour> = BTreeMap::new();
    for (hour, moved) in moved {
        hours.entry(hour).or_default().moved = moved;
    }
    for (hour, (sampled_buckets, sampled_bytes)) in sampled {
        let of = hours.entry(hour).or_default();
        (of.sampled_buckets, of.sampled_bytes) = (sampled_buckets, sampled_bytes);
    }
    hours
}

/// The first full hour that starts then or later.
fn end_of_hour(time: OffsetDateTime) -> OffsetDateTime {
    let start = hour_of(time);
    if start == time { time } else { start + time::Duration::HOUR }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_next_full_hour_is_this_one_at_its_start() {
        let hour = datetime!(2026-11-23 15:00 UTC);
        let within = datetime!(2026-11-23 15:00:00.000001 UTC);
        assert_eq!(end_of_hour(hour), hour);
        assert_eq!(end_of_hour(within), hour + time::Duration::HOUR);
    }
}
