//! The SQL. It decides nothing.

pub(crate) mod account;
pub(crate) mod alert;
pub(crate) mod bucket;
pub(crate) mod conflict;
pub(crate) mod fact;
pub(crate) mod hour;
pub(crate) mod limits;
pub(crate) mod meter;
pub(crate) mod metered;
pub(crate) mod month;
pub(crate) mod partition;
pub(crate) mod ranking;
pub(crate) mod room;
pub(crate) mod sample;
pub(crate) mod sqlite;
pub(crate) mod stored;
pub(crate) mod summary;
pub(crate) mod traffic;

use stowage_db::Value;

use crate::domain::Step;

/// Rows that are made while those before them are put. In a box, since the compiler cannot tell of
/// closures over references that whoever waits with them may go on in another thread.
type Rows<'a> = Box<dyn Iterator<Item = Vec<Value>> + Send + 'a>;

/// A step as it is stored.
fn code(step: Step) -> i64 {
    match step {
        Step::Hour => 0,
        Step::Day => 1,
    }
}

/// The contrary of [`code`].
fn step_of(code: i64) -> Step {
    if code == self::code(Step::Day) { Step::Day } else { Step::Hour }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use stowage_db::Db;
    use stowage_db::testing::Scratch;
    use stowage_types::{Clock, FakeClock, S3uid};
    use time::OffsetDateTime;
    use time::macros::datetime;

    use crate::Config;
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
            let metering = Metering::new(db.clone(), clock.clone(), random, &Config::default());
            metering.begin_facts().await.unwrap();
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
