//! One round, part by part: subscriptions and services first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use stowage_auth::{RequestContext, Scope};
use stowage_db::lease::Turns;
use stowage_provider::{ById, OrderRef, PlacedOrder, Service, ServiceState};
use stowage_types::CustomerId;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::compare::{UNDER_WAY, compare, state_text};
use super::cursor::Cursor;
use super::finding::{Finding, Kind, Outcome};
use super::suspects::tell;
use crate::domain::subscription::Subscription;
use crate::domain::{Billing, LEASE};
use crate::error::Error;
use crate::store;

/// Rows of the provider's that are looked at in one part.
pub(super) const ROWS: i64 = 500;
/// Orders, and bills, that are looked at in one part.
pub(super) const PAGE: i64 = 100;
/// How long an order may be unknown before it counts as nobody's. Some providers tell the day only
/// on which it came, so that this is a day at least.
const UNKNOWN: time::Duration = time::Duration::days(2);
/// The first round of a process comes after this long at most.
const FIRST_AFTER: Duration = Duration::from_secs(300);
/// The timer looks at links in one round of so many: each is a call of the provider.
const LINKS_EVERY: u64 = 24;

/// What the last round of the timer found, by kind.
const FINDINGS: &str = "stowage_billing_findings";

/// A part of a round.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) findings: Vec<Finding>,
    pub(crate) looked_at: i64,
    /// `None`: that was all.
    pub(crate) next: Option<Cursor>,
}

/// One round, as its parts are looked at.
pub(super) struct Round<'a> {
    pub(super) billing: &'a Billing,
    pub(super) cx: &'a RequestContext,
    pub(super) mends: bool,
    pub(super) part: Part,
}

impl Billing {
    /// Looks at one part of a round.
    pub(crate) async fn reconcile(
        &self,
        cx: &RequestContext,
        mends: bool,
        from: Cursor,
    ) -> Result<Part, Error> {
        if cx.principal.scope() != Scope::Everything {
            return Err(Error::RoleNotAllowed { what: "reconcile for one customer" });
        }
        let mut round = Round { billing: self, cx, mends, part: Part::default() };
        let next = match from {
            Cursor::Services { place, after } => round.services(place, after).await?,
            Cursor::Orders { after } => round.orders(&after).await?,
            Cursor::Bills { after } => round.bills(&after).await?,
            Cursor::Invoices { place, after } => round.invoices(place, after).await?,
            Cursor::Links { place, after } => round.links(place, after).await?,
            Cursor::Books { place, from } => round.books(place, from).await?,
        };
        round.part.next = next;
        Ok(round.part)
    }

    /// Looks every `interval`, in one replica at a time, named by `owner`, until `stop`. It mends
    /// nothing.
    pub(crate) fn reconcile_until(
        self: Arc<Self>,
        interval: Duration,
        owner: Uuid,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let rounds = || async {
                tokio::time::sleep(interval.min(FIRST_AFTER)).await;
                for number in 0_u64.. {
                    if let Err(error) = self.reconcile_all(number % LINKS_EVERY == 0).await {
                        tracing::warn!(%error, "the provider was not compared; it will be");
                    }
                    tokio::time::sleep(interval).await;
                }
            };
            let turns = Turns::new("reconcile", owner, LEASE, self.db.clone());
            turns.run_until(stop.cancelled(), || self.clock.now(), rounds).await;
        })
    }

    /// A whole round, for the timer.
    async fn reconcile_all(&self, looks_at_links: bool) -> Result<(), Error> {
        let cx = RequestContext::background("reconcile");
        let mut counts: BTreeMap<Kind, u32> = Kind::ALL.map(|kind| (kind, 0)).into();
        let mut from = Some(Cursor::default());
        while let Some(cursor) = from {
            from = match cursor {
                Cursor::Links { .. } if !looks_at_links => Some(first_books()),
                cursor => {
                    let part = self.reconcile(&cx, false, cursor).await?;
                    for finding in &part.findings {
                        tell(finding);
                        *counts.entry(finding.kind).or_default() += 1;
                    }
                    part.next
                }
            };
        }
        for (kind, count) in counts {
            // Links keep the number of the round that has looked at them.
            if kind != Kind::LinkBroken || looks_at_links {
                metrics::gauge!(FINDINGS, "kind" => kind.text()).set(count);
            }
        }
        Ok(())
    }
}

pub(super) fn first_books() -> Cursor {
    Cursor::Books { place: 0, from: String::new() }
}

impl Round<'_> {
    /// The name of an installation by its place.
    pub(super) fn installation(&self, place: usize) -> Option<String> {
        self.billing.provider.installations().into_iter().nth(place)
    }

    /// Services of an installation, against subscriptions of the same range.
    async fn services(&mut self, place: usize, after: i64) -> Result<Option<Cursor>, Error> {
        let Some(installation) = self.installation(place) else {
            return Ok(Some(Cursor::Orders { after: String::new() }));
        };
        let billing = self.billing;
        let by = ById { after, max: ROWS };
        let listed = billing.ask(billing.provider.list_services(&installation, by)).await?;
        let mut through = listed.through;
        let range = (after, through.unwrap_or(i64::MAX), ROWS);
        let name = billing.provider.name();
        let whose = (name, billing.noted_as(&installation));
        let open = store::reconcile::list_open_between(&billing.db, whose, range).await?;
        let service_of = |own: &Subscription| own.placed.map_or(0, |placed| placed.service_id);
        if let Some(last) = open.last().filter(|_| is_full(open.len(), ROWS)) {
            // More of ours than were read: the part ends where these do.
            through = Some(service_of(last));
        }
        let is_in = |id: i64| through.is_none_or(|through| id <= through);
        let rows: Vec<Service> =
            listed.rows.into_iter().filter(|service| is_in(service.service_id)).collect();
        let ids: Vec<i64> = rows.iter().map(|service| service.service_id).collect();
        let known = store::subscription::list(&billing.db, name, Scope::Everything, &ids).await?;
        let mut known: BTreeMap<i64, Subscription> =
            known.into_iter().map(|own| (service_of(&own), own)).collect();
        let missing: Vec<Subscription> =
            open.into_iter().filter(|own| !ids.contains(&service_of(own))).collect();
        self.look_at(rows.len() + missing.len());
        for service in &rows {
            match known.remove(&service.service_id) {
                Some(own) if compare(&own, Some(service), billing.now()).is_empty() => {}
                Some(own) => self.differing(own).await?,
                None => self.stranger(&installation, service).await?,
            }
        }
        // What the provider did not list.
        for own in missing {
            self.differing(own).await?;
        }
        Ok(Some(match through {
            Some(after) => Cursor::Services { place, after },
            None => Cursor::Services { place: place + 1, after: 0 },
        }))
    }

    /// Orders whose ids were never told here.
    async fn orders(&mut self, after: &str) -> Result<Option<Cursor>, Error> {
        let billing = self.billing;
        let (name, page) = (billing.provider.name(), (after, PAGE));
        let found = store::reconcile::list_ordering(&billing.db, name, page).await?;
        let Some(last) = found.last() else {
            return Ok(Some(Cursor::Bills { after: String::new() }));
        };
        let next = Cursor::Orders { after: last.key.to_string() };
        self.look_at(found.len());
        let now = billing.now();
        for own in found.into_iter().filter(|own| now - own.create_time >= UNDER_WAY) {
            self.differing(own).await?;
        }
        Ok(Some(next))
    }

    /// A subscription that seems to differ.
    async fn differing(&mut self, own: Subscription) -> Result<(), Error> {
        let (own, found) = self.billing.differences(own).await?;
        let installation = self.billing.installation_of(&own);
        for difference in found {
            let outcome = self.mend_own(&own, &difference).await?;
            self.part.findings.push(Finding::of(&own, &installation, difference, outcome));
        }
        Ok(())
    }

    /// A service that carries a key of ours, and is that of no subscription.
    async fn stranger(&mut self, installation: &str, service: &Service) -> Result<(), Error> {
        if service.state == ServiceState::Ended {
            return Ok(());
        }
        let billing = self.billing;
        let now = billing.now();
        let since = Some(service.create_time);
        let mut finding = Finding {
            kind: Kind::ServiceUnknown,
            installation: installation.to_owned(),
            service_id: service.service_id,
            s3uid: String::new(),
            customer: service.customer,
            here: "nobody knows its order".to_owned(),
            there: format!("{}, order {}", state_text(service.state), service.order_id),
            since,
            outcome: Outcome::Left,
        };
        let Some(key) = &service.key else {
            self.part.findings.push(finding);
            return Ok(());
        };
        if let Some(own) = store::subscription::find_by_key(&billing.db, key).await? {
            // Where its ids are not known here, it is looked at among the orders; else it is a
            // second one of the same order.
            let Some(placed) = own.placed else { return Ok(()) };
            finding.s3uid = own.s3uid.to_string();
            finding.here = format!("its order is subscription {}", placed.service_id);
            self.part.findings.push(finding);
            return Ok(());
        }
        let is_spent = store::subscription::is_spent(&billing.db, key).await?;
        if is_spent {
            "its order was undone".clone_into(&mut finding.here);
        }
        let order = OrderRef {
            key: key.clone(),
            // Nobody's: it is found by its id then.
            customer: service.customer.unwrap_or(CustomerId(0)),
            installation: billing.noted_as(installation).to_owned(),
            placed: Some(PlacedOrder {
                order_id: service.order_id,
                invoice_id: 0,
                service_id: service.service_id,
            }),
        };
        let seen = billing.ask(billing.provider.find_service(&order)).await?;
        let Some(seen) = seen.filter(|seen| seen.state != ServiceState::Ended) else {
            return Ok(());
        };
        let is_nobodys = is_spent || now - service.create_time > UNKNOWN;
        if seen.state == ServiceState::Pending && is_nobodys {
            finding.outcome = self.mend_stranger(&order, &finding).await?;
        }
        self.part.findings.push(finding);
        Ok(())
    }

    pub(super) fn look_at(&mut self, count: usize) {
        self.part.looked_at += i64::try_from(count).unwrap_or(0);
    }
}

/// Whether there may be more than were read.
pub(super) fn is_full(count: usize, max: i64) -> bool {
    i64::try_from(count).is_ok_and(|count| count >= max)
}
