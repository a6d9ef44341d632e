use std::time::Duration as StdDuration;

use proptest::prelude::*;
use stowage_auth::RequestContext;
use stowage_db::args;
use stowage_types::{PlanId, SystemRandom, new_id};
use time::Duration;
use time::macros::datetime;

use super::*;
use crate::Config;
use crate::domain::{Batch, Fact, Flow, Rebuild, What};
use crate::store::tests::{Store, uid};

/// Accounts of a test.
const ACCOUNTS: u8 = 12;

fn dimensions(n: u8) -> Dimensions {
    Dimensions {
        s3uid: uid(n.wrapping_mul(77)),
        account_id: i64::from(n / 2),
        customer: CustomerId(100 + i64::from(n % 3)),
        email: format!("Customer{}@Example.org", n % 3),
        plan: PlanId(1 + i64::from(n % 2)),
        location: if n.is_multiple_of(4) { "NL" } else { "DE" }.to_owned(),
        storage_type: if n < 5 { "standard" } else { "archive" }.to_owned(),
        billing: if n < 9 { "ledger" } else { "whmcs" }.to_owned(),
        gb_bytes: 1_000_000_000,
    }
}

/// The rules over the same database that rank by what they keep, whatever there is.
fn keeping(store: &Store) -> Metering {
    let config = Config { ranked_at_once_max: 0, ..Config::default() };
    let random = std::sync::Arc::new(SystemRandom);
    Metering::new(store.db.clone(), store.clock.clone(), random, &config)
}

async fn tell(store: &Store, n: u8, fact: (String, &str, OffsetDateTime, What)) {
    let (id, bucket, time, what) = fact;
    let s3uid = dimensions(n).s3uid;
    let fact = Fact { id, s3uid, bucket: bucket.to_owned(), time, what };
    let mut cx = RequestContext::background("test");
    let is_late = time < store.now() - Duration::days(30);
    let correction = is_late.then(|| "they were late".to_owned());
    if is_late {
        cx.principal.role = stowage_auth::PrincipalRole::Administrator;
    }
    let batch = Batch { source: "test".to_owned(), items: vec![Ok(fact)], correction };
    store.metering.record(&cx, &batch).await.unwrap();
}

async fn moves(store: &Store, n: u8, time: OffsetDateTime, bytes: i64) {
    let id = new_id(&*store.clock, &SystemRandom).to_string();
    tell(store, n, (id, "moved", time, What::Moved(Flow::SentBytes, bytes))).await;
}

async fn stores(store: &Store, n: u8, (bucket, time): (&str, OffsetDateTime), bytes: i64) {
    let id = new_id(&*store.clock, &SystemRandom).to_string();
    tell(store, n, (id, bucket, time, What::Stored { bytes, objects: 1 })).await;
}

async fn open(by: &Metering, n: u8) {
    let cx = RequestContext::background("test");
    by.open_meter(&cx, dimensions(n)).await.unwrap();
}

async fn close(by: &Metering, n: u8) {
    let cx = RequestContext::background("test");
    by.close_meter(&cx, &dimensions(n).s3uid).await.unwrap();
}

/// One question.
#[derive(Debug, Clone)]
struct Asked {
    by: RankBy,
    span: (OffsetDateTime, OffsetDateTime),
    page: (i64, i64),
    customer: Option<i64>,
}

impl Asked {
    fn first(field: RankField) -> Self {
        let span = (datetime!(2026-11-01 0:00 UTC), datetime!(2026-12-01 0:00 UTC));
        Self { by: RankBy { field, ..RankBy::default() }, span, page: (0, 50), customer: None }
    }

    async fn of(&self, metering: &Metering) -> (Vec<Ranked>, i64) {
        let mut cx = RequestContext::background("test");
        cx.principal.acted_for = self.customer.map(CustomerId);
        let (from, to) = self.span;
        metering.rank(&cx, self.by.clone(), (Some(from), Some(to)), self.page).await.unwrap()
    }

    /// What the days alone say, by one query.
    async fn of_days(&self, metering: &Metering) -> (Vec<Ranked>, i64) {
        let now = metering.clock.now();
        let (from, to) = self.span;
        let days = Period::of(Some(from), Some(to), now).unwrap().widened(Step::Day);
        let (skip, max) = self.page;
        let visible_to = self.customer.map(CustomerId);
        let ranking = Ranking { by: self.by.clone(), days, visible_to, skip, max };
        let carried_at = (days.from <= now).then_some(days.from);
        let span = Span { carried_at, months: Vec::new(), days: vec![days] };
        let all = (None, i64::MAX);
        let mut rows = store::ranking::list(&metering.db, &ranking, &span, all).await.unwrap();
        let total = i64::try_from(rows.len()).unwrap();
        // By the contract's words: ties by number, then by s3uid, whichever way.
        rows.sort_by_key(|row| (row.dimensions.account_id, row.dimensions.s3uid.to_string()));
        rows.sort_by_key(|row| {
            let figure = match self.by.field {
                RankField::Traffic => row.traffic_bytes,
                RankField::StoragePeak => row.stored_bytes_peak,
            };
            if self.by.ascending { figure } else { -figure }
        });
        let page = rows.into_iter().skip(usize::try_from(skip).unwrap());
        (page.take(usize::try_from(max).unwrap()).collect(), total)
    }
}

fn uids((rows, _): &(Vec<Ranked>, i64)) -> Vec<S3uid> {
    rows.iter().map(|row| row.dimensions.s3uid.clone()).collect()
}

fn asked() -> impl Strategy<Value = Asked> {
    let filters = (0..ACCOUNTS, any::<[bool; 10]>(), any::<bool>(), any::<bool>());
    let span = (-430..20_i64, prop_oneof![0..3_i64, 0..40_i64, 0..450_i64], any::<bool>());
    (filters, span, (0..4_i64, 1..9_i64)).prop_map(|((n, bits, peak, ascending), span, page)| {
        // Mostly few filters: with many, few match.
        let of = dimensions(n);
        let is_set = |bit: usize| bits[bit] && bits[(bit + 1) % 10] && bits[(bit + 3) % 10];
        let by = RankBy {
            field: if peak { RankField::StoragePeak } else { RankField::Traffic },
            ascending,
            s3uid: is_set(0).then(|| of.s3uid.clone()),
            account_id: is_set(1).then_some(of.account_id),
            customer: is_set(2).then_some(of.customer),
            email: is_set(3).then(|| of.email.to_uppercase()),
            plan: is_set(4).then_some(of.plan),
            location: is_set(5).then(|| of.location.clone()),
            storage_type: is_set(6).then(|| of.storage_type.clone()),
            billing: is_set(7).then(|| of.billing.clone()),
            bucket: is_set(8).then(|| "a".to_owned()),
        };
        let (start, days, is_of_months) = span;
        let day = Step::Day.start_of(datetime!(2026-12-24 0:00 UTC)) + Duration::days(start);
        let mut span = (day, day + Duration::days(days + 1));
        if is_of_months {
            let month = crate::domain::Every::Month;
            span = (month.start_of(span.0), month.end_of(span.1));
        }
        let customer = is_set(9).then_some(of.customer.0);
        Asked { by, span, page, customer }
    })
}

/// What happens: account, which bucket, days and hours ago, bytes, and what it is.
type Deed = (u8, bool, i64, i64, i64, u8);

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = (0..ACCOUNTS, any::<bool>(), 0..30_i64, 0..24_i64, 0..50_i64, 0..12_u8);
    prop::collection::vec(deed, 1..14)
}

async fn happen(store: &Store, by: &Metering, deed: Deed) {
    let (n, bucket, days, hours, bytes, what) = deed;
    let bucket = if bucket { "a" } else { "b" };
    let time = Step::Hour.start_of(store.now()) - Duration::days(days) - Duration::hours(hours);
    match what {
        0 => close(by, n).await,
        1 => open(by, n).await,
        // Of a time for which only corrections are taken.
        2 => moves(store, n, time - Duration::days(40), bytes).await,
        3..=6 => moves(store, n, time, bytes).await,
        // At midnight a day has a row from its first moment on.
        7 => stores(store, n, (bucket, Step::Day.start_of(time)), bytes).await,
        _ => stores(store, n, (bucket, time), bytes).await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_kept_and_what_is_asked_at_once_are_what_the_days_say(
        rounds in prop::collection::vec((deeds(), prop::collection::vec(asked(), 12)), 3),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let store = Store::start().await;
            let kept = keeping(&store);
            for n in 0..ACCOUNTS {
                open(&kept, n).await;
            }
            for (deeds, questions) in rounds {
                for deed in deeds {
                    happen(&store, &kept, deed).await;
                }
                // By then all that was kept is too old.
                store.clock.advance(StdDuration::from_secs(11 * 86_400));
                for asked in questions {
                    let expected = asked.of_days(&kept).await;
                    assert_eq!(asked.of(&kept).await, expected, "{asked:?}");
                    assert_eq!(asked.of(&store.metering).await, expected, "{asked:?}");
                }
            }
            let rebuild = Rebuild { verify_only: true, max: 100, ..Rebuild::default() };
            let done = kept.rebuild(&RequestContext::background("test"), &rebuild).await.unwrap();
            assert_eq!(done.differences, []);
        });
    }
}

#[tokio::test]
async fn what_facts_change_shows_within_fifteen_seconds() {
    let store = Store::start().await;
    let kept = keeping(&store);
    let asked = Asked::first(RankField::Traffic);
    for n in 0..3 {
        open(&store.metering, n).await;
    }
    moves(&store, 1, store.now(), 10).await;
    assert_eq!(uids(&asked.of(&kept).await)[0], dimensions(1).s3uid);
    moves(&store, 2, store.now(), 20).await;
    store.clock.advance(StdDuration::from_secs(15));
    let rows = asked.of(&kept).await.0;
    assert_eq!((&rows[0].dimensions, rows[0].traffic_bytes), (&dimensions(2), 20));
    // What another process opens is as soon there.
    open(&store.metering, 5).await;
    assert_eq!(asked.of(&kept).await.1, 3);
    store.clock.advance(StdDuration::from_secs(15));
    assert_eq!(asked.of(&kept).await.1, 4);
}

#[tokio::test]
async fn what_this_process_opens_closes_or_changes_shows_at_once() {
    let store = Store::start().await;
    let kept = keeping(&store);
    let mut asked = Asked::first(RankField::Traffic);
    for n in 0..4 {
        open(&kept, n).await;
        moves(&store, n, store.now(), 10 * i64::from(n)).await;
    }
    let of = |numbers: &[u8]| numbers.iter().map(|n| dimensions(*n).s3uid).collect::<Vec<_>>();
    assert_eq!(uids(&asked.of(&kept).await), of(&[3, 2, 1, 0]));
    close(&kept, 2).await;
    let answer = asked.of(&kept).await;
    assert_eq!((uids(&answer), answer.1), (of(&[3, 1, 0]), 3));
    open(&kept, 2).await;
    open(&kept, 7).await;
    let answer = asked.of(&kept).await;
    assert_eq!((uids(&answer), answer.1), (of(&[3, 2, 1, 0, 7]), 5));
    asked.by.ascending = true;
    assert_eq!(uids(&asked.of(&kept).await), of(&[0, 7, 1, 2, 3]));
    asked.by.plan = Some(PlanId(9));
    assert_eq!(asked.of(&kept).await.1, 0);
    let other = Dimensions { plan: PlanId(9), ..dimensions(1) };
    kept.open_meter(&RequestContext::background("test"), other).await.unwrap();
    let answer = asked.of(&kept).await;
    assert_eq!((uids(&answer), answer.1), (of(&[1]), 1));
}

#[tokio::test]
async fn what_another_process_closes_or_changes_is_not_answered() {
    let store = Store::start().await;
    let (kept, other) = (keeping(&store), keeping(&store));
    let mut asked = Asked::first(RankField::StoragePeak);
    for n in 0..6 {
        open(&other, n).await;
    }
    assert_eq!(asked.of(&kept).await.1, 6);
    close(&other, 4).await;
    let moved = Dimensions { customer: CustomerId(500), ..dimensions(3) };
    other.open_meter(&RequestContext::background("test"), moved.clone()).await.unwrap();
    let (rows, total) = asked.of(&kept).await;
    assert_eq!((rows.len(), total), (5, 5));
    assert!(rows.iter().any(|row| row.dimensions == moved));
    asked.customer = Some(100);
    let (rows, total) = asked.of(&kept).await;
    assert_eq!((uids(&(rows, total)), total), (vec![dimensions(0).s3uid], 1));
}

#[tokio::test]
async fn pages_that_follow_each_other_are_of_one_moment() {
    let store = Store::start().await;
    let kept = keeping(&store);
    let mut asked = Asked::first(RankField::Traffic);
    asked.page = (0, 2);
    for n in 1..=6 {
        open(&kept, n).await;
        moves(&store, n, store.now(), 10 * i64::from(n)).await;
    }
    let mut seen = uids(&asked.of(&kept).await);
    for skip in [2, 4] {
        // One of the last becomes the first: it would push another one onto the next page.
        moves(&store, u8::try_from(skip / 2).unwrap(), store.now(), 1000).await;
        store.clock.advance(StdDuration::from_secs(16));
        asked.page.0 = skip;
        seen.extend(uids(&asked.of(&kept).await));
    }
    assert_eq!(seen, [6, 5, 4, 3, 2, 1].map(|n| dimensions(n).s3uid));
    store.clock.advance(StdDuration::from_secs(61));
    asked.page = (4, 2);
    assert_ne!(uids(&asked.of(&kept).await), [2, 1].map(|n| dimensions(n).s3uid));
}

#[tokio::test]
async fn a_month_that_has_drifted_is_found_and_mended() {
    let store = Store::start().await;
    let cx = RequestContext::background("test");
    open(&store.metering, 1).await;
    moves(&store, 1, store.now(), 10).await;
    stores(&store, 1, ("a", store.now()), 30).await;
    let mut tx = store.db.begin().await.unwrap();
    let sql = "UPDATE account_month SET traffic_bytes = 1, peak_bytes = 2";
    tx.execute(sql, args![]).await.unwrap();
    tx.commit().await.unwrap();
    let mut rebuild = Rebuild { verify_only: true, max: 100, ..Rebuild::default() };
    let fields = |differences: &[crate::domain::Difference]| {
        let of = differences.iter().map(|of| (of.field, of.stored.clone(), of.computed.clone()));
        of.collect::<Vec<_>>()
    };
    let expected = [
        ("month_traffic_bytes", "1".to_owned(), "10".to_owned()),
        ("month_peak_bytes", "2".to_owned(), "30".to_owned()),
    ];
    for verify_only in [true, false] {
        rebuild.verify_only = verify_only;
        let done = store.metering.rebuild(&cx, &rebuild).await.unwrap();
        assert_eq!(fields(&done.differences), expected);
    }
    let done = store.metering.rebuild(&cx, &rebuild).await.unwrap();
    assert_eq!(done.difference_count, 0);
    let rows = Asked::first(RankField::Traffic).of(&store.metering).await.0;
    assert_eq!((rows[0].traffic_bytes, rows[0].stored_bytes_peak), (10, 30));
}
