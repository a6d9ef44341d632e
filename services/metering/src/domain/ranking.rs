//! Rankings. Few accounts are read by one query of the database. More are ranked by boards that
//! are kept in memory, and only the rows that are answered are read.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use stowage_auth::RequestContext;
use stowage_types::{CustomerId, PlanId, S3uid};
use time::OffsetDateTime;

use super::board::{Line, Wanted, without};
use super::fact::AHEAD_MAX;
use super::meter::visible_to;
use super::roster::{Filter, key_of, s3uid_of};
use super::{Dimensions, Metering, Month, Period, Span, Step};
use crate::error::Error;
use crate::store;
use crate::store::ranking::Latest;

/// How often a page is made again without accounts that had changed meanwhile.
const TRIES_MORE: usize = 5;
/// Shorter periods have their months named, whether there is anything in them or not.
const MONTHS_LISTED: time::Duration = time::Duration::days(1_200);

/// What to rank by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RankField {
    #[default]
    Traffic,
    StoragePeak,
}

/// Order and filters. Those that are `None` match all.
#[derive(Debug, Clone, Default)]
pub(crate) struct RankBy {
    pub(crate) field: RankField,
    pub(crate) ascending: bool,
    pub(crate) s3uid: Option<S3uid>,
    pub(crate) account_id: Option<i64>,
    pub(crate) customer: Option<CustomerId>,
    /// Whatever its case.
    pub(crate) email: Option<String>,
    pub(crate) plan: Option<PlanId>,
    pub(crate) location: Option<String>,
    pub(crate) storage_type: Option<String>,
    pub(crate) billing: Option<String>,
    pub(crate) bucket: Option<String>,
}

/// A page of a ranking, as the store makes it.
#[derive(Debug, Clone)]
pub(crate) struct Ranking {
    pub(crate) by: RankBy,
    /// Whole days.
    pub(crate) days: Period,
    /// The customer whose meters alone are seen.
    pub(crate) visible_to: Option<CustomerId>,
    pub(crate) skip: i64,
    pub(crate) max: i64,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranked {
    pub(crate) dimensions: Dimensions,
    pub(crate) traffic_bytes: i64,
    pub(crate) stored_bytes_peak: i64,
    pub(crate) stored_bytes: i64,
    pub(crate) as_of: Option<OffsetDateTime>,
}

impl RankBy {
    /// Whether there is an index for one of the filters, so that those who match are soon counted.
    fn is_narrow(&self) -> bool {
        self.s3uid.is_some()
            || self.account_id.is_some()
            || self.customer.is_some()
            || self.email.is_some()
            || self.bucket.is_some()
    }
}

impl Metering {
    /// One page of the accounts the caller sees, and how many match in all.
    pub(crate) async fn rank(
        &self,
        cx: &RequestContext,
        by: RankBy,
        (from, to): (Option<OffsetDateTime>, Option<OffsetDateTime>),
        (skip, max): (i64, i64),
    ) -> Result<(Vec<Ranked>, i64), Error> {
        let now = self.clock.now();
        let days = Period::of(from, to, now)?.widened(Step::Day);
        let visible_to = visible_to(cx);
        let ranking = Ranking { by, days, visible_to, skip, max };
        let may_be_few = ranking.by.is_narrow() || visible_to.is_some() || self.has_few().await?;
        if may_be_few && let Some(answer) = self.rank_few(&ranking, now).await? {
            return Ok(answer);
        }
        self.rank_kept(&ranking, &cx.actor()).await
    }

    /// Whether so few meters are open that all are ranked at once.
    async fn has_few(&self) -> Result<bool, Error> {
        let open = match self.rankings.open_count() {
            Some(open) => i64::try_from(open).unwrap_or(i64::MAX),
            None => store::ranking::count_open(&self.db, self.ranked_at_once + 1).await?,
        };
        Ok(open <= self.ranked_at_once)
    }

    /// The answer of the database, if few accounts match.
    async fn rank_few(
        &self,
        ranking: &Ranking,
        now: OffsetDateTime,
    ) -> Result<Option<(Vec<Ranked>, i64)>, Error> {
        let known = match ranking.days.to - ranking.days.from < MONTHS_LISTED {
            true => Some((Month::of(ranking.days.from), Month::of(now + AHEAD_MAX))),
            false => store::month::known(&self.db).await?,
        };
        let span = Span::cut(ranking.days, known, now);
        let few = (None, self.ranked_at_once);
        let rows = store::ranking::list(&self.db, ranking, &span, few).await?;
        if !rows.is_empty() {
            return Ok(Some(page_of(rows, wanted(ranking))));
        }
        // None match, or too many.
        let count = store::ranking::count(&self.db, ranking, self.ranked_at_once + 1).await?;
        Ok((count <= self.ranked_at_once).then_some((rows, 0)))
    }

    /// The same from what is kept. What is answered is read again, so that no closed meter and none
    /// that matches no longer is among it, whoever changed it.
    async fn rank_kept(
        &self,
        ranking: &Ranking,
        caller: &str,
    ) -> Result<(Vec<Ranked>, i64), Error> {
        let span = self.rankings.span(ranking.days).await?;
        let filter = Filter::of(ranking);
        let board = self.rankings.board(&span, reader(ranking, &filter, caller), ranking.skip == 0);
        let board = board.await?;
        let mut places = board.roster.matching(&filter);
        if let Some(bucket) = &ranking.by.bucket {
            let named = store::ranking::with_bucket(&self.db, bucket).await?;
            places = board.roster.among(&places, named.into_iter().map(|(s3uid,)| s3uid)).into();
        }
        let mut changed = self.rankings.changed_since(&board);
        for _ in 0..=TRIES_MORE {
            let known = without(&board.roster, &places, &changed);
            let anew = self.anew(ranking, &span, &changed).await?;
            let (lines, total) = board.page(&known, anew, wanted(ranking));
            let (rows, gone) = self.fill(ranking, lines).await?;
            if gone.is_empty() {
                return Ok((rows, i64::try_from(total).unwrap_or(i64::MAX)));
            }
            for s3uid in gone {
                self.rankings.changed(&s3uid);
                changed.insert(key_of(s3uid.as_str()));
            }
        }
        Err(stowage_db::Error::Unavailable { why: "meters change too fast", source: None }.into())
    }

    /// Rows of accounts that have changed since the board was made, as they are now.
    async fn anew(
        &self,
        ranking: &Ranking,
        span: &Span,
        changed: &HashSet<u128>,
    ) -> Result<Vec<Ranked>, Error> {
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let among: Vec<S3uid> = changed.iter().filter_map(|key| s3uid_of(*key)).collect();
        let all = Wanted { skip: 0, max: usize::MAX, ..wanted(ranking) };
        let rows = store::ranking::list(&self.db, ranking, span, (Some(&among), i64::MAX)).await?;
        Ok(page_of(rows, all).0)
    }

    /// Rows of lines, with what is known now; and the accounts that are not to be answered.
    async fn fill(
        &self,
        ranking: &Ranking,
        lines: Vec<Line>,
    ) -> Result<(Vec<Ranked>, Vec<S3uid>), Error> {
        let kept = lines.iter().filter_map(|line| match line {
            Line::Kept { key, .. } => s3uid_of(*key),
            Line::Anew(_) => None,
        });
        let kept: Vec<S3uid> = kept.collect();
        let mut latest = store::ranking::latest(&self.db, ranking, &kept).await?;
        let gone = kept.iter().filter(|s3uid| !latest.contains_key(s3uid)).cloned().collect();
        let rows = lines.into_iter().filter_map(|line| match line {
            Line::Anew(row) => Some(row),
            Line::Kept { key, traffic_bytes, stored_bytes_peak } => {
                let Latest { dimensions, stored_bytes, as_of } = latest.remove(&s3uid_of(key)?)?;
                Some(Ranked { dimensions, traffic_bytes, stored_bytes_peak, stored_bytes, as_of })
            }
        });
        Ok((rows.collect(), gone))
    }
}

fn wanted(ranking: &Ranking) -> Wanted {
    let RankBy { field, ascending, .. } = ranking.by;
    let (skip, max) = (ranking.skip.try_into(), ranking.max.try_into());
    Wanted { field, ascending, skip: skip.unwrap_or(usize::MAX), max: max.unwrap_or(usize::MAX) }
}

/// One page of all that match, in order, and how many they are.
fn page_of(mut rows: Vec<Ranked>, wanted: Wanted) -> (Vec<Ranked>, i64) {
    let figure = |row: &Ranked| match wanted.field {
        RankField::Traffic => row.traffic_bytes,
        RankField::StoragePeak => row.stored_bytes_peak,
    };
    rows.sort_by(|a, b| {
        let (first, then) = if wanted.ascending { (a, b) } else { (b, a) };
        let tie = |row: &Ranked| (row.dimensions.account_id, key_of(row.dimensions.s3uid.as_str()));
        figure(first).cmp(&figure(then)).then_with(|| tie(a).cmp(&tie(b)))
    });
    let total = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    (rows.into_iter().skip(wanted.skip).take(wanted.max).collect(), total)
}

/// Who turns the pages of which ranking.
fn reader(ranking: &Ranking, filter: &Filter, caller: &str) -> u64 {
    let RankBy { field, ascending, bucket, .. } = &ranking.by;
    let mut hasher = DefaultHasher::new();
    (caller, filter, bucket, *field == RankField::Traffic, ascending).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
