//! Takes facts in.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_bus::{Event, first_time};
use stowage_db::Tx;
use stowage_types::S3uid;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::facts::LATE_MAX;
use super::{Facts, Metering, Moved, Sample, Step, Traffic, WHOLE_ACCOUNT, sweep};
use crate::CONSUMER;
use crate::error::Error;
use crate::store;
use crate::store::account;

/// Facts that were refused, by reason.
const FACTS_REFUSED: &str = "stowage_metering_facts_refused_total";
/// Facts that were taken, by kind.
const FACTS_TAKEN: &str = "stowage_metering_facts_taken_total";

/// Samples are kept for longer than they are taken late, since a late one has its whole day made
/// anew.
const SAMPLES_KEPT: time::Duration = time::Duration::days(LATE_MAX.whole_days() + 2);
/// Samples forgotten per transaction, so that the writer is never held for long.
const FORGET_ROWS: i64 = 1000;
/// Time between two rounds of forgetting.
const FORGET_EVERY: Duration = Duration::from_secs(600);

impl Metering {
    /// Takes the facts of an event, once, in one transaction with the note that it was seen.
    pub(crate) async fn take(&self, event: &Event, facts: Facts) -> Result<(), Error> {
        let mut facts = facts.within_window(self.clock.now());
        facts.samples.sort_by(|a, b| (a.time, &a.bucket).cmp(&(b.time, &b.bucket)));
        let mut tx = self.db.begin().await?;
        if !first_time(&mut tx, CONSUMER, event, &*self.clock).await? {
            return Ok(());
        }
        if !facts.is_empty() {
            record(&mut tx, event.time, &facts).await?;
        }
        tx.commit().await?;
        count(event, &facts);
        Ok(())
    }

    /// The task that forgets samples which no late one needs any more.
    pub(crate) fn forget_samples(&self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let metering = self.clone();
        Box::pin(async move {
            let rounds = async {
                loop {
                    if let Err(error) = metering.forget_old_samples().await {
                        tracing::warn!(?error, "old samples were not forgotten, next round will");
                    }
                    tokio::time::sleep(FORGET_EVERY).await;
                }
            };
            let _: Option<()> = stop.run_until_cancelled(rounds).await;
        })
    }

    /// Forgets them all, in small transactions; returns how many.
    pub(crate) async fn forget_old_samples(&self) -> Result<u64, Error> {
        let before = self.clock.now() - SAMPLES_KEPT;
        let mut forgotten = 0;
        loop {
            let mut tx = self.db.begin().await?;
            let rows = store::sample::forget(&mut tx, before, FORGET_ROWS).await?;
            tx.commit().await?;
            forgotten += rows;
            if rows < FORGET_ROWS.unsigned_abs() {
                return Ok(forgotten);
            }
        }
    }
}

async fn record(tx: &mut Tx, event_time: OffsetDateTime, facts: &Facts) -> Result<(), Error> {
    let s3uid = &facts.s3uid;
    let Some(newest) = facts.newest(event_time) else { return Ok(()) };
    let before = account::lock(tx, s3uid, newest).await?;
    record_traffic(tx, s3uid, event_time, &facts.traffic).await?;
    let newest_sample = before.newest_sample_time;
    let stored_bytes = record_samples(tx, s3uid, newest_sample, &facts.samples).await?;
    let row = account::Row {
        stored_bytes: stored_bytes.unwrap_or(before.stored_bytes),
        newest_sample_time: newest_sample.max(facts.samples.last().map(|sample| sample.time)),
        as_of_time: before.as_of_time.max(newest),
    };
    account::put(tx, s3uid, &row).await?;
    Ok(())
}

/// Keeps the samples that say something new, oldest first, and follows up. Returns what the
/// account stores now, if any did.
async fn record_samples(
    tx: &mut Tx,
    s3uid: &S3uid,
    newest: Option<OffsetDateTime>,
    samples: &[Sample],
) -> Result<Option<i64>, Error> {
    let mut changed = Vec::new();
    let mut in_order = true;
    for sample in samples {
        if !store::sample::insert(tx, s3uid, sample).await? {
            let twin = store::sample::find_twin(tx, s3uid, sample).await?;
            if !sample.outranks(&twin) {
                continue;
            }
            store::sample::replace(tx, s3uid, sample).await?;
            in_order = false;
        }
        in_order &= newest.is_none_or(|newest| sample.time >= newest);
        changed.push(sample.clone());
    }
    if changed.is_empty() {
        return Ok(None);
    }
    sweep::apply(tx, s3uid, &changed, in_order).await?;
    let newest: BTreeMap<&str, &Sample> =
        changed.iter().map(|sample| (sample.bucket.as_str(), sample)).collect();
    store::bucket::advance(tx, s3uid, newest.into_values()).await?;
    Ok(Some(store::bucket::total_bytes(tx, s3uid).await?))
}

async fn record_traffic(
    tx: &mut Tx,
    s3uid: &S3uid,
    event_time: OffsetDateTime,
    traffic: &[Traffic],
) -> Result<(), Error> {
    let mut windows: BTreeMap<(&str, Step, OffsetDateTime), Moved> = BTreeMap::new();
    let mut buckets: BTreeMap<&str, OffsetDateTime> = BTreeMap::new();
    for fact in traffic {
        let mut scopes = vec![WHOLE_ACCOUNT];
        if fact.bucket != WHOLE_ACCOUNT {
            scopes.push(&fact.bucket);
            let as_of = fact.as_of(event_time);
            let newest = buckets.entry(&fact.bucket).or_insert(as_of);
            *newest = as_of.max(*newest);
        }
        for bucket in scopes {
            for step in Step::ALL {
                let moved = windows.entry((bucket, step, step.start_of(fact.time))).or_default();
                *moved = moved.plus(fact.moved);
            }
        }
    }
    store::traffic::add(tx, s3uid, windows.into_iter()).await?;
    store::bucket::touch(tx, s3uid, buckets.into_iter()).await?;
    Ok(())
}

/// Counts what was taken and what was not, after the commit: an event that comes again is counted
/// once.
fn count(event: &Event, facts: &Facts) {
    let taken = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    metrics::counter!(FACTS_TAKEN, "kind" => "sample").increment(taken(facts.samples.len()));
    metrics::counter!(FACTS_TAKEN, "kind" => "traffic").increment(taken(facts.traffic.len()));
    for (refusal, why) in &facts.refused {
        let reason = refusal.label();
        metrics::counter!(FACTS_REFUSED, "reason" => reason).increment(1);
        tracing::warn!(
            event.id = %event.id,
            account.s3uid = %facts.s3uid,
            reason,
            "a usage fact is refused: it {why}"
        );
    }
}

#[cfg(test)]
mod tests {
    use stowage_db::args;
    use uuid::Uuid;

    use super::*;
    use crate::domain::Period;
    use crate::store::stored::Of;
    use crate::store::tests::{Store, uid};

    async fn take(store: &Store, id: u128, days_ago: i64, stored_bytes: i64) {
        let time = store.now() - time::Duration::days(days_ago);
        take_of(store, id, ("photos", time), stored_bytes).await;
    }

    async fn take_of(
        store: &Store,
        id: u128,
        (bucket, time): (&str, OffsetDateTime),
        stored_bytes: i64,
    ) {
        let mut facts = Facts::of(uid(1));
        let bucket = bucket.to_owned();
        let is_deleted = false;
        facts.samples.push(Sample { bucket, time, stored_bytes, object_count: 1, is_deleted });
        let event = Event {
            id: Uuid::from_u128(id),
            source: "stowage/storage".to_owned(),
            kind: crate::USAGE_COLLECTED.to_owned(),
            subject: String::new(),
            time: store.now(),
            data: Vec::new(),
        };
        store.metering.take(&event, facts).await.unwrap();
    }

    #[tokio::test]
    async fn events_of_one_account_that_come_at_once_all_count() {
        const EVENTS: u8 = 12;
        let store = std::sync::Arc::new(Store::start().await);
        let takes = (1..=EVENTS).map(|n| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                let time = store.now() - time::Duration::minutes(n.into());
                take_of(&store, n.into(), (&format!("bucket-{n}"), time), 10).await;
                // Twice, as a bus may deliver it.
                take_of(&store, n.into(), (&format!("bucket-{n}"), time), 10).await;
            })
        });
        for take in takes.collect::<Vec<_>>() {
            take.await.unwrap();
        }
        let found = account::find(&store.db, &uid(1)).await.unwrap().unwrap();
        assert_eq!(found.stored_bytes, i64::from(EVENTS) * 10);
        let newest = store.now() - time::Duration::minutes(1);
        assert_eq!(found.newest_sample_time, Some(newest));
        let of = Of { s3uid: &uid(1), bucket: WHOLE_ACCOUNT, step: Step::Day };
        let day = Period { from: store.now(), to: store.now() }.widened(Step::Day);
        let windows = store::stored::list(&store.db, of, day, 10).await.unwrap();
        assert_eq!(windows.last().map(|window| window.last_bytes), Some(120));
    }

    #[tokio::test]
    async fn old_samples_are_forgotten_and_the_figures_stay() {
        let store = Store::start().await;
        take(&store, 1, 30, 100).await;
        take(&store, 2, 3, 7).await;
        let start = store.now() - time::Duration::days(30);
        store.clock.advance(Duration::from_secs(10 * 86_400));
        assert_eq!(store.metering.forget_old_samples().await.unwrap(), 1);
        assert_eq!(store.metering.forget_old_samples().await.unwrap(), 0);
        let samples = "SELECT count(*) FROM sample";
        let (kept,): (i64,) = store.db.fetch_one(samples, args![]).await.unwrap();
        assert_eq!(kept, 1);
        // One that comes as late as may be goes on from what the forgotten one left.
        take(&store, 3, 35, 40).await;
        let of = Of { s3uid: &uid(1), bucket: WHOLE_ACCOUNT, step: Step::Day };
        let period = Period { from: start, to: store.now() }.widened(Step::Day);
        let windows = store::stored::list(&store.db, of, period, 10).await.unwrap();
        let figures: Vec<_> = windows.iter().map(|w| (w.peak_bytes(), w.last_bytes)).collect();
        assert_eq!(figures, [(100, 100), (100, 40), (40, 7)]);
    }
}
