//! `stowage admin usage ACCOUNT --focus`: what was used, in the columns of FOCUS 1.2.
//!
//! It costs nothing here: what it is charged with is in `invoice export`, whose rows are per bill
//! and not per step. So both files together count nothing twice.

use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::accounts::{Account, GetAccountRequest};
use stowage_types::from_timestamp;
use time::{Date, Duration, Month, OffsetDateTime};

use super::{FLAGS, Step, StepRow};
use crate::admin::focus::{FocusRow, PROVIDER, stamp_of};
use crate::admin::output;
use crate::admin::{Error, Session};

/// Whose usage it is.
pub(super) struct About {
    account: Account,
    step: Step,
}

impl About {
    pub(super) async fn find(s3uid: &str, step: Step, session: &Session) -> Result<Self, Error> {
        let request = GetAccountRequest { name: format!("accounts/{s3uid}") };
        let found = AccountServiceClient::new(session.client.api()).get_account(request).await;
        let found = found.map_err(|status| session.client.explain(&status, FLAGS))?;
        Ok(Self { account: found.into_inner(), step })
    }

    /// A row for each figure of a step that is not 0.
    pub(super) fn rows(
        &self,
        step: &StepRow,
        start: Option<prost_types::Timestamp>,
    ) -> impl Iterator<Item = FocusRow> {
        let figures = [
            ("stored", "Storage", step.stored_byte_hours.clone(), "Byte-Hours"),
            ("received", "Bytes received", step.received_bytes.to_string(), "Bytes"),
            ("sent", "Bytes sent", step.sent_bytes.to_string(), "Bytes"),
            ("reads", "Requests that read", step.read_requests.to_string(), "Requests"),
            ("writes", "Requests that write", step.write_requests.to_string(), "Requests"),
        ];
        let start = start.and_then(|wire| from_timestamp(&wire).ok());
        let base = self.row(step, start.unwrap_or(OffsetDateTime::UNIX_EPOCH));
        let plan = output::last_part(&self.account.plan);
        let used = figures.into_iter().filter(|(_, _, quantity, _)| quantity != "0");
        used.map(move |(kind, description, quantity, unit)| FocusRow {
            description: match base.description.as_str() {
                "" => description.to_owned(),
                bucket => format!("{description}, bucket {bucket}"),
            },
            consumed: (quantity.clone(), unit),
            priced: (quantity, unit),
            sku: (format!("plan-{plan}"), format!("plan-{plan}-usage-{kind}")),
            ..base.clone()
        })
    }

    /// What all rows of a step have.
    fn row(&self, step: &StepRow, start: OffsetDateTime) -> FocusRow {
        let account = &self.account;
        let month = month_of(start);
        FocusRow {
            cost: "0".to_owned(),
            customer_id: output::id_of(&account.customer),
            currency: account.currency.clone(),
            billing_period: (stamp_of(month), stamp_of(month_of(month + Duration::days(31)))),
            category: "Usage",
            description: step.bucket.clone(),
            frequency: "Usage-Based",
            charge_period: (stamp_of(start), stamp_of(self.end_of(start))),
            issuer: PROVIDER.to_owned(),
            location: output::last_part(&account.location),
            s3uid: account.s3uid.clone(),
            service: format!("Object storage, {}", account.storage_type),
            as_of: step.as_of.clone().unwrap_or_default(),
            plan_version: account.plan_version.to_string(),
            source: step.source.clone(),
            ..FocusRow::default()
        }
    }

    fn end_of(&self, start: OffsetDateTime) -> OffsetDateTime {
        match self.step {
            Step::Hour => start + Duration::HOUR,
            Step::Day => start + Duration::DAY,
            Step::Month => month_of(start + Duration::days(31)),
        }
    }
}

/// The start of the month of the calendar that a moment is in.
fn month_of(time: OffsetDateTime) -> OffsetDateTime {
    let (year, month): (i32, Month) = (time.year(), time.month());
    let first = Date::from_calendar_date(year, month, 1);
    first.map_or(time, |day| day.midnight().assume_utc())
}
