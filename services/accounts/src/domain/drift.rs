//! Drift: engine, meter and bill of accounts, side by side. It looks, and mends nothing.

use std::collections::BTreeMap;

use stowage_auth::RequestContext;
use stowage_types::{S3uid, hour_of};
use time::{Duration, OffsetDateTime};

use super::account::Account;
use super::drift_rule::{Circumstances, Row, Threshold, compare, judge};
use super::drift_side::{Billed, Engine, EngineStored, Look, Period, Span};
use super::{Domain, check_operator};
use crate::error::Error;
use crate::roles::Ask;
use crate::store;

/// How far back a window may begin: storage keeps reports for 60 days.
const BACK_MAX: Duration = Duration::days(59);
/// The window, where none is asked for.
const WINDOW: Duration = Duration::days(7);
/// How long an engine that tells changes late must say the same.
const BELIEVED_AFTER: Duration = Duration::HOUR;

/// Which accounts are compared.
#[derive(Debug, Clone, Default)]
pub(crate) struct DriftListing {
    /// None: all that are neither deleted nor failed.
    pub(crate) s3uids: Vec<S3uid>,
    pub(crate) from: Option<OffsetDateTime>,
    pub(crate) to: Option<OffsetDateTime>,
    /// The account behind which a page begins.
    pub(crate) after: i64,
}

/// An account, compared.
#[derive(Debug, Clone)]
pub(crate) struct Drift {
    pub(crate) account: Account,
    pub(crate) rows: Vec<Row>,
    /// What its engine stores, which tells changes late and is not believed yet or any more.
    pub(crate) suspected: Option<i64>,
}

impl Drift {
    pub(crate) fn is_drifting(&self) -> bool {
        self.rows.iter().any(|row| row.is_drifting)
    }
}

/// A page of accounts.
pub(crate) struct DriftPage {
    pub(crate) drifts: Vec<Drift>,
    pub(crate) look_time: OffsetDateTime,
    /// The last account that was looked at, if there may be more behind it.
    pub(crate) next: Option<i64>,
}

impl Domain {
    /// Compares a page of accounts.
    pub(crate) async fn list_drift(
        &self,
        cx: &RequestContext,
        listing: &DriftListing,
        size: i64,
    ) -> Result<DriftPage, Error> {
        check_operator(cx, "compare figures for one customer")?;
        let span = self.drift_span(listing)?;
        let db = &self.shared.db;
        let accounts = match listing.s3uids.is_empty() {
            true => store::account::list(db, None, listing.after, size).await?,
            false => {
                let rows = (listing.after, size);
                store::account::list_of(db, None, &listing.s3uids, rows).await?
            }
        };
        let is_full = i64::try_from(accounts.len()).is_ok_and(|count| count >= size);
        let next = accounts.last().map(|account| account.account_id).filter(|_| is_full);
        let look_time = self.shared.clock.now();
        let drifts = self.compare(cx, accounts, span).await?;
        Ok(DriftPage { drifts, look_time, next })
    }

    /// The window that is compared, in whole hours that have ended.
    fn drift_span(&self, listing: &DriftListing) -> Result<Span, Error> {
        let now = self.shared.clock.now();
        let to = listing.to.map_or_else(|| hour_of(now - self.config.drift_settle()), hour_of);
        let from = listing.from.map_or(to - WINDOW, hour_of);
        if to > now {
            return Err(Error::field("to_time", "is not past yet"));
        }
        if from >= to {
            return Err(Error::field("to_time", "is not after from_time, in whole hours"));
        }
        if from < now - BACK_MAX {
            return Err(Error::field("from_time", "is more than 59 days ago"));
        }
        Ok(Span { from, to })
    }

    fn threshold(&self) -> Threshold {
        let config = &self.config;
        Threshold {
            ppm: config.drift_ppm,
            floor_bytes: config.drift_floor_bytes,
            floor_requests: config.drift_floor_requests,
        }
    }

    /// Looks at accounts, and once more at those that seem to drift.
    async fn compare(
        &self,
        cx: &RequestContext,
        accounts: Vec<Account>,
        span: Span,
    ) -> Result<Vec<Drift>, Error> {
        let threshold = self.threshold();
        let uids: Vec<S3uid> = accounts.iter().map(|account| account.s3uid.clone()).collect();
        let looks = self.look(cx, &uids, (span, false)).await?;
        let first: BTreeMap<S3uid, Look> = uids.into_iter().zip(looks).collect();
        let (mut drifts, mut suspects) = (Vec::with_capacity(accounts.len()), Vec::new());
        for account in accounts {
            let look = first.get(&account.s3uid);
            let rows = look.map_or_else(Vec::new, |look| compare(look, span, &threshold));
            if rows.iter().any(|row| row.is_drifting) {
                suspects.push(account.s3uid.clone());
            }
            drifts.push(Drift { account, rows, suspected: None });
        }
        if suspects.is_empty() {
            return Ok(drifts);
        }
        let looks = self.look(cx, &suspects, (span, true)).await?;
        let after = self.stored_after(cx, &suspects, span).await?;
        let believed = self.believed(&suspects).await?;
        let second: BTreeMap<S3uid, _> =
            suspects.into_iter().zip(looks.into_iter().zip(after)).collect();
        for drift in &mut drifts {
            let uid = &drift.account.s3uid;
            let (Some(first), Some((second, after))) = (first.get(uid), second.get(uid)) else {
                continue;
            };
            let is_moving = drift.account.move_id.is_some();
            let believed = believed.get(uid.as_str()).copied();
            let circumstances = Circumstances { is_moving, believed };
            drift.suspected = told_late(second);
            drift.rows = judge((first, second), after, (span, &threshold), circumstances);
        }
        Ok(drifts)
    }

    /// Looks at accounts once. The second time, what waits at engines is collected first, and has
    /// some time to arrive.
    async fn look(
        &self,
        cx: &RequestContext,
        uids: &[S3uid],
        (span, is_second): (Span, bool),
    ) -> Result<Vec<Look>, Error> {
        let roles = &self.shared.roles;
        let windows: Vec<(S3uid, Span)> = uids.iter().map(|uid| (uid.clone(), span)).collect();
        let ask = Ask { with_hours: true, with_stored: true, collect_first: is_second };
        let engines = roles.engine_usage(cx, &windows, ask).await?;
        if is_second {
            tokio::time::sleep(self.config.drift.arrival).await;
        }
        let meters = roles.metered_usage(cx, &windows).await?;
        let mut periods = self.periods(cx, uids).await?;
        let look = |((uid, engine), meter): ((&S3uid, Engine), _)| {
            let period = periods.remove(uid.as_str());
            Look { engine, meter, period }
        };
        Ok(uids.iter().zip(engines).zip(meters).map(look).collect())
    }

    /// The last closed periods of accounts, as all three have them.
    async fn periods(
        &self,
        cx: &RequestContext,
        uids: &[S3uid],
    ) -> Result<BTreeMap<String, Period>, Error> {
        let roles = &self.shared.roles;
        let billed = roles.billed_usage(cx, uids).await?;
        let of = |uid: &S3uid| -> Option<(S3uid, Span, Billed)> {
            let billed = billed.get(uid.as_str())?.clone();
            Some((uid.clone(), billed.span()?, billed))
        };
        let rated: Vec<(S3uid, Span, Billed)> = uids.iter().filter_map(of).collect();
        let parts: Vec<(S3uid, Span)> = rated
            .iter()
            .flat_map(|(uid, _, billed)| billed.parts.iter().map(|part| (uid.clone(), part.span)))
            .collect();
        let mut parts = roles.metered_parts(cx, &parts).await?.into_iter();
        let windows: Vec<(S3uid, Span)> =
            rated.iter().map(|(uid, span, _)| (uid.clone(), *span)).collect();
        let ask = Ask { with_hours: false, with_stored: false, collect_first: false };
        let engines = roles.engine_usage(cx, &windows, ask).await?;
        let period = |((uid, span, billed), engine): ((S3uid, Span, Billed), Engine)| {
            let meter = parts.by_ref().take(billed.parts.len()).collect();
            (uid.to_string(), Period { span, billed, meter, engine: Some(engine) })
        };
        Ok(rated.into_iter().zip(engines).map(period).collect())
    }

    /// What engines store once all else was asked for.
    async fn stored_after(
        &self,
        cx: &RequestContext,
        uids: &[S3uid],
        span: Span,
    ) -> Result<Vec<Result<EngineStored, String>>, Error> {
        // Of no time: only what is stored is wanted.
        let none = Span { from: span.to, to: span.to };
        let windows: Vec<(S3uid, Span)> = uids.iter().map(|uid| (uid.clone(), none)).collect();
        let ask = Ask { with_hours: false, with_stored: true, collect_first: false };
        let engines = self.shared.roles.engine_usage(cx, &windows, ask).await?;
        Ok(engines.into_iter().map(|engine| engine.stored).collect())
    }

    /// What engines that tell changes late have said for long enough, by s3uid.
    async fn believed(&self, uids: &[S3uid]) -> Result<BTreeMap<String, i64>, Error> {
        let before = self.shared.clock.now() - BELIEVED_AFTER;
        let noted = store::drift::list(&self.shared.db, uids).await?;
        let believed = noted.into_iter().filter_map(|(uid, noted)| {
            let (bytes, since) = noted.suspected?;
            (since <= before).then_some((uid, bytes))
        });
        Ok(believed.collect())
    }
}

/// What an engine that tells changes late stores, where the meter has something else.
fn told_late(look: &Look) -> Option<i64> {
    let stored = look.engine.stored.as_ref().ok().filter(|stored| stored.is_told_late)?;
    (stored.bytes != look.meter.stored_bytes).then_some(stored.bytes)
}
