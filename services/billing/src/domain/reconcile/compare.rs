//! A subscription beside what the provider has of it. Pure: nobody is asked.

use stowage_provider::{PlannedEnd, Service, ServiceState};
use stowage_types::Money;
use time::{Duration, OffsetDateTime};

use super::finding::Kind;
use crate::domain::subscription::{State, Subscription};

/// How long an order may be under way before that is told.
pub(super) const UNDER_WAY: Duration = Duration::HOUR;

/// What makes it agree, and is safe: it charges nobody anew, and takes nothing away that somebody
/// uses. Each may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mend {
    /// Accept the order, which was accepted here.
    Accept,
    /// End what has ended here.
    Terminate,
    /// Undo what was undone here.
    Undo,
    /// Tell of the planned end again.
    Mirror,
}

/// One thing in which the two differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) kind: Kind,
    pub(super) here: String,
    pub(super) there: String,
    pub(super) since: Option<OffsetDateTime>,
    pub(super) mend: Option<Mend>,
}

impl Difference {
    fn new(kind: Kind, here: impl Into<String>, there: impl Into<String>) -> Self {
        Self { kind, here: here.into(), there: there.into(), since: None, mend: None }
    }
}

pub(super) fn state_text(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Pending => "pending",
        ServiceState::Active => "active",
        ServiceState::Ended => "ended",
    }
}

/// All in which a subscription and its service differ; `None`: there is none.
pub(super) fn compare(
    own: &Subscription,
    service: Option<&Service>,
    now: OffsetDateTime,
) -> Vec<Difference> {
    let is_under_way = now - own.create_time < UNDER_WAY;
    let Some(service) = service else { return missing(own, is_under_way) };
    let (here, there) = (own.state.text(), state_text(service.state));
    let of = |kind, since, mend| vec![Difference { since, mend, ..new(kind, here, there) }];
    match (own.state, service.state) {
        (State::Active, ServiceState::Active) => details(own, service),
        (State::Active, ServiceState::Pending) => {
            of(Kind::PendingThere, own.anchor_time, Some(Mend::Accept))
        }
        (State::Active, ServiceState::Ended) => of(Kind::EndedThere, None, None),
        (State::Ordering | State::Pending, _) if is_under_way => Vec::new(),
        (State::Ordering | State::Pending, ServiceState::Ended) => of(Kind::EndedThere, None, None),
        (State::Ordering | State::Pending, _) => of(Kind::PendingHere, Some(own.create_time), None),
        (State::Terminated | State::Cancelled, ServiceState::Ended) => Vec::new(),
        (State::Terminated, _) => of(Kind::EndedHere, own.end_time, Some(Mend::Terminate)),
        (State::Cancelled, _) => of(Kind::EndedHere, own.end_time, Some(Mend::Undo)),
    }
}

fn new(kind: Kind, here: &str, there: &str) -> Difference {
    Difference::new(kind, here, there)
}

fn missing(own: &Subscription, is_under_way: bool) -> Vec<Difference> {
    match own.state {
        State::Terminated | State::Cancelled => Vec::new(),
        State::Ordering | State::Pending if is_under_way => Vec::new(),
        State::Ordering => {
            let since = Some(own.create_time);
            vec![Difference { since, ..new(Kind::PendingHere, own.state.text(), "nothing") }]
        }
        State::Pending | State::Active => {
            let since = own.anchor_time.or(Some(own.create_time));
            vec![Difference { since, ..new(Kind::ServiceMissing, own.state.text(), "nothing") }]
        }
    }
}

/// In what two that are active differ.
fn details(own: &Subscription, service: &Service) -> Vec<Difference> {
    let mut all = Vec::new();
    if service.customer != Some(own.customer) {
        let there = match service.customer {
            Some(other) => format!("customer {other}"),
            None => "a client who is linked to nobody".to_owned(),
        };
        let here = format!("customer {}", own.customer);
        all.push(Difference::new(Kind::CustomerDiffers, here, there));
    }
    if let Some(plans) = service.plans.as_ref().filter(|plans| !plans.contains(&own.plan)) {
        let names: Vec<String> = plans.iter().map(ToString::to_string).collect();
        let there = match names.is_empty() {
            true => "a product of no plan".to_owned(),
            false => format!("a product of plan {}", names.join(" or ")),
        };
        all.push(Difference::new(Kind::PlanDiffers, format!("plan {}", own.plan), there));
    }
    let price = own.period_price;
    if let Some(nanos) = service.period_nanos.filter(|nanos| *nanos != price.nanos()) {
        let there = Money::from_nanos(nanos, price.currency()).to_string();
        all.push(Difference::new(Kind::PriceDiffers, price.to_string(), there));
    }
    let is_told = match service.end {
        PlannedEnd::Untold => own.is_mirrored,
        PlannedEnd::Never => own.cancel_time.is_none(),
        PlannedEnd::At(end) => own.cancel_time == Some(end),
    };
    if !is_told {
        let ends = |end: Option<OffsetDateTime>| match end {
            Some(end) => format!("ends {}", end.date()),
            None => "no end is planned".to_owned(),
        };
        let there = match service.end {
            PlannedEnd::Untold => "it was not told".to_owned(),
            PlannedEnd::Never => ends(None),
            PlannedEnd::At(end) => ends(Some(end)),
        };
        let difference = Difference::new(Kind::EndDiffers, ends(own.cancel_time), there);
        all.push(Difference { mend: Some(Mend::Mirror), ..difference });
    }
    all
}

#[cfg(test)]
mod tests {
    use stowage_provider::{OrderKey, Period};
    use stowage_types::{Currency, CustomerId, Decimal, PlanId, S3uid};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-02-01 12:00 UTC);

    fn euros(units: i128) -> Money {
        Money::from_nanos(units * 1_000_000_000, Currency::parse("EUR").unwrap())
    }

    fn subscription(state: State) -> Subscription {
        Subscription {
            installation: String::new(),
            key: OrderKey::parse("k").unwrap(),
            provider: "whmcs".to_owned(),
            customer: CustomerId(7),
            s3uid: S3uid::parse(&"ab".repeat(16)).unwrap(),
            plan: PlanId(1),
            plan_version: 1,
            title: "Standard".to_owned(),
            location: "NL".to_owned(),
            state,
            placed: None,
            period: Period::Monthly,
            period_price: euros(10),
            base_price: Decimal::from_nanos(0),
            anchor_time: Some(datetime!(2026-01-01 00:00 UTC)),
            end_time: Some(datetime!(2026-01-20 00:00 UTC)),
            cancel_time: None,
            schedule_version: 0,
            is_mirrored: true,
            plan_changes: 0,
            is_plan_told: true,
            period_number: None,
            close_time: None,
            create_time: datetime!(2026-01-01 00:00 UTC),
        }
    }

    fn service(state: ServiceState) -> Service {
        Service {
            service_id: 1,
            order_id: 1,
            key: None,
            customer: Some(CustomerId(7)),
            state,
            plans: None,
            period_nanos: None,
            end: PlannedEnd::Untold,
            create_time: NOW,
        }
    }

    fn kinds(own: &Subscription, service: Option<&Service>) -> Vec<(Kind, Option<Mend>)> {
        let found = compare(own, service, NOW);
        found.into_iter().map(|found| (found.kind, found.mend)).collect()
    }

    #[test]
    fn states_are_compared_both_ways() {
        use Kind as K;
        let (pending, active, ended) =
            (ServiceState::Pending, ServiceState::Active, ServiceState::Ended);
        for (own, there, expected) in [
            (State::Active, Some(active), None),
            (State::Active, Some(pending), Some((K::PendingThere, Some(Mend::Accept)))),
            (State::Active, Some(ended), Some((K::EndedThere, None))),
            (State::Active, None, Some((K::ServiceMissing, None))),
            (State::Pending, Some(pending), Some((K::PendingHere, None))),
            (State::Pending, Some(active), Some((K::PendingHere, None))),
            (State::Pending, Some(ended), Some((K::EndedThere, None))),
            (State::Pending, None, Some((K::ServiceMissing, None))),
            (State::Ordering, None, Some((K::PendingHere, None))),
            (State::Terminated, Some(active), Some((K::EndedHere, Some(Mend::Terminate)))),
            (State::Terminated, Some(pending), Some((K::EndedHere, Some(Mend::Terminate)))),
            (State::Terminated, Some(ended), None),
            (State::Terminated, None, None),
            (State::Cancelled, Some(active), Some((K::EndedHere, Some(Mend::Undo)))),
            (State::Cancelled, Some(ended), None),
            (State::Cancelled, None, None),
        ] {
            let service = there.map(service);
            let found = kinds(&subscription(own), service.as_ref());
            assert_eq!(found.first(), expected.as_ref(), "{own:?} {there:?}");
            assert!(found.len() < 2, "{own:?} {there:?}");
            let young = Subscription { create_time: NOW, ..subscription(own) };
            if matches!(own, State::Pending | State::Ordering) {
                assert_eq!(kinds(&young, service.as_ref()), [], "it is under way: {own:?}");
            }
        }
    }

    #[test]
    fn what_is_active_is_compared_in_detail() {
        let own = subscription(State::Active);
        let there = service(ServiceState::Active);
        let end = datetime!(2026-03-01 00:00 UTC);
        let ending = Subscription { cancel_time: Some(end), ..own.clone() };
        let untold = Subscription { is_mirrored: false, ..ending.clone() };
        let mirror = Some(Mend::Mirror);
        for (own, there, expected) in [
            (&own, there.clone(), vec![]),
            (
                &own,
                Service { customer: None, period_nanos: Some(9_000_000_000), ..there.clone() },
                vec![(Kind::CustomerDiffers, None), (Kind::PriceDiffers, None)],
            ),
            (
                &own,
                Service { plans: Some(vec![PlanId(2)]), ..there.clone() },
                vec![(Kind::PlanDiffers, None)],
            ),
            (
                &own,
                Service {
                    plans: Some(vec![PlanId(2), PlanId(1)]),
                    period_nanos: Some(10_000_000_000),
                    end: PlannedEnd::Never,
                    ..there.clone()
                },
                vec![],
            ),
            (&ending, there.clone(), vec![]),
            (&untold, there.clone(), vec![(Kind::EndDiffers, mirror)]),
            (
                &ending,
                Service { end: PlannedEnd::Never, ..there.clone() },
                vec![(Kind::EndDiffers, mirror)],
            ),
            (&ending, Service { end: PlannedEnd::At(end), ..there.clone() }, vec![]),
            (
                &own,
                Service { end: PlannedEnd::At(NOW), ..there.clone() },
                vec![(Kind::EndDiffers, mirror)],
            ),
        ] {
            assert_eq!(kinds(own, Some(&there)), expected, "{there:?}");
        }
    }
}
