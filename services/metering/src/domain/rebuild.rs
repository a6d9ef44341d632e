//! Rollups worked out anew from the facts that are kept.
//!
//! An account is done day by day, or as many days at once as its facts fit into memory: each part
//! is a transaction that holds the account, so that facts which come meanwhile wait or are seen.
//! Each part goes on from what the rows before it left; done in order, all are as the facts say.

use std::collections::BTreeMap;

use stowage_auth::{RequestContext, Scope};
use stowage_db::Tx;
use stowage_types::S3uid;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::fact::AHEAD_MAX;
use super::retention::SAMPLES_KEPT;
use super::sweep::{self, Key};
use super::{Fact, Flow, Metering, Month, Moved, Period, Sample, Step, WHOLE_ACCOUNT, Window};
use crate::error::Error;
use crate::store;
use crate::store::stored::Of;

/// Facts that are worked on at once, unless a day has more.
const FACTS_AT_ONCE: i64 = 50_000;
/// Facts that are read at once.
const PAGE: i64 = 5_000;
/// How long a call goes on with further accounts.
const WORK_MAX: std::time::Duration = std::time::Duration::from_secs(10);
/// Differences that a call tells.
const TOLD_MAX: usize = 1000;

/// What is to be worked out anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rebuild {
    /// None: all.
    pub(crate) s3uids: Vec<S3uid>,
    pub(crate) verify_only: bool,
    /// Where a call before ended.
    pub(crate) place: Option<Place>,
    pub(crate) max: usize,
}

/// How far a call has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) s3uid: S3uid,
    /// The account is done until this day; `None`: it is done.
    pub(crate) until: Option<OffsetDateTime>,
}

/// A figure that was not what the facts come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) s3uid: S3uid,
    pub(crate) bucket: String,
    pub(crate) step: Step,
    pub(crate) start: OffsetDateTime,
    pub(crate) field: &'static str,
    pub(crate) stored: String,
    pub(crate) computed: String,
}

/// What was done.
#[derive(Debug, Clone)]
pub(crate) struct Rebuilt {
    pub(crate) accounts: usize,
    pub(crate) facts: i64,
    pub(crate) difference_count: i64,
    /// The first of them.
    pub(crate) differences: Vec<Difference>,
    /// Where to go on; `None`: all are done.
    pub(crate) next: Option<Place>,
    pub(crate) from: OffsetDateTime,
}

impl Rebuilt {
    fn differs(&mut self, difference: Difference) {
        self.difference_count += 1;
        if self.differences.len() < TOLD_MAX {
            self.differences.push(difference);
        }
    }
}

impl Metering {
    /// Works out rollups anew, or compares them only.
    pub(crate) async fn rebuild(
        &self,
        cx: &RequestContext,
        rebuild: &Rebuild,
    ) -> Result<Rebuilt, Error> {
        if cx.principal.scope() != Scope::Everything {
            return Err(Error::RoleNotAllowed { what: "rebuild rollups" });
        }
        let from = self.first_day().await?;
        let (accounts, is_all) = self.accounts_of(rebuild).await?;
        let (facts, difference_count, differences) = (0, 0, Vec::new());
        let mut done =
            Rebuilt { accounts: 0, facts, difference_count, differences, next: None, from };
        let until = Instant::now() + WORK_MAX;
        let begun = rebuild.place.clone().filter(|place| place.until.is_some());
        let mut last = None;
        for s3uid in &accounts {
            let begun = begun.as_ref().filter(|place| place.s3uid == *s3uid);
            let work = Work { s3uid, verify_only: rebuild.verify_only, until };
            let from = begun.and_then(|place| place.until).unwrap_or(from);
            let reached = self.rebuild_account(&work, from, &mut done).await?;
            last = Some(Place { s3uid: s3uid.clone(), until: reached });
            if reached.is_some() {
                break;
            }
            done.accounts += 1;
            if Instant::now() > until {
                break;
            }
        }
        if !is_all || done.accounts < accounts.len() {
            done.next = last;
        }
        if !rebuild.verify_only {
            let (actor, accounts, count) = (cx.actor(), done.accounts, done.difference_count);
            tracing::info!(actor, accounts, count, "an operator had rollups worked out anew");
        }
        Ok(done)
    }

    /// The first day all of whose facts are kept.
    async fn first_day(&self) -> Result<OffsetDateTime, Error> {
        let mut tx = self.db.begin().await?;
        let start = store::fact::start(&mut tx, OffsetDateTime::UNIX_EPOCH).await?;
        Ok(start.max(Step::Day.end_of(self.kept_since())))
    }

    /// The accounts of a call, and whether there are none behind them.
    async fn accounts_of(&self, rebuild: &Rebuild) -> Result<(Vec<S3uid>, bool), Error> {
        // An account that is begun is gone on with.
        let place = rebuild.place.as_ref();
        let begun = place.filter(|place| place.until.is_some()).map(|place| place.s3uid.clone());
        let after = place.map_or("", |place| place.s3uid.as_str());
        let behind = match rebuild.s3uids.is_empty() {
            true => {
                let max = i64::try_from(rebuild.max + 1).unwrap_or(i64::MAX);
                store::account::page(&self.db, after, max).await?
            }
            false => {
                let behind = |uid: &&S3uid| uid.as_str() > after;
                let mut named: Vec<_> = rebuild.s3uids.iter().filter(behind).cloned().collect();
                named.sort();
                named.dedup();
                named
            }
        };
        let mut accounts: Vec<S3uid> = begun.into_iter().chain(behind).collect();
        let is_all = accounts.len() <= rebuild.max;
        accounts.truncate(rebuild.max);
        Ok((accounts, is_all))
    }

    /// Does an account; the day that it has come to, where the time was too short for all.
    async fn rebuild_account(
        &self,
        work: &Work<'_>,
        from: OffsetDateTime,
        done: &mut Rebuilt,
    ) -> Result<Option<OffsetDateTime>, Error> {
        let end = Step::Day.end_of(self.clock.now() + AHEAD_MAX);
        let samples_from = self.clock.now() - SAMPLES_KEPT;
        let mut start = from;
        while start < end {
            let mut tx = self.db.begin().await?;
            if !store::account::lock(&mut tx, work.s3uid).await? {
                return Ok(None);
            }
            let part = part_of(&mut tx, work.s3uid, Period { from: start, to: end }).await?;
            let mut anew = Anew::read(&mut tx, work.s3uid, part).await?;
            done.facts += anew.facts;
            let is_changed = anew.compare(&mut tx, samples_from, done).await?;
            // Months of days that are wrong are worked out anew whatever they say.
            let has_drifted =
                !is_changed && compare_months(&mut tx, work.s3uid, part, done).await?;
            if (is_changed || has_drifted) && !work.verify_only {
                anew.put(&mut tx, samples_from).await?;
                for month in Month::all_of(part) {
                    store::month::work_out(&mut tx, work.s3uid, month).await?;
                }
                tx.commit().await?;
            }
            start = part.to;
            if start < end && Instant::now() > work.until {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }
}

/// What is done with an account, and until when.
struct Work<'a> {
    s3uid: &'a S3uid,
    verify_only: bool,
    until: Instant,
}

/// Notes months that are not what their days, as they are now, come to; `false`: all are.
async fn compare_months(
    tx: &mut Tx,
    s3uid: &S3uid,
    part: Period,
    done: &mut Rebuilt,
) -> Result<bool, Error> {
    let before = done.difference_count;
    for month in Month::all_of(part) {
        let both = store::month::both(tx, s3uid, month).await?;
        for (field, (stored, computed)) in
            ["month_traffic_bytes", "month_peak_bytes"].iter().zip(both)
        {
            if stored != computed {
                let (bucket, start) = (WHOLE_ACCOUNT.to_owned(), month.start());
                let (stored, computed) = (stored.to_string(), computed.to_string());
                let (s3uid, step) = (s3uid.clone(), Step::Day);
                done.differs(Difference { s3uid, bucket, step, start, field, stored, computed });
            }
        }
    }
    Ok(done.difference_count > before)
}

/// As many whole days of a period, from its beginning, as have few enough facts; at least one.
async fn part_of(tx: &mut Tx, s3uid: &S3uid, period: Period) -> Result<Period, Error> {
    let mut days = (period.to - period.from).whole_days().max(1);
    loop {
        let to = period.from + time::Duration::days(days);
        let part = Period { from: period.from, to };
        let count = store::fact::count(tx, s3uid, part, FACTS_AT_ONCE + 1).await?;
        if count <= FACTS_AT_ONCE || days == 1 {
            return Ok(part);
        }
        days = (days / 2).max(1);
    }
}

/// What the facts of a part come to, and what of it is to be changed.
struct Anew<'a> {
    s3uid: &'a S3uid,
    part: Period,
    facts: i64,
    moved: BTreeMap<Key, Moved>,
    samples: BTreeMap<(OffsetDateTime, String), Sample>,
    windows: BTreeMap<Key, Window>,
    surplus_moved: Vec<Key>,
    surplus_windows: Vec<Key>,
}

impl<'a> Anew<'a> {
    async fn read(tx: &mut Tx, s3uid: &'a S3uid, part: Period) -> Result<Self, Error> {
        let (moved, samples, windows) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (surplus_moved, surplus_windows) = (Vec::new(), Vec::new());
        let mut anew =
            Self { s3uid, part, facts: 0, moved, samples, windows, surplus_moved, surplus_windows };
        let mut after = None;
        let mut is_more = true;
        while is_more {
            let (facts, last) = store::fact::page(&mut *tx, s3uid, part, after, PAGE).await?;
            is_more = i64::try_from(facts.len()).is_ok_and(|count| count == PAGE);
            facts.into_iter().for_each(|fact| anew.add(fact));
            after = last;
        }
        let samples: Vec<Sample> = anew.samples.values().cloned().collect();
        anew.windows = sweep::anew(tx, s3uid, part.from, &samples).await?;
        Ok(anew)
    }

    fn add(&mut self, fact: Fact) {
        self.facts += 1;
        if let Some(traffic) = fact.traffic() {
            let of_bucket = (fact.bucket != WHOLE_ACCOUNT).then_some(fact.bucket.as_str());
            for bucket in of_bucket.into_iter().chain([WHOLE_ACCOUNT]) {
                for step in Step::ALL {
                    let key = (bucket.to_owned(), step, step.start_of(fact.time));
                    let sum = self.moved.entry(key).or_default();
                    *sum = sum.plus(traffic.moved);
                }
            }
        }
        if let Some(sample) = fact.sample() {
            let key = (sample.time, sample.bucket.clone());
            match self.samples.get(&key) {
                Some(kept) if !sample.outranks(kept) => {}
                _ => {
                    self.samples.insert(key, sample);
                }
            }
        }
    }

    /// Notes what differs, and keeps only what does; `false`: nothing.
    async fn compare(
        &mut self,
        tx: &mut Tx,
        samples_from: OffsetDateTime,
        done: &mut Rebuilt,
    ) -> Result<bool, Error> {
        let before = done.difference_count;
        self.compare_moved(tx, done).await?;
        self.compare_windows(tx, done).await?;
        self.compare_samples(tx, samples_from, done).await?;
        Ok(done.difference_count > before)
    }

    fn difference(&self, key: &Key, field: &'static str, texts: (String, String)) -> Difference {
        let (bucket, step, start) = key.clone();
        let (stored, computed) = texts;
        Difference { s3uid: self.s3uid.clone(), bucket, step, start, field, stored, computed }
    }

    async fn compare_moved(&mut self, tx: &mut Tx, done: &mut Rebuilt) -> Result<(), Error> {
        let stored = store::traffic::all(tx, self.s3uid, self.part).await?;
        let stored: BTreeMap<Key, Moved> = stored.into_iter().collect();
        let mut computed = std::mem::take(&mut self.moved);
        for key in stored.keys() {
            // Where facts take each other back, a row of zeros is as good as none.
            computed.entry(key.clone()).or_default();
        }
        for (key, moved) in computed {
            let there = stored.get(&key).copied().unwrap_or_default();
            for flow in Flow::ALL.into_iter().filter(|flow| moved.of(*flow) != there.of(*flow)) {
                let texts = (there.of(flow).to_string(), moved.of(flow).to_string());
                done.differs(self.difference(&key, flow.name(), texts));
            }
            if moved != there {
                match moved == Moved::default() {
                    true => self.surplus_moved.push(key),
                    false => {
                        self.moved.insert(key, moved);
                    }
                }
            }
        }
        Ok(())
    }

    async fn compare_windows(&mut self, tx: &mut Tx, done: &mut Rebuilt) -> Result<(), Error> {
        let stored = store::stored::all(tx, self.s3uid, self.part).await?;
        let key =
            |(bucket, window): (String, Window)| ((bucket, window.step, window.start), window);
        let mut stored: BTreeMap<Key, Window> = stored.into_iter().map(key).collect();
        let computed = std::mem::take(&mut self.windows);
        for (key, window) in computed {
            let there = stored.remove(&key);
            if there.as_ref() == Some(&window) {
                continue;
            }
            for (field, of) in FIGURES {
                let text = there.as_ref().map_or(String::new(), of);
                if text != of(&window) {
                    done.differs(self.difference(&key, field, (text, of(&window))));
                }
            }
            self.windows.insert(key, window);
        }
        for (key, window) in stored {
            let text = format!("{} bytes", window.last_bytes);
            done.differs(self.difference(&key, "row", (text, String::new())));
            self.surplus_windows.push(key);
        }
        Ok(())
    }

    /// Samples are not told of, but late ones are taken by them.
    async fn compare_samples(
        &mut self,
        tx: &mut Tx,
        from: OffsetDateTime,
        done: &mut Rebuilt,
    ) -> Result<(), Error> {
        let kept = store::sample::list(tx, self.s3uid, self.part.from, Some(self.part.to)).await?;
        for sample in kept {
            let key = (sample.time, sample.bucket.clone());
            if self.samples.get(&key) == Some(&sample) {
                self.samples.remove(&key);
            }
        }
        self.samples.retain(|(time, _), _| *time >= from);
        let differing: Vec<Key> = self
            .samples
            .values()
            .map(|sample| (sample.bucket.clone(), Step::Hour, Step::Hour.start_of(sample.time)))
            .collect();
        for key in differing {
            let texts = (String::new(), "kept".to_owned());
            done.differs(self.difference(&key, "sample", texts));
        }
        Ok(())
    }

    /// Makes rows be as the facts say.
    async fn put(&self, tx: &mut Tx, samples_from: OffsetDateTime) -> Result<(), Error> {
        let s3uid = self.s3uid;
        for (bucket, step, start) in &self.surplus_moved {
            store::traffic::remove(tx, Of { s3uid, bucket, step: *step }, *start).await?;
        }
        for (bucket, step, start) in &self.surplus_windows {
            store::stored::remove(tx, Of { s3uid, bucket, step: *step }, *start).await?;
        }
        let moved = self.moved.iter().map(|((bucket, step, start), moved)| {
            ((s3uid, bucket.as_str(), *step, *start), *moved)
        });
        store::traffic::put(tx, moved).await?;
        let windows = self.windows.iter().map(|((bucket, ..), window)| (bucket.as_str(), window));
        store::stored::put(tx, s3uid, windows).await?;
        let samples = self.samples.values().filter(|sample| sample.time >= samples_from);
        store::sample::put(tx, s3uid, samples).await?;
        Ok(())
    }
}

type Figure = (&'static str, fn(&Window) -> String);

/// What is compared of a window.
const FIGURES: [Figure; 5] = [
    ("peak_before_bytes", |window| window.peak_before_bytes.to_string()),
    ("last_bytes", |window| window.last_bytes.to_string()),
    ("last_time", |window| window.last_time.to_string()),
    ("peak_bytes", |window| window.peak_bytes().to_string()),
    ("byte_micros", |window| window.byte_micros.to_string()),
];
