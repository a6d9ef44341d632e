//! What is metered of many accounts, for whoever holds it against what engines say.

use stowage_auth::{RequestContext, Scope};
use stowage_types::Violations;
use time::OffsetDateTime;

use super::{AccountWindow, Metering, Moved};
use crate::error::Error;
use crate::store;

/// Hours of one answer, where they are told one by one.
const HOURS_MAX: i64 = 40_000;

/// What is metered of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MeteredUsage {
    pub(crate) moved: Moved,
    /// Oldest first.
    pub(crate) hours: Vec<(OffsetDateTime, Moved)>,
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
        let latest = store::metered::latest(&self.db, &windows).await?;
        let usage = |(place, window): (usize, &AccountWindow)| {
            let hours = moved.remove(&place).unwrap_or_default();
            let latest = latest.get(window.s3uid.as_str());
            MeteredUsage {
                moved: hours.iter().fold(Moved::default(), |sum, (_, moved)| sum.plus(*moved)),
                hours: if with_hours { hours } else { Vec::new() },
                stored_bytes: latest.map_or(0, |row| row.stored_bytes),
                sample_time: latest.and_then(|row| row.newest_sample_time),
                as_of: latest.map(|row| row.as_of_time),
            }
        };
        Ok(windows.iter().enumerate().map(usage).collect())
    }
}
