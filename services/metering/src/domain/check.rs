//! Holds what accounts use against their limits: alerts, and caps.
//!
//! Facts mark their accounts; a task looks at the marked ones, many at once, and takes the mark off
//! in the transaction that writes what follows. So nothing is missed, whoever is killed, and taking
//! facts costs no more for it. An account that has come to a cap of traffic is looked at again when
//! its period ends, which no fact tells.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_db::lease::Turns;
use stowage_db::{Query, Tx};
use stowage_types::{S3uid, Span, name};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::alert::{Alert, Threshold};
use super::fact::AHEAD_MAX;
use super::limits::{Capped, LimitKind, Limits};
use super::summary::stretches;
use super::{Metering, Period, Step};
use crate::error::Error;
use crate::{events, store};

/// Accounts that are looked at in one transaction.
const BATCH: i64 = 500;
/// How long facts wait until they are held against limits, at most.
const EVERY: Duration = Duration::from_secs(5);
/// How long a replica that vanished holds up another.
const LEASE: Duration = Duration::from_secs(20);

/// What an account uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Used {
    pub(crate) stored_bytes: i64,
    /// Both ways, in the billing period.
    pub(crate) moved_bytes: i64,
}

impl Used {
    pub(crate) fn of(self, kind: LimitKind) -> i64 {
        if kind.is_of_traffic() { self.moved_bytes } else { self.stored_bytes }
    }
}

/// An account that is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Unchecked {
    pub(crate) s3uid: S3uid,
    pub(crate) stored_bytes: i64,
}

impl Metering {
    /// The task that looks at accounts as facts of them come, in one replica at a time, named by
    /// `owner`, until `stop`.
    pub(crate) fn check_on(&self, owner: Uuid, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let metering = self.clone();
        Box::pin(async move {
            let rounds = || async {
                loop {
                    let told = metering.unchecked.notified();
                    if let Err(error) = metering.check_limits().await {
                        tracing::warn!(%error, "accounts were not held against their limits");
                    }
                    let _: Result<(), _> = tokio::time::timeout(EVERY, told).await;
                }
            };
            let turns = Turns::new("limits", owner, LEASE, metering.db.clone());
            turns.run_until(stop.cancelled(), || metering.clock.now(), rounds).await;
        })
    }

    /// Looks at all accounts that are to be looked at.
    pub(crate) async fn check_limits(&self) -> Result<(), Error> {
        self.uncheck_ended().await?;
        loop {
            let mut tx = self.db.begin().await?;
            let accounts = store::account::unchecked(&mut tx, BATCH).await?;
            if accounts.is_empty() {
                return Ok(());
            }
            self.check(&mut tx, &accounts).await?;
            tx.commit().await?;
        }
    }

    /// Marks accounts whose cap has ended with its period.
    async fn uncheck_ended(&self) -> Result<(), Error> {
        let ended = store::limits::list_cap_ended(&self.db, self.clock.now(), BATCH).await?;
        if ended.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        for s3uid in &ended {
            store::account::set_unchecked(&mut tx, s3uid).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Looks at accounts, which are held.
    async fn check(&self, tx: &mut Tx, accounts: &[Unchecked]) -> Result<(), Error> {
        let now = self.clock.now();
        let uids: Vec<&S3uid> = accounts.iter().map(|account| &account.s3uid).collect();
        let known = store::limits::list(&mut *tx, &uids).await?;
        let limits: Vec<&Limits> = known.iter().map(|(limits, _)| limits).collect();
        let moved = moved(&mut *tx, &limits, now).await?;
        let raised = store::alert::raised(tx, &uids, now).await?;
        let stored: HashMap<&S3uid, i64> =
            accounts.iter().map(|account| (&account.s3uid, account.stored_bytes)).collect();
        let mut alerts = Vec::new();
        for (place, (limits, capped)) in known.iter().enumerate() {
            let stored_bytes = stored.get(&limits.s3uid).copied().unwrap_or(0);
            let moved_bytes = moved.get(&place).copied().unwrap_or(0);
            let used = Used { stored_bytes, moved_bytes };
            alerts.extend(alerts_of(limits, used, (&self.alert_percents, &raised), now));
            self.check_cap(tx, (limits, capped), used, now).await?;
        }
        self.raise(tx, &alerts).await?;
        let is_limited = |limits: &&&Limits| limits.held().next().is_some();
        let limited: Vec<&S3uid> =
            limits.iter().filter(is_limited).map(|limits| &limits.s3uid).collect();
        store::account::set_checked(tx, (&uids, &limited)).await?;
        Ok(())
    }

    /// Caps an account that has come to a cap, and lets it go that is below.
    async fn check_cap(
        &self,
        tx: &mut Tx,
        (limits, capped): (&Limits, &Capped),
        used: Used,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let is_reached =
            |(kind, bytes): &(LimitKind, i64)| kind.is_cap() && used.of(*kind) >= *bytes;
        let reached = limits.held().find(is_reached);
        let cap = reached.map(|(kind, _)| kind);
        if cap == capped.cap {
            return Ok(());
        }
        let sequence = capped.sequence + 1;
        let time = cap.map(|_| now);
        let period = limits.period_at(now);
        let end = period.filter(|_| cap == Some(LimitKind::TrafficCap)).map(|span| span.end);
        let capped = Capped { cap, time, sequence };
        store::limits::set_cap(tx, &limits.s3uid, (capped, end)).await?;
        let message = events::cap_changed(limits, (sequence, reached), used, period);
        let subject = name::account(&limits.s3uid);
        self.outbox.push(tx, events::CAP_CHANGED, &subject, &message).await?;
        Ok(())
    }

    async fn raise(&self, tx: &mut Tx, alerts: &[Alert]) -> Result<(), Error> {
        store::alert::insert(tx, alerts).await?;
        for alert in alerts {
            let subject = name::account(&alert.s3uid);
            let message = events::alert_raised(alert);
            self.outbox.push(tx, events::ALERT_RAISED, &subject, &message).await?;
        }
        Ok(())
    }
}

/// Alerts that are due and were not raised before, smallest share first.
fn alerts_of(
    limits: &Limits,
    used: Used,
    (percents, raised): (&[u32], &HashSet<Threshold>),
    now: OffsetDateTime,
) -> Vec<Alert> {
    let Some(period) = limits.period_at(now) else { return Vec::new() };
    let mut alerts = Vec::new();
    for (kind, limit_bytes) in limits.held() {
        let used_bytes = used.of(kind);
        let is_reached = |percent: &&u32| {
            i128::from(used_bytes) * 100 >= i128::from(limit_bytes) * i128::from(**percent)
        };
        for percent in percents.iter().filter(is_reached) {
            let alert = Alert {
                s3uid: limits.s3uid.clone(),
                customer: limits.customer,
                kind,
                percent: *percent,
                limit_bytes,
                used_bytes,
                period,
                time: now,
            };
            if !raised.contains(&alert.threshold()) {
                alerts.push(alert);
            }
        }
    }
    alerts
}

/// Bytes that accounts have moved in their billing periods, both ways, by their places in `of`.
pub(super) async fn moved(
    from: impl Query,
    of: &[&Limits],
    now: OffsetDateTime,
) -> Result<BTreeMap<usize, i64>, Error> {
    let has_traffic = |limits: &&Limits| limits.held().any(|(kind, _)| kind.is_of_traffic());
    let windows: Vec<_> = of
        .iter()
        .map(|limits| {
            let period = limits.period_at(now).filter(|_| has_traffic(limits));
            (&limits.s3uid, period.map(|span| stretches(hours_of(span, now))).unwrap_or_default())
        })
        .collect();
    let moved = store::summary::moved(from, &windows).await?;
    let both = |(place, (received, sent)): (usize, (i64, i64))| (place, received + sent);
    Ok(moved.into_iter().map(both).collect())
}

/// The hours of a billing period until now, as they are billed: its first one is whole.
fn hours_of(span: Span, now: OffsetDateTime) -> Period {
    let to = Step::Hour.end_of((now + AHEAD_MAX).min(span.end));
    Period { from: Step::Hour.start_of(span.start), to: to.min(Step::Hour.start_of(span.end)) }
}

#[cfg(test)]
mod tests {
    use stowage_auth::RequestContext;
    use stowage_bus::Event;
    use stowage_db::args;
    use stowage_proto::metering as pb;
    use stowage_types::CustomerId;

    use super::*;
    use crate::domain::{Fact, Flow, WantedAlerts, What};
    use crate::store::tests::{Store, uid};

    const NOBODY: CustomerId = CustomerId(3);

    /// Limits of a period that began five days ago.
    fn limits(store: &Store, sequence: i64, edit: impl Fn(&mut Limits)) -> Limits {
        let mut limits = Limits {
            s3uid: uid(1),
            customer: NOBODY,
            sequence,
            quota_bytes: 0,
            included_storage_bytes: 0,
            included_traffic_bytes: 0,
            storage_cap_bytes: 0,
            traffic_cap_bytes: 0,
            anchor_time: Some(store.now() - time::Duration::days(5)),
            period_months: 1,
        };
        edit(&mut limits);
        limits
    }

    fn event(store: &Store, id: u128) -> Event {
        Event {
            id: Uuid::from_u128(id),
            source: "tests".to_owned(),
            kind: String::new(),
            subject: String::new(),
            time: store.now(),
            data: Vec::new(),
            trace: Default::default(),
        }
    }

    async fn tell(store: &Store, sequence: i64, edit: impl Fn(&mut Limits)) {
        let told = limits(store, sequence, edit);
        let event = event(store, u128::from(sequence.unsigned_abs()) << 64);
        store.metering.take_limits(&event, &told).await.unwrap();
    }

    /// A fact of now, and a look at the limits. The next one is of a second later.
    async fn fact(store: &Store, id: u128, what: What) {
        store.clock.advance(Duration::from_secs(1));
        let (s3uid, bucket, time) = (uid(1), "photos".to_owned(), store.now());
        let fact = Fact { id: id.to_string(), s3uid, bucket, time, what };
        store.metering.take(&event(store, id), &[Ok(fact)]).await.unwrap();
        store.metering.check_limits().await.unwrap();
    }

    async fn sent<T: prost::Message + Default>(store: &Store, kind: &str) -> Vec<T> {
        let sql = "SELECT data FROM outbox WHERE type = $1 ORDER BY position";
        let rows: Vec<(Vec<u8>,)> = store.db.fetch_all(sql, args![kind]).await.unwrap();
        rows.into_iter().map(|(data,)| T::decode(data.as_slice()).unwrap()).collect()
    }

    async fn alerts(store: &Store) -> Vec<(pb::LimitKind, i32, i64)> {
        let sent: Vec<pb::AlertRaised> = sent(store, events::ALERT_RAISED).await;
        sent.iter().map(|alert| (alert.kind(), alert.percent, alert.used_bytes)).collect()
    }

    async fn caps(store: &Store) -> Vec<(pb::LimitKind, i64, i64)> {
        let sent: Vec<pb::CapChanged> = sent(store, events::CAP_CHANGED).await;
        sent.iter().map(|change| (change.cap(), change.sequence, change.used_bytes)).collect()
    }

    fn sends(bytes: i64) -> What {
        What::Moved(Flow::SentBytes, bytes)
    }

    fn stores(bytes: i64) -> What {
        What::Stored { bytes, objects: 1 }
    }

    #[tokio::test]
    async fn each_share_is_raised_once_in_a_period_however_often_it_is_passed() {
        use pb::LimitKind::{IncludedTraffic, Quota};
        let store = Store::start().await;
        tell(&store, 1, |l| (l.quota_bytes, l.included_traffic_bytes) = (1000, 100)).await;
        fact(&store, 1, stores(749)).await;
        assert_eq!(alerts(&store).await, []);
        fact(&store, 2, stores(750)).await;
        fact(&store, 3, sends(95)).await;
        let first = [(Quota, 75, 750), (IncludedTraffic, 75, 95), (IncludedTraffic, 90, 95)];
        assert_eq!(alerts(&store).await, first);
        // Down and up again, and more of it.
        fact(&store, 4, stores(10)).await;
        fact(&store, 5, stores(760)).await;
        fact(&store, 6, sends(4)).await;
        assert_eq!(alerts(&store).await, first);
        fact(&store, 7, sends(1)).await;
        assert_eq!(alerts(&store).await[3..], [(IncludedTraffic, 100, 100)]);
        // What was moved counts for its period, what is stored stays.
        store.clock.advance(Duration::from_secs(31 * 86_400));
        fact(&store, 8, sends(80)).await;
        let second = [(Quota, 75, 760), (IncludedTraffic, 75, 80)];
        assert_eq!(alerts(&store).await[4..], second);

        let listed = |customer: i64| {
            let mut cx = RequestContext::background("test");
            cx.principal.acted_for = Some(CustomerId(customer));
            let wanted = WantedAlerts { max: 4, ..Default::default() };
            let metering = store.metering.clone();
            async move { metering.list_alerts(&cx, wanted).await.unwrap() }
        };
        let newest: Vec<_> =
            listed(3).await.into_iter().map(|(_, alert)| alert.used_bytes).collect();
        assert_eq!(newest, [80, 760, 100, 95]);
        assert!(listed(4).await.is_empty());
        store.clock.advance(Duration::from_secs(401 * 86_400));
        assert_eq!(store.metering.forget_old_alerts().await.unwrap(), 6);
    }

    #[tokio::test]
    async fn what_comes_before_its_limits_is_held_against_them() {
        let store = Store::start().await;
        fact(&store, 1, stores(80)).await;
        tell(&store, 1, |l| l.included_storage_bytes = 100).await;
        store.metering.check_limits().await.unwrap();
        assert_eq!(alerts(&store).await, [(pb::LimitKind::IncludedStorage, 75, 80)]);
    }

    #[tokio::test]
    async fn a_cap_of_storage_holds_until_less_is_stored() {
        use pb::LimitKind::{StorageCap, Unspecified};
        let store = Store::start().await;
        tell(&store, 1, |l| l.storage_cap_bytes = 100).await;
        fact(&store, 1, stores(99)).await;
        fact(&store, 2, stores(100)).await;
        fact(&store, 3, stores(120)).await;
        assert_eq!(caps(&store).await, [(StorageCap, 1, 100)]);
        fact(&store, 4, stores(99)).await;
        fact(&store, 5, stores(100)).await;
        let all = [(StorageCap, 1, 100), (Unspecified, 2, 0), (StorageCap, 3, 100)];
        assert_eq!(caps(&store).await, all);
    }

    #[tokio::test]
    async fn a_cap_of_traffic_ends_with_its_period_without_any_fact() {
        use pb::LimitKind::{TrafficCap, Unspecified};
        let store = Store::start().await;
        tell(&store, 1, |l| l.traffic_cap_bytes = 100).await;
        fact(&store, 1, sends(60)).await;
        fact(&store, 2, What::Moved(Flow::ReceivedBytes, 40)).await;
        assert_eq!(caps(&store).await, [(TrafficCap, 1, 100)]);
        store.clock.advance(Duration::from_secs(24 * 86_400));
        store.metering.check_limits().await.unwrap();
        assert_eq!(caps(&store).await.len(), 1);
        store.clock.advance(Duration::from_secs(2 * 86_400));
        store.metering.check_limits().await.unwrap();
        assert_eq!(caps(&store).await[1..], [(Unspecified, 2, 0)]);
    }

    #[tokio::test]
    async fn another_plan_and_an_end_let_an_account_go_and_old_news_do_not() {
        use pb::LimitKind::{StorageCap, Unspecified};
        let store = Store::start().await;
        tell(&store, 2, |l| l.storage_cap_bytes = 100).await;
        fact(&store, 1, stores(100)).await;
        tell(&store, 1, |l| l.storage_cap_bytes = 1000).await;
        store.metering.check_limits().await.unwrap();
        assert_eq!(caps(&store).await, [(StorageCap, 1, 100)]);
        tell(&store, 3, |l| l.storage_cap_bytes = 1000).await;
        store.metering.check_limits().await.unwrap();
        assert_eq!(caps(&store).await[1..], [(Unspecified, 2, 0)]);
        fact(&store, 2, stores(1000)).await;
        tell(&store, 4, |l| (l.storage_cap_bytes, l.anchor_time) = (1000, None)).await;
        store.metering.check_limits().await.unwrap();
        assert_eq!(caps(&store).await[2..], [(StorageCap, 3, 1000), (Unspecified, 4, 0)]);
    }

    #[tokio::test]
    async fn accounts_without_limits_are_looked_at_once() {
        let store = Store::start().await;
        fact(&store, 1, stores(100)).await;
        let sql = "SELECT is_limited, is_unchecked FROM account";
        let flags = async || -> (bool, bool) { store.db.fetch_one(sql, args![]).await.unwrap() };
        assert_eq!(flags().await, (false, false));
        let sent = Fact {
            id: "2".to_owned(),
            s3uid: uid(1),
            bucket: "photos".to_owned(),
            time: store.now(),
            what: sends(1),
        };
        store.metering.take(&event(&store, 2), &[Ok(sent)]).await.unwrap();
        assert_eq!(flags().await, (false, false));
        tell(&store, 1, |l| l.quota_bytes = 1).await;
        store.metering.check_limits().await.unwrap();
        assert_eq!(flags().await, (true, false));
    }
}
