//! `stowage admin account …`.

use clap::Subcommand;
use serde::Serialize;
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::accounts::{Account, GetAccountRequest, ListAccountsRequest};

use super::client::{Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session, amount};

const FLAGS: Flags = &[("name", "ACCOUNT")];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List accounts that are not deleted, by integer id
    List(Limit),
    /// Show an account
    Show {
        /// Its s3uid or its integer id
        account: String,
    },
}

/// Never holds a secret: the keys of an account are read elsewhere, and audited.
#[derive(Serialize)]
struct AccountRow {
    account_id: i64,
    s3uid: String,
    customer_id: i64,
    email: String,
    currency: String,
    plan_id: i64,
    plan_version: i32,
    location: String,
    storage_type: String,
    state: String,
    endpoint: String,
    quota_bytes: i64,
    bucket_max: i32,
    billing: String,
    order_id: i64,
    invoice_id: i64,
    service_id: i64,
    create_time: Option<String>,
    cancel_time: Option<String>,
}

/// The same account, shown whole.
#[derive(Serialize)]
#[serde(transparent)]
struct Detail(AccountRow);

impl From<Account> for AccountRow {
    fn from(account: Account) -> Self {
        let state = output::value(account.state().as_str_name(), "ACCOUNT_STATE_");
        Self {
            account_id: account.account_id,
            s3uid: account.s3uid,
            customer_id: output::id_of(&account.customer),
            email: account.email,
            currency: account.currency,
            plan_id: output::id_of(&account.plan),
            plan_version: account.plan_version,
            location: output::last_part(&account.location),
            storage_type: account.storage_type,
            state,
            endpoint: account.endpoint,
            quota_bytes: account.quota_bytes,
            bucket_max: account.bucket_max,
            billing: account.billing,
            order_id: account.order_id,
            invoice_id: account.invoice_id,
            service_id: account.service_id,
            create_time: output::time(account.create_time),
            cancel_time: output::time(account.cancel_time),
        }
    }
}

impl Row for AccountRow {
    const COLUMNS: &'static [&'static str] =
        &["ACCOUNT", "S3UID", "CUSTOMER", "EMAIL", "PLAN", "LOCATION", "STATE", "CREATED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.account_id.to_string(),
            self.s3uid.clone(),
            self.customer_id.to_string(),
            self.email.clone(),
            self.plan_id.to_string(),
            self.location.clone(),
            self.state.clone(),
            self.create_time.clone().unwrap_or_default(),
        ]
    }
}

impl Row for Detail {
    const COLUMNS: &'static [&'static str] = &[
        "ACCOUNT", "S3UID", "CUSTOMER", "EMAIL", "PLAN", "LOCATION", "STATE", "CREATED",
        "ENDPOINT", "QUOTA", "BUCKETS", "STORAGE", "CURRENCY", "BILLING", "ORDER", "INVOICE",
        "SERVICE", "CANCELS",
    ];

    fn cells(&self) -> Vec<String> {
        let row = &self.0;
        let mut cells = row.cells();
        cells.extend([
            row.endpoint.clone(),
            amount::shown_bytes(row.quota_bytes),
            amount::shown_count(row.bucket_max),
            row.storage_type.clone(),
            row.currency.clone(),
            row.billing.clone(),
            row.order_id.to_string(),
            row.invoice_id.to_string(),
            row.service_id.to_string(),
            row.cancel_time.clone().unwrap_or_default(),
        ]);
        cells
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::List(limit) => list(limit, session).await,
        Command::Show { account } => {
            let name = if account.starts_with("accounts/") {
                account
            } else {
                format!("accounts/{account}")
            };
            let mut accounts = AccountServiceClient::new(session.client.api());
            let answer = accounts.get_account(GetAccountRequest { name }).await;
            let found = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
            output::one(session.output, &Detail(found.into_inner().into()))
        }
    }
}

async fn list(limit: Limit, session: &Session) -> Result<(), Error> {
    let accounts = AccountServiceClient::new(session.client.api());
    let found = pages(limit, async |page_size, page_token| {
        let request = ListAccountsRequest { page_size, page_token, s3uids: Vec::new() };
        let page = accounts.clone().list_accounts(request).await?.into_inner();
        Ok((page.accounts, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, &[]))?;
    let rows: Vec<AccountRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}
