//! `stowage admin account …`.

use clap::{Args, Subcommand};
use serde::Serialize;
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::accounts::{
    Account, AccountCap, ChangeAccountPlanRequest, GetAccountRequest, ListAccountsRequest,
    ResumeAccountRequest, SuspendAccountRequest, SuspensionCause,
};
use stowage_types::{PlanId, name};
use tonic::Status;

use super::client::{Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session, account_move, amount};

const FLAGS: Flags = &[("name", "ACCOUNT"), ("reason", "--reason"), ("plan", "PLAN_ID")];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List accounts that are not deleted, by integer id
    List(Limit),
    /// Show an account
    Show(Which),
    /// Suspend an account: S3 refuses its requests, its data is kept, its subscription runs on
    Suspend {
        #[command(flatten)]
        which: Which,
        /// Why, for the account's history
        #[arg(long, default_value = "")]
        reason: String,
        /// An invoice is unpaid, rather than that you want it so
        #[arg(long)]
        unpaid: bool,
    },
    /// End a suspension, and an end that is scheduled for an unpaid invoice
    Resume {
        #[command(flatten)]
        which: Which,
        /// Why, for the account's history
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Move an account to the newest version of a plan; its quota holds at once, its price from the
    /// next period on
    Plan {
        #[command(flatten)]
        which: Which,
        /// The plan
        plan_id: PlanId,
    },
    #[command(flatten)]
    Moving(account_move::Command),
}

/// An account, as people name it.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Its s3uid or its integer id
    account: String,
}

impl Which {
    /// As the API names it.
    pub(super) fn name(self) -> String {
        match self.account.starts_with("accounts/") {
            true => self.account,
            false => format!("accounts/{}", self.account),
        }
    }
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
    key_max: i32,
    billing: String,
    order_id: i64,
    invoice_id: i64,
    service_id: i64,
    create_time: Option<String>,
    cancel_time: Option<String>,
    suspension_cause: Option<String>,
    delete_time: Option<String>,
    unpaid_end_time: Option<String>,
    cap: Option<String>,
}

/// The same account, shown whole.
#[derive(Serialize)]
#[serde(transparent)]
struct Detail(AccountRow);

impl From<Account> for AccountRow {
    fn from(account: Account) -> Self {
        let state = output::value(account.state().as_str_name(), "ACCOUNT_STATE_");
        let cause = account.suspension_cause();
        let suspension_cause = (cause != SuspensionCause::Unspecified)
            .then(|| output::value(cause.as_str_name(), "SUSPENSION_CAUSE_"));
        let cap = (account.cap() != AccountCap::Unspecified)
            .then(|| output::value(account.cap().as_str_name(), "ACCOUNT_CAP_"));
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
            key_max: account.key_max,
            billing: account.billing,
            order_id: account.order_id,
            invoice_id: account.invoice_id,
            service_id: account.service_id,
            create_time: output::time(account.create_time),
            cancel_time: output::time(account.cancel_time),
            suspension_cause,
            delete_time: output::time(account.delete_time),
            unpaid_end_time: output::time(account.unpaid_end_time),
            cap,
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
        "ACCOUNT",
        "S3UID",
        "CUSTOMER",
        "EMAIL",
        "PLAN",
        "LOCATION",
        "STATE",
        "CREATED",
        "ENDPOINT",
        "QUOTA",
        "BUCKETS",
        "KEYS",
        "STORAGE",
        "CURRENCY",
        "BILLING",
        "ORDER",
        "INVOICE",
        "SERVICE",
        "CANCELS",
        "SUSPENDED BY",
        "DELETED ON",
        "UNPAID END",
        "AT CAP OF",
    ];

    fn cells(&self) -> Vec<String> {
        let row = &self.0;
        let mut cells = row.cells();
        cells.extend([
            row.endpoint.clone(),
            amount::shown_bytes(row.quota_bytes),
            amount::shown_count(row.bucket_max),
            row.key_max.to_string(),
            row.storage_type.clone(),
            row.currency.clone(),
            row.billing.clone(),
            row.order_id.to_string(),
            row.invoice_id.to_string(),
            row.service_id.to_string(),
            row.cancel_time.clone().unwrap_or_default(),
            row.suspension_cause.clone().unwrap_or_default(),
            row.delete_time.clone().unwrap_or_default(),
            row.unpaid_end_time.clone().unwrap_or_default(),
            row.cap.clone().unwrap_or_default(),
        ]);
        cells
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::List(limit) => list(limit, session).await,
        Command::Show(which) => {
            let mut accounts = AccountServiceClient::new(session.client.api());
            let answer = accounts.get_account(GetAccountRequest { name: which.name() }).await;
            let found = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
            output::one(session.output, &Detail(found.into_inner().into()))
        }
        Command::Suspend { which, reason, unpaid } => {
            let cause = match unpaid {
                true => SuspensionCause::Unpaid,
                false => SuspensionCause::Administrator,
            };
            let (name, cause) = (which.name(), cause.into());
            let suspend = async |api, request_id| {
                let (name, reason) = (name.clone(), reason.clone());
                let request = SuspendAccountRequest { name, cause, reason, request_id };
                AccountServiceClient::new(api).suspend_account(request).await
            };
            shown(session.client.change(suspend).await, session)
        }
        Command::Resume { which, reason } => {
            let name = which.name();
            let resume = async |api, request_id| {
                let (name, reason) = (name.clone(), reason.clone());
                let request = ResumeAccountRequest { name, reason, request_id };
                AccountServiceClient::new(api).resume_account(request).await
            };
            shown(session.client.change(resume).await, session)
        }
        Command::Plan { which, plan_id } => {
            let (name, plan) = (which.name(), name::plan(plan_id));
            let change = async |api, request_id| {
                let (name, plan) = (name.clone(), plan.clone());
                let request = ChangeAccountPlanRequest { name, plan, request_id };
                AccountServiceClient::new(api).change_account_plan(request).await
            };
            shown(session.client.change(change).await, session)
        }
        Command::Moving(command) => account_move::run(command, session).await,
    }
}

/// Prints the account that a change came to.
fn shown(answer: Result<Account, Status>, session: &Session) -> Result<(), Error> {
    let account = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
    output::one(session.output, &Detail(account.into()))
}

async fn list(limit: Limit, session: &Session) -> Result<(), Error> {
    let accounts = AccountServiceClient::new(session.client.api());
    let found = pages(limit, async |page_size, page_token| {
        let request = ListAccountsRequest { page_size, page_token, ..Default::default() };
        let page = accounts.clone().list_accounts(request).await?.into_inner();
        Ok((page.accounts, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, &[]))?;
    let rows: Vec<AccountRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}
