//! Rounds of comparing engines, meter and bills, and the alarm.

use stowage_auth::RequestContext;
use stowage_types::S3uid;
use time::{Duration, OffsetDateTime};

use super::Domain;
use super::drift::{Drift, DriftListing};
use super::drift_rule::Row;
use crate::error::Error;
use crate::store::drift::Noted;
use crate::{events, store};

/// Accounts that are compared at once.
const PAGE: i64 = 100;
/// Accounts of a round that are logged one by one.
const LOGGED_MAX: usize = 100;
/// How often a drift is told that stays as it is.
const TOLD_EVERY: Duration = Duration::DAY;

impl Domain {
    /// A whole round, for the timer: compares all accounts, and tells of those that drift; answers
    /// how many do.
    pub(crate) async fn drift_round(&self) -> Result<usize, Error> {
        let cx = RequestContext::background("drift");
        let round_time = self.shared.clock.now();
        let (mut drifting, mut listing) = (0, DriftListing::default());
        loop {
            let page = self.list_drift(&cx, &listing, PAGE).await?;
            for drift in page.drifts.iter().filter(|drift| drift.is_drifting()) {
                drifting += 1;
                if drifting <= LOGGED_MAX {
                    log(drift);
                }
            }
            self.note_drifts(&page.drifts, round_time).await?;
            match page.next {
                Some(after) => listing.after = after,
                None => break,
            }
        }
        if drifting > LOGGED_MAX {
            tracing::error!(count = drifting, "accounts drift; only the first are logged");
        }
        let mut tx = self.shared.db.begin().await?;
        store::drift::forget(&mut tx, round_time).await?;
        tx.commit().await?;
        Ok(drifting)
    }

    /// Notes what was found, and tells what is new, has changed, or was last told a day ago.
    async fn note_drifts(&self, drifts: &[Drift], round_time: OffsetDateTime) -> Result<(), Error> {
        let found: Vec<&Drift> =
            drifts.iter().filter(|of| of.is_drifting() || of.suspected.is_some()).collect();
        if found.is_empty() {
            return Ok(());
        }
        let uids: Vec<S3uid> = found.iter().map(|of| of.account.s3uid.clone()).collect();
        let mut tx = self.shared.db.begin().await?;
        let noted = store::drift::list(&mut tx, &uids).await?;
        for drift in found {
            let before = noted.get(drift.account.s3uid.as_str()).cloned().unwrap_or_default();
            let (now, is_told) = note(drift, before, round_time);
            if is_told {
                events::push_drift_found(&self.shared.outbox, &mut tx, drift).await?;
            }
            store::drift::put(&mut tx, &drift.account.s3uid, &now, round_time).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// What is to be noted of an account, and whether it is told.
fn note(drift: &Drift, before: Noted, now: OffsetDateTime) -> (Noted, bool) {
    let figure = |row: &Row| format!("{} {}", row.measure.text(), row.difference());
    let drifting = drift.rows.iter().filter(|row| row.is_drifting);
    let figures = drifting.map(figure).collect::<Vec<_>>().join(", ");
    let is_due = before.told_time.is_none_or(|told| told <= now - TOLD_EVERY);
    let is_told = !figures.is_empty() && (is_due || before.figures != figures);
    let suspected = drift.suspected.map(|bytes| match before.suspected {
        Some((same, since)) if same == bytes => (bytes, since),
        _ => (bytes, now),
    });
    let told_time = if is_told { Some(now) } else { before.told_time };
    (Noted { figures, told_time, suspected }, is_told)
}

fn log(drift: &Drift) {
    for row in drift.rows.iter().filter(|row| row.is_drifting) {
        tracing::error!(
            account = drift.account.s3uid.as_str(),
            measure = row.measure.text(),
            engine = row.engine.map(|figure| figure.value),
            meter = row.meter.value,
            billed = row.billed.map(|figure| figure.value),
            difference = row.difference(),
            hours = row.hour_count,
            "engine, meter and bill of an account do not agree"
        );
    }
}
