//! The small catalogue of a new installation.

use stowage_db::{Db, Error, args, next_id};
use stowage_provider::Period;
use stowage_types::{Clock, Currency, Decimal, PlanId};

use crate::domain::plan::Plan;
use crate::domain::terms::{GB_BYTES_BINARY, KEY_MAX_DEFAULT, Price, StorageMode, Terms};
use crate::store;

/// Row of `marker` that says it was done.
const MARKER: &str = "seed_catalogue";
/// Whom `plan_version.actor` names.
const ACTOR: &str = "first start";
const GIB: i64 = 1 << 30;

/// Puts the first two plans into an empty catalogue: a paid one, and a free one of which a
/// customer may have one account. It is done once in the life of a database; later starts, also
/// after every plan was archived or changed, do nothing.
///
/// No event is sent: nobody changed anything.
///
/// # Errors
/// Those of the database; nothing was stored then.
pub async fn seed_catalogue(db: &Db, clock: &dyn Clock) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    let now = clock.now();
    let sql = "INSERT INTO marker (name, time) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    if tx.execute(sql, args![MARKER, now]).await? == 0 {
        return Ok(());
    }
    let (plans,): (i64,) = tx.fetch_one("SELECT count(*) FROM plan", args![]).await?;
    if plans == 0 {
        for terms in [standard(), free()] {
            let id = PlanId(next_id(&mut tx, "plan").await?);
            let (effective_time, update_time) = (now, now);
            let plan = Plan { id, version: 1, active: true, terms, effective_time, update_time };
            store::plan::insert(&mut tx, &plan, ACTOR).await?;
        }
    }
    tx.commit().await
}

fn standard() -> Terms {
    let rows =
        [("USD", "10.5", "0.05", "0.01"), ("EUR", "9.8", "0.05", "0.01"), ("RUB", "950", "5", "1")];
    Terms {
        title: "Standard S3 Plan".to_owned(),
        storage_type: "standard".to_owned(),
        location: "NL".to_owned(),
        base_price: amount("10"),
        prices: rows.into_iter().map(price).collect(),
        quota_bytes: 1024 * GIB,
        bucket_max: 0,
        gb_bytes: GB_BYTES_BINARY,
        included_storage_gb: 0,
        included_traffic_gb: 0,
        storage_mode: StorageMode::Peak,
        period: Period::Monthly,
        free: false,
        free_parts: Vec::new(),
        key_max: KEY_MAX_DEFAULT,
        storage_cap_gb: 0,
        traffic_cap_gb: 0,
        account_max_per_customer: 0,
    }
}

fn free() -> Terms {
    let rows = ["USD", "EUR", "RUB"].map(|currency| (currency, "0", "0", "0"));
    Terms {
        title: "Free S3 Plan".to_owned(),
        base_price: Decimal::ZERO,
        prices: rows.into_iter().map(price).collect(),
        quota_bytes: 5 * GIB,
        free: true,
        account_max_per_customer: 1,
        ..standard()
    }
}

/// Currency, price of a period, of a stored and of a moved GB.
fn price((currency, period, storage, traffic): (&str, &str, &str, &str)) -> Price {
    Price {
        currency: Currency::parse(currency).expect("written here"),
        period: amount(period),
        storage_overage: amount(storage),
        traffic_overage: amount(traffic),
    }
}

fn amount(text: &str) -> Decimal {
    Decimal::parse(text).expect("written here")
}
