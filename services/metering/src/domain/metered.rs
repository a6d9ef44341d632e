//! What is metered of many accounts, for whoever holds it against what engines say.

use std::collections::BTreeMap;

use stowage_auth::{RequestContext, Scope};
use stowage_types::Violations;
use time::OffsetDateTime;

use super::{AccountWindow, Metering, Moved};
use crate::error::Error;
use crate::store;

/// Hours of one answer, where they are told one by one.
const HOURS_MAX: i64 = 40_000;

/// What is metered of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MeteredHour {
    pub(crate) moved: Moved,
    pub(crate) sampled_buckets: i64,
    pub(crate) sampled_bytes: i64,
}

/// What is metered of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MeteredUsage {
    pub(crate) moved: Moved,
    /// By their starts.
    pub(crate) hours: BTreeMap<OffsetDateTime, MeteredHour>,
    pub(crate) stored_bytes: i64,
    pub(crate) sample_time: Option<OffsetDateTime>,
    pub(crate) as_of: Option<OffsetDateTime>,
}

impl Metering {
    /// What is metered in each window, taken back to whole hours at both ends; by the hour on
    /// demand.
    pub(crate) async fn metered(
        &self,
        cx: &RequestContext,
        windows: &[AccountWindow],
        with_hours: bool,
    ) -> Result<Vec<MeteredUsage>, Error> {
        if cx.principal.scope() != Scope::Everything {
            return Err(Error::RoleNotAllowed { what: "compare figures for one customer" });
        }
        let windows = self.whole_hours(windows)?;
        let hours: i64 =
            windows.iter().map(|of| (of.period.to - of.period.from).whole_hours()).sum();
        if with_hours && hours > HOURS_MAX {
            let why = format!("have {hours} hours, and at most {HOURS_MAX} are told one by one");
            return Err(Violations::of("windows", why).into());
        }
        let mut moved = store::metered::moved(&self.db, &windows, with_hours).await?;
        let mut sampled = match with_hours {
            true => store::metered::sampled(&self.db, &windows).await?,
            false => BTreeMap::new(),
        };
        let latest = store::metered::latest(&self.db, &windows).await?;
        let usage = |(place, window): (usize, &AccountWindow)| {
            let hours = moved.remove(&place).unwrap_or_default();
            let latest = latest.get(window.s3uid.as_str());
            MeteredUsage {
                moved: hours.iter().fold(Moved::default(), |sum, (_, moved)| sum.plus(*moved)),
                hours: match with_hours {
                    true => by_hour(hours, sampled.remove(&place).unwrap_or_default()),
                    false => BTreeMap::new(),
                },
                stored_bytes: latest.map_or(0, |row| row.stored_bytes),
                sample_time: latest.and_then(|row| row.newest_sample_time),
                as_of: latest.map(|row| row.as_of_time),
            }
        };
        Ok(windows.iter().enumerate().map(usage).collect())
    }
}

/// What moved and what was sampled, hour by hour.
fn by_hour(
    moved: Vec<(OffsetDateTime, Moved)>,
    sampled: Vec<(OffsetDateTime, (i64, i64))>,
) -> BTreeMap<OffsetDateTime, MeteredHour> {
    let mut hours: BTreeMap<OffsetDateTime, MeteredHour> = BTreeMap::new();
    for (hour, moved) in moved {
        hours.entry(hour).or_default().moved = moved;
    }
    for (hour, (sampled_buckets, sampled_bytes)) in sampled {
        let of = hours.entry(hour).or_default();
        (of.sampled_buckets, of.sampled_bytes) = (sampled_buckets, sampled_bytes);
    }
    hours
}
