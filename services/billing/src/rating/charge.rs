//! Charges: each says what it came from, so that it can be computed again.

use stowage_types::{PlanId, hour_of};
use time::OffsetDateTime;

use super::rounding::{self, Overflow};
use super::{Segment, Snapshot, Tariff, hours};
use crate::domain::period::Span;
use crate::domain::terms::StorageMode;

/// What is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChargeKind {
    /// The price of a period, in advance.
    Base,
    /// What is left of a period's price, given back since the plan was changed.
    BaseReturned,
    /// The new plan's price, for what is left of the period.
    BaseChanged,
    /// Bytes stored above what is included.
    Storage,
    /// Bytes moved above what is included.
    Traffic,
    /// What `Storage` of a closed period should have been, less what it was.
    StorageCorrection,
    /// The same of `Traffic`.
    TrafficCorrection,
}

impl ChargeKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Base,
        Self::BaseReturned,
        Self::BaseChanged,
        Self::Storage,
        Self::Traffic,
        Self::StorageCorrection,
        Self::TrafficCorrection,
    ];

    /// How it is stored.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::BaseReturned => "base_returned",
            Self::BaseChanged => "base_changed",
            Self::Storage => "storage",
            Self::Traffic => "traffic",
            Self::StorageCorrection => "storage_correction",
            Self::TrafficCorrection => "traffic_correction",
        }
    }

    /// Whether it is a price of a period, of which there is no quantity of bytes.
    pub(crate) const fn is_base(self) -> bool {
        matches!(self, Self::Base | Self::BaseReturned | Self::BaseChanged)
    }

    const fn correction(self) -> Self {
        match self {
            Self::Storage => Self::StorageCorrection,
            Self::Traffic => Self::TrafficCorrection,
            other => other,
        }
    }
}

/// A line of a bill. Amounts are in nano-units, whole minor units of the currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) kind: ChargeKind,
    pub(crate) plan: PlanId,
    pub(crate) version: i32,
    /// What it is for, from–to.
    pub(crate) from: OffsetDateTime,
    pub(crate) to: OffsetDateTime,
    /// How much was used: peak, average or last bytes stored, or bytes moved. 0 of a base price.
    pub(crate) aggregate_bytes: i64,
    /// How much of it the base price covers.
    pub(crate) included_bytes: i64,
    /// How much of it is charged.
    pub(crate) quantity_bytes: i64,
    /// Price of a GB, or of a period.
    pub(crate) price_nanos: i128,
    /// Bytes of a GB.
    pub(crate) gb_bytes: i64,
    /// Hours that are charged, of those of the whole period. Equal: all of it.
    pub(crate) hours: i128,
    pub(crate) period_hours: i128,
    /// What was charged for the same before: not zero in corrections only.
    pub(crate) prior_nanos: i128,
    pub(crate) amount_nanos: i128,
}

/// A part of a period's price.
struct Share {
    kind: ChargeKind,
    from: OffsetDateTime,
    to: OffsetDateTime,
    hours: i128,
    period_hours: i128,
}

impl Charge {
    /// The price of a whole period.
    pub(crate) fn base(tariff: &Tariff, span: Span) -> Result<Self, Overflow> {
        let (from, to) = (span.start, span.end);
        let hours = hours(hour_of(from), hour_of(to));
        let kind = ChargeKind::Base;
        Self::share(tariff, Share { kind, from, to, hours, period_hours: hours })
    }

    /// What a change of plan at the start of `after` gives back of the old plan's price, and what
    /// it charges of the new one's, for the rest of the period that ends at `end`.
    pub(crate) fn change(
        (old, new): (&Tariff, &Tariff),
        (at, end): (OffsetDateTime, OffsetDateTime),
        period_hours: i128,
    ) -> Result<[Self; 2], Overflow> {
        let part = |kind| Share { kind, from: at, to: end, hours: hours(at, end), period_hours };
        let mut returned = Self::share(old, part(ChargeKind::BaseReturned))?;
        returned.amount_nanos = -returned.amount_nanos;
        Ok([returned, Self::share(new, part(ChargeKind::BaseChanged))?])
    }

    fn share(tariff: &Tariff, share: Share) -> Result<Self, Overflow> {
        let Share { kind, from, to, hours, period_hours } = share;
        let step = tariff.currency.minor_nanos();
        let amount = rounding::half_up(&[tariff.period_nanos, hours], &[period_hours], step)?;
        Ok(Self {
            kind,
            plan: tariff.plan,
            version: tariff.version,
            from,
            to,
            aggregate_bytes: 0,
            included_bytes: 0,
            quantity_bytes: 0,
            price_nanos: tariff.period_nanos,
            gb_bytes: tariff.gb_bytes,
            hours,
            period_hours,
            prior_nanos: 0,
            amount_nanos: amount,
        })
    }

    /// What was used above what is included, in one segment of a period: storage and traffic.
    pub(crate) fn usage(
        tariff: &Tariff,
        segment: &Segment,
        snapshot: &Snapshot,
        period_hours: i128,
    ) -> Result<[Self; 2], Overflow> {
        let used = hours(segment.from, segment.to);
        let included_storage = tariff.included_storage_bytes;
        let stored = stored_bytes(tariff.storage_mode, snapshot, used)?;
        let storage = Used {
            kind: ChargeKind::Storage,
            aggregate_bytes: stored,
            included_bytes: included_storage,
            price_nanos: tariff.storage_nanos,
            // A price of storage is that of a whole period.
            hours: used,
        };
        // Of what may be moved, each segment has its share; a part of a byte is the customer's.
        let paid = hours(segment.from, segment.paid_to);
        let share = [i128::from(tariff.included_traffic_bytes), paid];
        let included_traffic = whole(rounding::up(&share, &[period_hours])?)?;
        let moved = snapshot.received_bytes.checked_add(snapshot.sent_bytes).ok_or(Overflow)?;
        let traffic = Used {
            kind: ChargeKind::Traffic,
            aggregate_bytes: moved,
            included_bytes: included_traffic,
            price_nanos: tariff.traffic_nanos,
            hours: period_hours,
        };
        Ok([
            storage.charge(tariff, segment, period_hours)?,
            traffic.charge(tariff, segment, period_hours)?,
        ])
    }

    /// This, less what was charged for the same before.
    pub(crate) fn corrects(self, before: &Self) -> Result<Self, Overflow> {
        let amount_nanos = self.amount_nanos.checked_sub(before.amount_nanos).ok_or(Overflow)?;
        let kind = self.kind.correction();
        Ok(Self { kind, prior_nanos: before.amount_nanos, amount_nanos, ..self })
    }
}

/// What was used of one thing.
struct Used {
    kind: ChargeKind,
    aggregate_bytes: i64,
    included_bytes: i64,
    price_nanos: i128,
    hours: i128,
}

impl Used {
    fn charge(
        self,
        tariff: &Tariff,
        segment: &Segment,
        period_hours: i128,
    ) -> Result<Charge, Overflow> {
        let quantity = self.aggregate_bytes.saturating_sub(self.included_bytes).max(0);
        let amount_nanos = rounding::half_up(
            &[quantity.into(), self.price_nanos, self.hours],
            &[tariff.gb_bytes.into(), period_hours],
            tariff.currency.minor_nanos(),
        )?;
        Ok(Charge {
            kind: self.kind,
            plan: tariff.plan,
            version: tariff.version,
            from: segment.from,
            to: segment.to,
            aggregate_bytes: self.aggregate_bytes,
            included_bytes: self.included_bytes,
            quantity_bytes: quantity,
            price_nanos: self.price_nanos,
            gb_bytes: tariff.gb_bytes,
            hours: self.hours,
            period_hours,
            prior_nanos: 0,
            amount_nanos,
        })
    }
}

/// Bytes stored, as the plan counts them.
fn stored_bytes(mode: StorageMode, snapshot: &Snapshot, hours: i128) -> Result<i64, Overflow> {
    match mode {
        StorageMode::Peak => Ok(snapshot.stored_peak_bytes),
        StorageMode::Last => Ok(snapshot.stored_last_bytes),
        StorageMode::Average if hours == 0 => Ok(0),
        StorageMode::Average => {
            whole(rounding::half_up(&[snapshot.stored_byte_seconds], &[hours, 3600], 1)?)
        }
    }
}

fn whole(number: i128) -> Result<i64, Overflow> {
    i64::try_from(number).map_err(|_| Overflow)
}
