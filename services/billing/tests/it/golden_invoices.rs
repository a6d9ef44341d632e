//! Invoices, word for word: one file a story, in `tests/golden`. Every one is computed again, too.

use std::path::Path;

use stowage_proto::billing::{BillingPeriod, StorageMode};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::shop::{CLOSE_AFTER, EURO, GB, Offer, Shop, Sold};

/// Set to write the invoices of this run into the files.
const UPDATE: &str = "UPDATE_GOLDENS";

/// Compares the books with the file, after a look whether they add up.
async fn is_golden(shop: &Shop, name: &str) {
    shop.audit().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let books = shop.books().await;
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &books).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(books, golden, "{name}: if this is right, run with {UPDATE}=1");
}

/// So many bytes are stored from `start` on, and half as many move every day until `end`.
fn lives(shop: &Shop, sold: &Sold, (start, end): (OffsetDateTime, OffsetDateTime), bytes: i64) {
    shop.kit.metering.stores(&sold.s3uid, start, bytes);
    let mut time = start + Duration::HOUR;
    while time < end {
        shop.kit.metering.moves(&sold.s3uid, time, bytes / 2);
        time += Duration::DAY;
    }
}

#[tokio::test]
async fn months_of_28_to_31_days() {
    let start = datetime!(2026-01-31 10:20 UTC);
    let mut shop = Shop::open(start).await;
    let plan = shop.offer("Month", Offer { mode: StorageMode::Average, ..EURO }).await;
    let sold = shop.sell(&plan, "EUR").await;
    lives(&shop, &sold, (start, datetime!(2026-07-01 0:00 UTC)), 12_345_678_901);
    for end in [
        datetime!(2026-02-28 10:20 UTC),
        datetime!(2026-03-31 10:20 UTC),
        datetime!(2026-04-30 10:20 UTC),
        datetime!(2026-05-31 10:20 UTC),
    ] {
        shop.wait_until(end + CLOSE_AFTER - Duration::SECOND).await;
        let before = shop.books().await;
        shop.wait_until(end + CLOSE_AFTER).await;
        assert_ne!(shop.books().await, before, "{end} was not closed when it was due");
    }
    is_golden(&shop, "months.txt").await;
}

#[tokio::test]
async fn leap_years() {
    let start = datetime!(2028-01-29 23:59:59 UTC);
    let mut shop = Shop::open(start).await;
    let monthly = shop.offer("Month", EURO).await;
    let yearly =
        shop.offer("Year", Offer { period: BillingPeriod::Yearly, price: (99, 0), ..EURO }).await;
    let month = shop.sell(&monthly, "EUR").await;
    shop.kit.metering.stores(&month.s3uid, start, 11 * GB);
    shop.wait_until(datetime!(2028-02-29 12:00 UTC)).await;
    let year = shop.sell(&yearly, "EUR").await;
    shop.kit.metering.stores(&year.s3uid, datetime!(2028-03-01 0:00 UTC), 12 * GB);
    shop.wait_until(datetime!(2028-04-30 0:00 UTC)).await;
    shop.end(&month).await;
    for end in [datetime!(2029-03-01 0:00 UTC), datetime!(2032-03-01 0:00 UTC)] {
        shop.wait_until(end).await;
    }
    is_golden(&shop, "leap_years.txt").await;
}

#[tokio::test]
async fn currencies_with_0_2_and_3_minor_digits() {
    let start = datetime!(2026-03-15 0:00 UTC);
    let mut shop = Shop::open(start).await;
    for (currency, price, storage, traffic) in [
        ("JPY", (1500, 0), (7, 500_000_000), (1, 250_000_000)),
        ("EUR", (9, 800_000_000), (0, 50_000_000), (0, 12_500_000)),
        ("KWD", (3, 125_000_000), (0, 15_500_000), (0, 3_750_000)),
    ] {
        let offer = Offer { currency, price, storage, traffic, ..EURO };
        let plan = shop.offer(currency, offer).await;
        let sold = shop.sell(&plan, currency).await;
        // 3.1 GB too much, and 1.3 GB moved too much: halves of each smallest amount.
        shop.kit.metering.stores(&sold.s3uid, start, 13_100_000_000);
        shop.kit.metering.moves(&sold.s3uid, start + Duration::DAY, 101_300_000_000);
    }
    shop.wait_until(datetime!(2026-04-15 2:00 UTC)).await;
    is_golden(&shop, "currencies.txt").await;
}

#[tokio::test]
async fn storage_is_counted_by_peak_average_or_last() {
    let start = datetime!(2026-06-01 0:00 UTC);
    let mut shop = Shop::open(start).await;
    for (title, mode) in [
        ("Peak", StorageMode::Peak),
        ("Average", StorageMode::Average),
        ("Last", StorageMode::Last),
    ] {
        let plan = shop.offer(title, Offer { mode, included_storage_gb: 0, ..EURO }).await;
        let sold = shop.sell(&plan, "EUR").await;
        let stores = |time, gb| shop.kit.metering.stores(&sold.s3uid, time, gb * GB);
        stores(start, 20);
        stores(datetime!(2026-06-11 0:00 UTC), 80);
        stores(datetime!(2026-06-11 6:30 UTC), 40);
        stores(datetime!(2026-06-21 0:00 UTC), 10);
    }
    shop.wait_until(datetime!(2026-07-01 2:00 UTC)).await;
    is_golden(&shop, "storage_modes.txt").await;
}

#[tokio::test]
async fn a_change_of_plan_is_charged_for_its_part_of_the_period() {
    let start = datetime!(2026-09-01 0:00 UTC);
    let mut shop = Shop::open(start).await;
    let small = shop.offer("Small", EURO).await;
    let large = Offer { price: (25, 0), included_storage_gb: 50, ..EURO };
    let large = shop.offer("Large", large).await;
    let (up, down) = (shop.sell(&small, "EUR").await, shop.sell(&large, "EUR").await);
    for sold in [&up, &down] {
        lives(&shop, sold, (start, datetime!(2026-10-01 0:00 UTC)), 30 * GB);
    }
    // Within the first hour, and back in it: it never was.
    let fickle = shop.sell(&small, "EUR").await;
    shop.kit.clock.set(start + Duration::minutes(10));
    shop.change(&fickle, "c1", &large).await;
    shop.kit.clock.set(start + Duration::minutes(50));
    shop.change(&fickle, "c2", &small).await;
    // Taken back by whoever made it, hours later.
    shop.change(&fickle, "c3", &large).await;
    shop.kit.clock.set(start + Duration::hours(5));
    shop.change(&fickle, "c3", &small).await;
    shop.wait_until(datetime!(2026-09-11 7:40 UTC)).await;
    shop.change(&up, "c4", &large).await;
    shop.change(&down, "c5", &small).await;
    shop.wait_until(datetime!(2026-10-01 2:00 UTC)).await;
    is_golden(&shop, "changes.txt").await;
}

#[tokio::test]
async fn what_is_free_on_purpose_costs_nothing_and_the_rest_is_charged() {
    let start = datetime!(2026-02-01 0:00 UTC);
    let mut shop = Shop::open(start).await;
    // Paid by use only; storage for nothing; traffic for nothing.
    let usage = Offer { price: (0, 0), included_storage_gb: 0, included_traffic_gb: 0, ..EURO };
    let usage = shop.offer("By use", usage).await;
    let storage = shop.offer("Free storage", Offer { storage: (0, 0), ..EURO }).await;
    let traffic = shop.offer("Free traffic", Offer { traffic: (0, 0), ..EURO }).await;
    let by_use = shop.sell(&usage, "EUR").await;
    let free_storage = shop.sell(&storage, "EUR").await;
    let free_traffic = shop.sell(&traffic, "EUR").await;
    let idle = shop.sell(&usage, "EUR").await;
    for sold in [&by_use, &free_storage, &free_traffic] {
        lives(&shop, sold, (start, datetime!(2026-03-01 0:00 UTC)), 20 * GB);
    }
    shop.wait_until(datetime!(2026-02-15 0:00 UTC)).await;
    shop.change(&free_traffic, "c1", &usage).await;
    shop.change(&idle, "c2", &storage).await;
    shop.wait_until(datetime!(2026-03-01 2:00 UTC)).await;
    is_golden(&shop, "free_parts.txt").await;
}

#[tokio::test]
async fn cancellations() {
    let start = datetime!(2026-10-05 8:00 UTC);
    let mut shop = Shop::open(start).await;
    let plan = shop.offer("Month", EURO).await;
    let stays = shop.sell(&plan, "EUR").await;
    let leaves = shop.sell(&plan, "EUR").await;
    let flees = shop.sell(&plan, "EUR").await;
    for sold in [&stays, &leaves, &flees] {
        lives(&shop, sold, (start, datetime!(2026-11-05 8:00 UTC)), 16 * GB);
    }
    shop.wait_until(datetime!(2026-10-20 0:00 UTC)).await;
    shop.schedule_end(&stays).await;
    shop.schedule_end(&leaves).await;
    shop.end(&flees).await;
    shop.wait_until(datetime!(2026-10-25 0:00 UTC)).await;
    shop.withdraw_end(&stays).await;
    // Nobody ends it for a while: until then nothing is charged for what may not be.
    shop.wait_until(datetime!(2026-11-06 0:00 UTC)).await;
    shop.end(&leaves).await;
    shop.settle().await;
    shop.wait_until(datetime!(2026-12-20 0:00 UTC)).await;
    is_golden(&shop, "cancellations.txt").await;
}

#[tokio::test]
async fn facts_that_come_late_correct_the_next_bill() {
    let start = datetime!(2026-04-01 0:00 UTC);
    let mut shop = Shop::open(start).await;
    let plan = shop.offer("Month", EURO).await;
    let sold = shop.sell(&plan, "EUR").await;
    let ended = shop.sell(&plan, "EUR").await;
    for sold in [&sold, &ended] {
        shop.kit.metering.moves(&sold.s3uid, datetime!(2026-04-10 5:00 UTC), 250 * GB);
    }
    shop.wait_until(datetime!(2026-05-01 2:00 UTC)).await;
    // Of April, in May: more moved than was known, and more was stored.
    shop.kit.metering.moves(&sold.s3uid, datetime!(2026-04-20 5:00 UTC), 50 * GB);
    shop.kit.metering.stores(&sold.s3uid, datetime!(2026-04-28 5:00 UTC), 14 * GB);
    shop.kit.metering.stores(&sold.s3uid, datetime!(2026-05-02 0:00 UTC), 0);
    shop.wait_until(datetime!(2026-05-20 0:00 UTC)).await;
    shop.end(&ended).await;
    shop.wait_until(datetime!(2026-06-01 2:00 UTC)).await;
    // One has more, which is a line of its next bill. The other has less and gets no bill any more:
    // it is given credit.
    shop.kit.metering.moves(&sold.s3uid, datetime!(2026-05-10 0:00 UTC), 300 * GB);
    shop.kit.metering.moves(&ended.s3uid, datetime!(2026-04-25 0:00 UTC), -30 * GB);
    shop.wait_until(datetime!(2026-07-01 2:00 UTC)).await;
    // Nothing comes in for what is sealed.
    for sold in [&sold, &ended] {
        shop.kit.metering.moves(&sold.s3uid, datetime!(2026-04-10 0:00 UTC), 999 * GB);
    }
    shop.wait_until(datetime!(2026-08-01 2:00 UTC)).await;
    is_golden(&shop, "late_facts.txt").await;
}
