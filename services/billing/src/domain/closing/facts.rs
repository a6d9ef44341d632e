//! What a bill is computed from, and the computing. Closing a period and verifying an invoice go
//! through the same lines.

use stowage_types::{Currency, hour_of};

use super::{ClosedPeriod, FrozenSegment};
use crate::domain::bill::Tariffs;
use crate::domain::period::Span;
use crate::error::Error;
use crate::rating::Charge;

/// Figures of a closed period that came late.
#[derive(Debug)]
pub(crate) struct Amendment {
    /// Whole hours of the period.
    pub(crate) period_hours: i128,
    pub(crate) before: FrozenSegment,
    pub(crate) after: FrozenSegment,
}

/// Everything a bill is computed from, but for the tariffs.
#[derive(Debug)]
pub(crate) struct BillFacts<'a> {
    pub(crate) currency: Currency,
    /// The period that it closes, with its segments in their order.
    pub(crate) closed: Option<(&'a ClosedPeriod, Vec<FrozenSegment>)>,
    pub(crate) amendments: Vec<Amendment>,
}

impl BillFacts<'_> {
    /// The lines, without those that come to nothing.
    ///
    /// # Errors
    /// `Internal` if a tariff is missing or an amount does not fit.
    pub(crate) fn charges(&self, tariffs: &Tariffs) -> Result<Vec<Charge>, Error> {
        let mut charges = Vec::new();
        if let Some((closed, segments)) = &self.closed {
            self.changes(closed, segments, tariffs, &mut charges)?;
            for of in segments {
                charges.extend(self.usage(of, closed.hours(), tariffs)?);
            }
        }
        for Amendment { period_hours, before, after } in &self.amendments {
            let was = self.usage(before, *period_hours, tariffs)?;
            let is = self.usage(after, *period_hours, tariffs)?;
            for (is, was) in is.into_iter().zip(&was) {
                charges.push(is.corrects(was).map_err(Error::internal)?);
            }
        }
        if let Some((closed, _)) = &self.closed
            && let Some(next) = closed.next
        {
            let tariff = tariffs.get(next.plan, next.version, self.currency)?;
            let span = Span { start: closed.span.end, end: next.end };
            charges.push(Charge::base(tariff, span).map_err(Error::internal)?);
        }
        charges.retain(|charge| charge.amount_nanos != 0);
        Ok(charges)
    }

    /// What each change of plan gives back and charges, for the rest of the period.
    fn changes(
        &self,
        closed: &ClosedPeriod,
        segments: &[FrozenSegment],
        tariffs: &Tariffs,
        charges: &mut Vec<Charge>,
    ) -> Result<(), Error> {
        let end = hour_of(closed.span.end);
        for pair in segments.windows(2) {
            let (old, new) = (pair[0].segment, pair[1].segment);
            let old = tariffs.get(old.plan, old.version, self.currency)?;
            let tariff = tariffs.get(new.plan, new.version, self.currency)?;
            let change = Charge::change((old, tariff), (new.from, end), closed.hours());
            charges.extend(change.map_err(Error::internal)?);
        }
        Ok(())
    }

    fn usage(
        &self,
        of: &FrozenSegment,
        period_hours: i128,
        tariffs: &Tariffs,
    ) -> Result<[Charge; 2], Error> {
        let tariff = tariffs.get(of.segment.plan, of.segment.version, self.currency)?;
        Charge::usage(tariff, &of.segment, &of.snapshot, period_hours).map_err(Error::internal)
    }
}
