//! Customers: who is billed.

use stowage_auth::{RequestContext, Scope};
use stowage_request::Once;
use stowage_types::{Currency, CustomerId, Malformed};
use time::OffsetDateTime;

use super::history::{Cause, Entry, Event};
use super::{Domain, Page};
use crate::error::Error;
use crate::store;

/// Most characters of a mail address.
///
/// Source: RFC 5321, 4.5.3.1.3, less the angle brackets.
const EMAIL_CHARS_MAX: usize = 254;

/// A customer of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Customer {
    pub(crate) id: CustomerId,
    pub(crate) email: String,
    pub(crate) currency: Currency,
    pub(crate) create_time: OffsetDateTime,
}

/// A customer to be created.
#[derive(Debug)]
pub(crate) struct NewCustomer {
    pub(crate) email: String,
    pub(crate) currency: Currency,
}

/// Checks the form of a mail address, as far as can be told without sending mail.
pub(crate) fn check_email(text: &str) -> Result<String, Malformed> {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>(),;:\"[]\\".contains(c);
    let parts = text.split_once('@').filter(|(local, domain)| {
        !local.is_empty()
            && !domain.contains('@')
            && domain.contains('.')
            && domain.split('.').all(|label| !label.is_empty())
    });
    if parts.is_some() && text.chars().all(is_plain) && text.len() <= EMAIL_CHARS_MAX {
        Ok(text.to_owned())
    } else {
        Err(Malformed::new("is not a mail address"))
    }
}

impl Domain {
    /// Creates a customer.
    pub(crate) async fn create_customer(
        &self,
        cx: &RequestContext,
        new: NewCustomer,
        once: &Once<Customer>,
    ) -> Result<Customer, Error> {
        // Administrators and services only: the layers saw to it, and the scope is checked here.
        if cx.principal.scope() != Scope::Everything {
            return Err(Error::RoleNotAllowed { what: "create customers" });
        }
        let now = self.shared.clock.now();
        let mut tx = self.shared.db.begin().await?;
        let customer = match store::customer::insert(&mut tx, &new, now).await {
            Err(error) if error.is_unique("customer.email_key") => return Err(Error::EmailTaken),
            other => other?,
        };
        Entry::new(Event::CustomerCreated, Cause::of(cx))
            .customer(customer.id)
            .new_state(serde_json::json!({ "currency": customer.currency.as_str() }))
            .write(&mut tx, now)
            .await?;
        once.answer(&mut tx, &customer).await?;
        tx.commit().await?;
        Ok(customer)
    }

    /// A customer, if visible to the caller.
    pub(crate) async fn get_customer(
        &self,
        cx: &RequestContext,
        id: CustomerId,
    ) -> Result<Customer, Error> {
        if !cx.sees(id) {
            return Err(Error::CustomerNotFound);
        }
        store::customer::find(&self.shared.db, id).await?.ok_or(Error::CustomerNotFound)
    }

    /// The customer that the caller is or acts for.
    pub(crate) async fn own_customer(&self, cx: &RequestContext) -> Result<Customer, Error> {
        let id = cx.customer().ok_or(Error::CustomerNotFound)?;
        store::customer::find(&self.shared.db, id).await?.ok_or(Error::CustomerNotFound)
    }

    /// Customers with ids above `after`; who acts for one sees that one.
    pub(crate) async fn list_customers(
        &self,
        cx: &RequestContext,
        after: i64,
        size: i64,
    ) -> Result<Page<Customer>, Error> {
        let rows = match cx.principal.scope() {
            Scope::Everything => store::customer::list(&self.shared.db, after, size + 1).await?,
            Scope::Customer(id) if id.0 > after => {
                store::customer::find(&self.shared.db, id).await?.into_iter().collect()
            }
            Scope::Customer(_) => Vec::new(),
        };
        Ok(Page::of(rows, size))
    }
}

#[cfg(test)]
mod tests {
    use super::check_email;

    #[test]
    fn mail_addresses_are_told_from_other_text() {
        let long = format!("{}@example.com", "a".repeat(250));
        for (text, is_good) in [
            ("a@example.com", true),
            ("First.Last+tag@sub.example.co", true),
            ("müller@example.com", true),
            ("", false),
            ("a", false),
            ("a@b", false),
            ("@example.com", false),
            ("a@@example.com", false),
            ("a@example..com", false),
            ("a b@example.com", false),
            ("a@example.com\n", false),
            ("<a@example.com>", false),
            (long.as_str(), false),
        ] {
            assert_eq!(check_email(text).is_ok(), is_good, "{text:?}");
        }
    }
}
