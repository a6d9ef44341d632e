//! History: who did what, when. Entries are written in the transaction of what they tell, into the
//! chain of their customer (`audit`), and never changed. None holds a secret.

use serde_json::Value;
use stowage_auth::{PrincipalRole, RequestContext, Scope};
use stowage_db::Tx;
use stowage_types::{CustomerId, PlanId, S3uid};
use time::OffsetDateTime;

use super::Domain;
use super::audit;
use crate::error::Error;
use crate::store;

/// Who changed a plan, as customers read it: the provider's staff is no business of theirs.
const PROVIDER: &str = "provider";

/// Between who acts and the customer he acts for, where both are one text.
const ACTING_FOR: &str = " for customers/";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    CustomerCreated,
    ApiKeyCreated,
    ApiKeyRevoked,
    SessionOpened,
    SessionClosed,
    AccountOrdered,
    AdoptionBegun,
    AccountAdopted,
    AccountActivated,
    AccountFailed,
    DeletionBegun,
    AccountDeleted,
    CancellationScheduled,
    CancellationWithdrawn,
    AccountSuspended,
    AccountResumed,
    AccountReadOnly,
    AccountCapped,
    AccountUncapped,
    AccountEndScheduled,
    AccountEndWithdrawn,
    InvoiceReminded,
    AccountPlanChanged,
    AccountEnded,
    AccountMended,
    MoveBegun,
    AccountMoved,
    MoveConfirmed,
    MoveCancelled,
    KeyRotated,
    KeyRevoked,
    KeyRead,
    SagaRetried,
    SagaUndone,
    RotationBegun,
    MasterKeyRotated,
    RetirementBegun,
    MasterKeyRetired,
    DeadLetterReplayed,
    WebhookReplayed,
    WebhookTested,
}

impl Event {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::CustomerCreated => "customer.created",
            Self::ApiKeyCreated => "api_key.created",
            Self::ApiKeyRevoked => "api_key.revoked",
            Self::SessionOpened => "session.opened",
            Self::SessionClosed => "session.closed",
            Self::AccountOrdered => "account.ordered",
            Self::AdoptionBegun => "account.adoption_begun",
            Self::AccountAdopted => "account.adopted",
            Self::AccountActivated => "account.activated",
            Self::AccountFailed => "account.failed",
            Self::DeletionBegun => "account.deletion_begun",
            Self::AccountDeleted => "account.deleted",
            Self::CancellationScheduled => "cancellation.scheduled",
            Self::CancellationWithdrawn => "cancellation.withdrawn",
            Self::AccountSuspended => "account.suspended",
            Self::AccountResumed => "account.resumed",
            Self::AccountReadOnly => "account.read_only",
            Self::AccountCapped => "account.capped",
            Self::AccountUncapped => "account.uncapped",
            Self::AccountEndScheduled => "account.end_scheduled",
            Self::AccountEndWithdrawn => "account.end_withdrawn",
            Self::InvoiceReminded => "invoice.reminded",
            Self::AccountPlanChanged => "account.plan_changed",
            Self::AccountEnded => "account.ended",
            Self::AccountMended => "account.mended",
            Self::MoveBegun => "account.move_begun",
            Self::AccountMoved => "account.moved",
            Self::MoveConfirmed => "account.move_confirmed",
            Self::MoveCancelled => "account.move_cancelled",
            Self::KeyRotated => "key.rotated",
            Self::KeyRevoked => "key.revoked",
            Self::KeyRead => "key.read",
            Self::SagaRetried => "saga.retried",
            Self::SagaUndone => "saga.turned_back",
            Self::RotationBegun => "master_key.rotation_begun",
            Self::MasterKeyRotated => "master_key.rotated",
            Self::RetirementBegun => "master_key.retirement_begun",
            Self::MasterKeyRetired => "master_key.retired",
            Self::DeadLetterReplayed => "dead_letter.replayed",
            Self::WebhookReplayed => "webhook.replayed",
            Self::WebhookTested => "webhook.tested",
        }
    }

    /// Whether listings of changes leave it out: clients poll and log in all day, and what happened
    /// must not drown in that.
    fn is_minor(self) -> bool {
        matches!(self, Self::KeyRead | Self::SessionOpened | Self::SessionClosed)
    }
}

/// Who caused an entry, for whom, and by which call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) actor: String,
    /// The customer he acted for; 0: for nobody.
    pub(crate) acted_for: i64,
    /// Empty: written before ids were kept.
    pub(crate) request_id: String,
}

impl Cause {
    /// Of a call.
    pub(crate) fn of(cx: &RequestContext) -> Self {
        Self {
            actor: cx.principal.subject.clone(),
            acted_for: cx.principal.acted_for.map_or(0, |customer| customer.0),
            request_id: cx.request_id.clone(),
        }
    }

    /// As sagas and events carry it, with who acted and for whom in one text
    /// ([`RequestContext::actor`]).
    pub(crate) fn told(actor: &str, request_id: &str) -> Self {
        let parts =
            actor.rsplit_once(ACTING_FOR).and_then(|(who, id)| Some((who, id.parse().ok()?)));
        let (actor, acted_for) = match parts {
            Some((who, CustomerId(customer))) => (who, customer),
            None => (actor, 0),
        };
        Self { actor: actor.to_owned(), acted_for, request_id: request_id.to_owned() }
    }

    /// Who acted and for whom in one text, as listings of changes show it.
    pub(crate) fn text(&self) -> String {
        match self.acted_for {
            0 => self.actor.clone(),
            customer => format!("{}{ACTING_FOR}{customer}", self.actor),
        }
    }
}

/// An entry to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) event: String,
    pub(crate) cause: Cause,
    /// 0: nobody's.
    pub(crate) customer_id: i64,
    /// 0: of no plan.
    pub(crate) plan_id: i64,
    pub(crate) s3uid: String,
    pub(crate) old_json: String,
    pub(crate) new_json: String,
    /// Whether listings of changes leave it out.
    pub(crate) minor: bool,
}

impl Entry {
    pub(crate) fn new(event: Event, cause: Cause) -> Self {
        let minor = event.is_minor();
        Self { event: event.text().to_owned(), cause, minor, ..Self::default() }
    }

    pub(crate) fn customer(mut self, id: CustomerId) -> Self {
        self.customer_id = id.0;
        self
    }

    pub(crate) fn account(mut self, s3uid: &S3uid, plan: PlanId) -> Self {
        self.s3uid = s3uid.to_string();
        self.plan_id = plan.0;
        self
    }

    pub(crate) fn old_state(mut self, state: Value) -> Self {
        self.old_json = state.to_string();
        self
    }

    pub(crate) fn new_state(mut self, state: Value) -> Self {
        self.new_json = state.to_string();
        self
    }

    /// Writes it in the transaction of what it tells, as the last of its chain.
    pub(crate) async fn write(
        self,
        tx: &mut Tx,
        now: OffsetDateTime,
    ) -> Result<(), stowage_db::Error> {
        audit::append(tx, self, now).await
    }
}

/// An entry as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) id: i64,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) entry: Entry,
}

/// Which entries to list.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) plan: Option<PlanId>,
    pub(crate) account: Option<S3uid>,
    /// Set by the domain: own entries and those of plans only.
    pub(crate) seen_by: Option<CustomerId>,
    /// Whether minor entries are listed too.
    pub(crate) with_reads: bool,
    pub(crate) size: i64,
    pub(crate) skip: i64,
}

impl Domain {
    /// Entries, newest first, as far as the caller sees them.
    pub(crate) async fn list_history(
        &self,
        cx: &RequestContext,
        mut filter: Filter,
    ) -> Result<Vec<Recorded>, Error> {
        filter.seen_by = match cx.principal.scope() {
            Scope::Customer(customer) => Some(customer),
            Scope::Everything => None,
        };
        let mut entries = store::history::list(&self.shared.db, &filter).await?;
        if cx.principal.role == PrincipalRole::Customer {
            let currency = cx.principal.currency.map(|currency| currency.as_str().to_owned());
            for Recorded { entry, .. } in &mut entries {
                if entry.customer_id == 0 {
                    hide_from_customers(entry, currency.as_deref().unwrap_or(""));
                }
            }
        }
        Ok(entries)
    }
}

/// Takes the name of the actor and the prices in other currencies off a plan's entry.
fn hide_from_customers(entry: &mut Entry, currency: &str) {
    entry.cause = Cause { actor: PROVIDER.to_owned(), ..Cause::default() };
    for json in [&mut entry.old_json, &mut entry.new_json] {
        if let Ok(mut value) = serde_json::from_str::<Value>(json) {
            keep_currency(&mut value, currency);
            *json = value.to_string();
        }
    }
}

/// Drops items of lists, and fields of maps from currency to price, that are of another currency.
fn keep_currency(value: &mut Value, currency: &str) {
    let is_own = |code: &str| code.is_empty() || code.eq_ignore_ascii_case(currency);
    match value {
        Value::Array(items) => {
            items.retain(|item| currency_of(item).is_none_or(is_own));
            items.iter_mut().for_each(|item| keep_currency(item, currency));
        }
        Value::Object(fields) => {
            let is_code =
                |key: &String| key.len() == 3 && key.bytes().all(|b| b.is_ascii_alphabetic());
            if !fields.is_empty() && fields.keys().all(is_code) {
                fields.retain(|key, _| is_own(key));
            }
            fields.values_mut().for_each(|field| keep_currency(field, currency));
        }
        _ => {}
    }
}

/// The currency that an object says it is of, itself or in its first price.
fn currency_of(value: &Value) -> Option<&str> {
    let fields = value.as_object()?;
    let said = ["currency", "currency_code", "currencyCode"];
    let own = said.iter().find_map(|key| fields.get(*key)?.as_str());
    own.or_else(|| fields.values().find_map(currency_of))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_acted_for_whom_is_one_text_or_two_fields() {
        for (text, actor, acted_for) in [
            ("administrator for customers/1001", "administrator", 1001),
            ("customers/1001", "customers/1001", 0),
            ("services/a for customers/2 for customers/3", "services/a for customers/2", 3),
            ("x for customers/", "x for customers/", 0),
            ("x for customers/-1", "x for customers/-1", 0),
        ] {
            let cause = Cause::told(text, "r");
            assert_eq!((cause.actor.as_str(), cause.acted_for), (actor, acted_for), "{text}");
            assert_eq!(cause.text(), text);
        }
    }

    #[test]
    fn a_customer_reads_prices_of_his_currency_only() {
        let mut plan = json!({
            "title": "Standard",
            "base_price": { "currency_code": "", "units": 10 },
            "prices": [
                { "period_price": { "currency_code": "EUR", "units": 9 } },
                { "period_price": { "currency_code": "USD", "units": 10 } },
            ],
            "price": { "EUR": 9.8, "USD": 10.5 },
        });
        keep_currency(&mut plan, "EUR");
        assert_eq!(plan["prices"].as_array().unwrap().len(), 1);
        assert_eq!(plan["price"], json!({ "EUR": 9.8 }));
        assert_eq!(plan["base_price"]["units"], 10);
        assert_eq!(plan["title"], "Standard");
    }
}
