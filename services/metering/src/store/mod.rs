//! The SQL. It decides nothing.

pub(crate) mod account;
pub(crate) mod bucket;
pub(crate) mod meter;
pub(crate) mod ranking;
pub(crate) mod sample;
pub(crate) mod stored;
pub(crate) mod traffic;

use stowage_db::{Args, Error, Tx, Value};

use crate::domain::Step;

/// Rows that one statement puts, at most.
const ROWS_MAX: usize = 64;

/// A step as it is stored.
fn code(step: Step) -> i64 {
    match step {
        Step::Hour => 0,
        Step::Day => 1,
    }
}

/// Puts many rows with few statements: `head VALUES (…), (…) tail`. Each statement is a trip to
/// the writing thread, which is most of what a small one costs.
async fn put_rows(
    tx: &mut Tx,
    head: &'static str,
    rows: &[Vec<Value>],
    tail: &'static str,
) -> Result<(), Error> {
    for chunk in rows.chunks(ROWS_MAX) {
        let mut sql = format!("{head} VALUES ");
        let mut args = Args::new();
        for row in chunk {
            sql.push_str(if args.is_empty() { "(" } else { ", (" });
            for (column, value) in row.iter().enumerate() {
                let number = args.push(value.clone());
                let comma = if column == 0 { "" } else { ", " };
                sql.push_str(&format!("{comma}${number}"));
            }
            sql.push(')');
        }
        sql.push_str(tail);
        tx.execute_built(sql, args).await?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use stowage_db::Db;
    use stowage_db::testing::Scratch;
    use stowage_types::{Clock, FakeClock, S3uid};
    use time::OffsetDateTime;
    use time::macros::datetime;

    use crate::domain::Metering;

    /// The tables in a temporary file, and the rules over them.
    pub(crate) struct Store {
        _place: Scratch,
        pub(crate) db: Db,
        pub(crate) metering: Metering,
        pub(crate) clock: Arc<FakeClock>,
    }

    impl Store {
        pub(crate) async fn start() -> Self {
            let place = Scratch::new().await;
            let db = place.open("metering", &crate::MIGRATOR).await.unwrap();
            let clock = Arc::new(FakeClock::at(datetime!(2026-11-23 15:30 UTC)));
            let random = Arc::new(stowage_types::SystemRandom);
            let letters = stowage_bus::DeadLetters::new(db.clone(), clock.clone(), random);
            let metering = Metering::new(db.clone(), clock.clone(), Duration::ZERO, letters);
            Self { _place: place, db, metering, clock }
        }

        pub(crate) fn now(&self) -> OffsetDateTime {
            self.clock.now()
        }
    }

    pub(crate) fn uid(n: u8) -> S3uid {
        S3uid::parse(&format!("{n:032x}")).unwrap()
    }
}
