//! Takes facts in: each once, with its effect in the same transaction.
//!
//! An id that its source used before is a duplicate if the fact says the same, and else refused: a
//! collector that counts its ids anew, or stamps the time when it sends again, would otherwise be
//! counted twice. Whoever takes facts of a source holds it, so that two who bring the same id at
//! once do not both find it missing; and an id that is greater than all of its source is new
//! without being looked for. Events need no such lock: their inbox has one of its own, and
//! no collector may use their sources.

use std::collections::HashMap;

use stowage_auth::{PrincipalRole, RequestContext, Scope};
use stowage_bus::{Event, first_time};
use stowage_db::Tx;
use stowage_types::Malformed;
use time::OffsetDateTime;

use super::effect::Effect;
use super::fact::{Outcome, Refused};
use super::{Fact, Metering, Refusal};
use crate::error::Error;
use crate::store::fact::{New, span_of};
use crate::{CONSUMER, events, store};

/// Facts that were refused, by reason.
const FACTS_REFUSED: &str = "stowage_metering_facts_refused_total";
/// Facts that were taken, by kind.
const FACTS_TAKEN: &str = "stowage_metering_facts_taken_total";
/// Facts that were there before.
const FACTS_DUPLICATE: &str = "stowage_metering_facts_duplicate_total";
/// Refusals of one batch that are logged one by one.
const LOGGED_MAX: usize = 20;

/// A fact, or what is wrong with what was sent as one.
pub(crate) type Item = Result<Fact, Malformed>;

/// Facts of one source.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) source: String,
    pub(crate) items: Vec<Item>,
    /// Why it is a correction, if it is one.
    pub(crate) correction: Option<String>,
}

/// Of whom a batch is, and when it was told.
struct Told<'a> {
    source: &'a str,
    time: OffsetDateTime,
    is_correction: bool,
    /// The greatest id that the source has used before; `None`: not known.
    id_max: Option<String>,
}

impl Told<'_> {
    /// Whether an id may have been used before.
    fn may_know(&self, id: &str) -> bool {
        self.id_max.as_deref().is_none_or(|max| id <= max)
    }
}

impl Metering {
    /// Takes the facts of an event, once, in one transaction with the note that it was seen.
    pub(crate) async fn take(&self, event: &Event, items: &[Item]) -> Result<(), Error> {
        let (source, time) = (event.source.as_str(), event.time);
        let told = Told { source, time, is_correction: false, id_max: None };
        let mut tx = self.db.begin().await?;
        if !first_time(&mut tx, CONSUMER, event, &*self.clock).await? {
            return Ok(());
        }
        let outcomes = self.store(&mut tx, &told, items).await?;
        tx.commit().await?;
        count(&event.source, items, &outcomes);
        Ok(())
    }

    /// Takes facts that a collector brings, in one transaction, and says what became of each.
    pub(crate) async fn record(
        &self,
        cx: &RequestContext,
        batch: &Batch,
    ) -> Result<Vec<Outcome>, Error> {
        if cx.principal.scope() != Scope::Everything {
            return Err(Error::RoleNotAllowed { what: "record facts" });
        }
        let is_correction = batch.correction.is_some();
        if is_correction && cx.principal.role != PrincipalRole::Administrator {
            return Err(Error::RoleNotAllowed { what: "book corrections" });
        }
        let time = self.clock.now();
        let source = batch.source.as_str();
        let mut tx = self.db.begin().await?;
        let id_max = store::fact::hold_source(&mut tx, source, time).await?;
        let told = Told { source, time, is_correction, id_max };
        let outcomes = self.store(&mut tx, &told, &batch.items).await?;
        if let Some(reason) = &batch.correction {
            let stored = outcomes.iter().filter(|outcome| **outcome == Outcome::Stored).count();
            if stored > 0 {
                let facts = batch.items.iter().flatten();
                let message = events::usage_corrected(cx, (batch, reason), facts, stored);
                self.outbox.push(&mut tx, events::USAGE_CORRECTED, "usage", &message).await?;
            }
        }
        tx.commit().await?;
        count(&batch.source, &batch.items, &outcomes);
        Ok(outcomes)
    }

    /// Stores the facts that are new, with their effect.
    async fn store(
        &self,
        tx: &mut Tx,
        told: &Told<'_>,
        items: &[Item],
    ) -> Result<Vec<Outcome>, Error> {
        let ids = items.iter().flatten().map(|fact| fact.id.as_str());
        let ids: Vec<&str> = ids.filter(|id| told.may_know(id)).collect();
        let known = store::fact::known(tx, told.source, &ids).await?;
        let now = self.clock.now();
        let mut sifted = Sieve { now, told, known: &known, new: Vec::new(), seen: HashMap::new() };
        let outcomes: Vec<Outcome> = items.iter().map(|item| sifted.outcome(item)).collect();
        let new = sifted.new;
        let facts: Vec<&Fact> = new.iter().map(|new| new.fact).collect();
        // What they come to is worked out while the database takes them.
        let insert = store::fact::insert(tx, told.source, &new);
        let effect = async { Effect::of(told.time, &facts) };
        let (inserted, effect) = tokio::join!(biased; insert, effect);
        inserted?;
        let greatest = new.iter().map(|new| new.fact.id.as_str()).max();
        if let Some(id) = greatest.filter(|id| told.id_max.is_some() && !told.may_know(id)) {
            store::fact::set_id_max(tx, told.source, id);
        }
        effect.apply(tx).await?;
        let conflicts = conflicts(items, &outcomes);
        store::conflict::add(tx, told.source, &conflicts, now).await?;
        Ok(outcomes)
    }
}

/// Tells the new facts of a batch from the others.
struct Sieve<'a> {
    now: OffsetDateTime,
    told: &'a Told<'a>,
    known: &'a HashMap<String, Vec<u8>>,
    new: Vec<New<'a>>,
    /// Digests of those that are new, by their ids.
    seen: HashMap<&'a str, [u8; 16]>,
}

impl<'a> Sieve<'a> {
    fn outcome(&mut self, item: &'a Item) -> Outcome {
        let fact = match item {
            Ok(fact) => fact,
            Err(bad) => return Outcome::Refused(bad.clone().into()),
        };
        if let Err(bad) = fact.check() {
            return Outcome::Refused(bad.into());
        }
        let digest = fact.digest();
        let before = self.known.get(&fact.id).map(Vec::as_slice);
        let before = before.or_else(|| self.seen.get(fact.id.as_str()).map(<[u8; 16]>::as_slice));
        if let Some(before) = before {
            let is_same = before == digest;
            return if is_same {
                Outcome::Duplicate
            } else {
                Outcome::Refused(Refused::conflict())
            };
        }
        if let Some(refused) = fact.refusal(self.now, self.told.is_correction) {
            return Outcome::Refused(refused);
        }
        // What was booked late is kept as long as what is new: its repeat comes late, too.
        let kept = if self.told.is_correction { fact.time.max(self.now) } else { fact.time };
        self.seen.insert(&fact.id, digest);
        self.new.push(New { fact, digest, span: span_of(kept) });
        Outcome::Stored
    }
}

/// Facts whose id was used for another, each id once.
fn conflicts<'a>(items: &'a [Item], outcomes: &[Outcome]) -> Vec<&'a Fact> {
    let mut by_id: HashMap<&str, &Fact> = HashMap::new();
    for (item, outcome) in items.iter().zip(outcomes) {
        if let (Ok(fact), Outcome::Refused(refused)) = (item, outcome)
            && refused.refusal == Refusal::Conflict
        {
            by_id.insert(&fact.id, fact);
        }
    }
    let mut conflicts: Vec<&Fact> = by_id.into_values().collect();
    conflicts.sort_by(|a, b| a.id.cmp(&b.id));
    conflicts
}

/// Counts what was taken and what was not, after the commit: what comes again is counted once.
fn count(source: &str, items: &[Item], outcomes: &[Outcome]) {
    let mut logged = 0;
    for (item, outcome) in items.iter().zip(outcomes) {
        match (item, outcome) {
            (Ok(fact), Outcome::Stored) => {
                let kind = if fact.sample().is_some() { "sample" } else { "traffic" };
                metrics::counter!(FACTS_TAKEN, "kind" => kind).increment(1);
            }
            (_, Outcome::Refused(Refused { refusal, why })) => {
                let reason = refusal.label();
                metrics::counter!(FACTS_REFUSED, "reason" => reason).increment(1);
                logged += 1;
                if logged <= LOGGED_MAX {
                    let id = item.as_ref().map_or("", |fact| &fact.id);
                    let line = "a usage fact is refused";
                    tracing::warn!(fact.source = source, fact.id = id, reason, "{line}: {why}");
                }
            }
            (_, _) => metrics::counter!(FACTS_DUPLICATE).increment(1),
        }
    }
    if logged > LOGGED_MAX {
        tracing::warn!(fact.source = source, count = logged, "usage facts are refused");
    }
}

#[cfg(test)]
mod tests {
    use stowage_db::args;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Period, Step, WHOLE_ACCOUNT, What};
    use crate::store::account;
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
        let what = What::Stored { bytes: stored_bytes, objects: 1 };
        let fact =
            Fact { id: id.to_string(), s3uid: uid(1), bucket: bucket.to_owned(), time, what };
        let event = Event {
            id: Uuid::from_u128(id),
            source: "stowage/storage".to_owned(),
            kind: crate::USAGE_COLLECTED.to_owned(),
            subject: String::new(),
            time: store.now(),
            data: Vec::new(),
            trace: Default::default(),
        };
        store.metering.take(&event, &[Ok(fact)]).await.unwrap();
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
        store.clock.advance(std::time::Duration::from_secs(10 * 86_400));
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
