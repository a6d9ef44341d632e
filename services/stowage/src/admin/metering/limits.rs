//! `stowage admin metering limits` and `alerts`.

use clap::Args;
use serde::Serialize;
use stowage_proto::metering::limit_service_client::LimitServiceClient;
use stowage_proto::metering::{
    AccountLimits, Alert, GetLimitsRequest, Limit as WireLimit, LimitKind, ListAlertsRequest,
};

use crate::admin::client::{Flags, pages};
use crate::admin::output::{self, Row};
use crate::admin::{Error, Limit, Session};

const FLAGS: Flags = &[("s3uid", "ACCOUNT")];

#[derive(Debug, Args)]
pub(in crate::admin) struct Limits {
    /// The account's s3uid
    account: String,
}

#[derive(Debug, Args)]
pub(in crate::admin) struct Alerts {
    /// Only of this account, by its s3uid
    #[arg(default_value = "")]
    account: String,
    #[command(flatten)]
    limit: Limit,
}

/// A limit of an account, and what of it is used.
#[derive(Serialize)]
struct LimitRow {
    limit: String,
    limit_bytes: i64,
    used_bytes: i64,
    used_percent: i64,
    period_start: Option<String>,
    period_end: Option<String>,
    /// Since when the account can only be read for it.
    capped_since: Option<String>,
    as_of: Option<String>,
}

/// How a kind is printed.
fn kind_of(kind: LimitKind) -> String {
    output::value(kind.as_str_name(), "LIMIT_KIND_")
}

fn rows_of(found: &AccountLimits) -> Vec<LimitRow> {
    let row = |limit: &WireLimit| LimitRow {
        limit: kind_of(limit.kind()),
        limit_bytes: limit.limit_bytes,
        used_bytes: limit.used_bytes,
        used_percent: limit.used_percent,
        period_start: output::time(found.period_start_time),
        period_end: output::time(found.period_end_time),
        capped_since: output::time(found.cap_time.filter(|_| limit.kind == found.cap)),
        as_of: output::time(found.as_of_time),
    };
    found.limits.iter().map(row).collect()
}

impl Row for LimitRow {
    const COLUMNS: &'static [&'static str] =
        &["LIMIT", "BYTES", "USED", "PERCENT", "PERIOD ENDS", "READ-ONLY SINCE", "AS OF"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.limit.clone(),
            self.limit_bytes.to_string(),
            self.used_bytes.to_string(),
            self.used_percent.to_string(),
            self.period_end.clone().unwrap_or_default(),
            self.capped_since.clone().unwrap_or_default(),
            self.as_of.clone().unwrap_or_default(),
        ]
    }
}

/// An alert that was raised.
#[derive(Serialize)]
struct AlertRow {
    account: String,
    customer_id: i64,
    limit: String,
    percent: i32,
    limit_bytes: i64,
    used_bytes: i64,
    period_start: Option<String>,
    period_end: Option<String>,
    raised: Option<String>,
}

impl From<Alert> for AlertRow {
    fn from(alert: Alert) -> Self {
        Self {
            limit: kind_of(alert.kind()),
            account: alert.s3uid,
            customer_id: alert.customer_id,
            percent: alert.percent,
            limit_bytes: alert.limit_bytes,
            used_bytes: alert.used_bytes,
            period_start: output::time(alert.period_start_time),
            period_end: output::time(alert.period_end_time),
            raised: output::time(alert.raise_time),
        }
    }
}

impl Row for AlertRow {
    const COLUMNS: &'static [&'static str] =
        &["RAISED", "ACCOUNT", "CUSTOMER", "LIMIT", "PERCENT", "BYTES", "USED", "PERIOD ENDS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.raised.clone().unwrap_or_default(),
            self.account.clone(),
            self.customer_id.to_string(),
            self.limit.clone(),
            self.percent.to_string(),
            self.limit_bytes.to_string(),
            self.used_bytes.to_string(),
            self.period_end.clone().unwrap_or_default(),
        ]
    }
}

pub(super) async fn limits(command: Limits, session: &Session) -> Result<(), Error> {
    let mut client = LimitServiceClient::new(session.client.api());
    let found = client.get_limits(GetLimitsRequest { s3uid: command.account }).await;
    let found = found.map_err(|status| session.client.explain(&status, FLAGS))?;
    output::list(session.output, &rows_of(&found.into_inner()))
}

pub(super) async fn alerts(command: Alerts, session: &Session) -> Result<(), Error> {
    let client = LimitServiceClient::new(session.client.api());
    let found = pages(command.limit, async |page_size, page_token| {
        let s3uid = command.account.clone();
        let request = ListAlertsRequest { s3uid, page_size, page_token };
        let page = client.clone().list_alerts(request).await?.into_inner();
        Ok((page.alerts, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<AlertRow> = found.into_iter().map(AlertRow::from).collect();
    output::list(session.output, &rows)
}
