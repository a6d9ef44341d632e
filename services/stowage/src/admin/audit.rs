//! `stowage admin audit …`.

use clap::{Args, Subcommand};
use serde::Serialize;
use stowage_proto::accounts::audit_service_client::AuditServiceClient;
use stowage_proto::accounts::customer_service_client::CustomerServiceClient;
use stowage_proto::accounts::{
    AuditBreak, AuditEntry, ListAuditEntriesRequest, ListCustomersRequest, VerifyAuditRequest,
    VerifyAuditResponse,
};

use super::client::{Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

const FLAGS: Flags = &[("customer", "--customer")];

/// Customers asked for at once.
const CUSTOMERS_PAGE: i32 = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List acts and readings of secrets, newest first
    List {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        limit: Limit,
    },
    /// Verify that nothing of the audit was changed or removed; exit code 1 if something was
    Verify(Whose),
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Whose {
    /// Of this customer only; 0: of none, such as changes of plans
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(0..))]
    customer: Option<i64>,
}

impl Whose {
    /// The name of the customer; empty: all.
    fn name(self) -> String {
        self.customer.map(customer_name).unwrap_or_default()
    }
}

fn customer_name(id: i64) -> String {
    format!("customers/{id}")
}

#[derive(Serialize)]
struct EntryRow {
    id: i64,
    customer_id: i64,
    sequence: i64,
    create_time: Option<String>,
    event: String,
    actor: String,
    acted_for_customer_id: Option<i64>,
    request_id: String,
    plan_id: Option<i64>,
    s3uid: Option<String>,
    old: Option<serde_json::Value>,
    new: Option<serde_json::Value>,
    minor: bool,
    hash: String,
}

impl From<AuditEntry> for EntryRow {
    fn from(entry: AuditEntry) -> Self {
        let id = |name: &str| (!name.is_empty()).then(|| output::id_of(name));
        // A state that is no JSON is shown as the text that it is.
        let state = |text: String| {
            let is_there = !text.is_empty();
            is_there.then(|| serde_json::from_str(&text).unwrap_or_else(|_| text.into()))
        };
        Self {
            id: entry.id,
            customer_id: output::id_of(&entry.customer),
            sequence: entry.sequence,
            create_time: output::time(entry.create_time),
            event: entry.event,
            actor: entry.actor,
            acted_for_customer_id: id(&entry.acted_for),
            request_id: entry.request_id,
            plan_id: id(&entry.plan),
            s3uid: (!entry.s3uid.is_empty()).then_some(entry.s3uid),
            old: state(entry.old_json),
            new: state(entry.new_json),
            minor: entry.minor,
            hash: hex::encode(entry.hash),
        }
    }
}

impl Row for EntryRow {
    const COLUMNS: &'static [&'static str] = &[
        "TIME", "CUSTOMER", "SEQUENCE", "EVENT", "ACTOR", "FOR", "REQUEST", "S3UID", "BEFORE",
        "AFTER",
    ];

    fn cells(&self) -> Vec<String> {
        let json = |state: &Option<serde_json::Value>| {
            state.as_ref().map(ToString::to_string).unwrap_or_default()
        };
        vec![
            self.create_time.clone().unwrap_or_default(),
            self.customer_id.to_string(),
            self.sequence.to_string(),
            self.event.clone(),
            self.actor.clone(),
            self.acted_for_customer_id.map(|id| id.to_string()).unwrap_or_default(),
            self.request_id.clone(),
            self.s3uid.clone().unwrap_or_default(),
            json(&self.old),
            json(&self.new),
        ]
    }
}

/// What was found of one chain.
#[derive(Serialize)]
struct ChainRow {
    customer_id: i64,
    state: &'static str,
    entries: i64,
    first_sequence: i64,
    last_sequence: i64,
    head_hash: String,
    broken: Option<BreakRow>,
}

#[derive(Serialize)]
struct BreakRow {
    kind: String,
    sequence: i64,
    entry_id: i64,
    why: String,
}

impl From<AuditBreak> for BreakRow {
    fn from(found: AuditBreak) -> Self {
        let kind = output::value(found.kind().as_str_name(), "AUDIT_BREAK_KIND_");
        let AuditBreak { sequence, entry_id, why, .. } = found;
        Self { kind, sequence, entry_id, why }
    }
}

impl From<VerifyAuditResponse> for ChainRow {
    fn from(found: VerifyAuditResponse) -> Self {
        let broken = found.broken.map(BreakRow::from);
        Self {
            customer_id: output::id_of(&found.customer),
            state: if broken.is_some() { "broken" } else { "whole" },
            entries: found.entry_count,
            first_sequence: found.first_sequence,
            last_sequence: found.last_sequence,
            head_hash: hex::encode(found.head_hash),
            broken,
        }
    }
}

impl Row for ChainRow {
    const COLUMNS: &'static [&'static str] =
        &["CUSTOMER", "STATE", "ENTRIES", "FIRST", "LAST", "HEAD", "WHY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.customer_id.to_string(),
            self.state.to_owned(),
            self.entries.to_string(),
            self.first_sequence.to_string(),
            self.last_sequence.to_string(),
            self.head_hash.clone(),
            self.broken.as_ref().map(|broken| broken.why.clone()).unwrap_or_default(),
        ]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::List { whose, limit } => list(whose, limit, session).await,
        Command::Verify(whose) => verify(whose, session).await,
    }
}

async fn list(whose: Whose, limit: Limit, session: &Session) -> Result<(), Error> {
    let audit = AuditServiceClient::new(session.client.api());
    let found = pages(limit, async |page_size, page_token| {
        let customer = whose.name();
        let request =
            ListAuditEntriesRequest { customer, page_size, page_token, newest_first: true };
        let page = audit.clone().list_audit_entries(request).await?.into_inner();
        Ok((page.entries, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<EntryRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}

/// Verifies one chain or all, and fails if one is broken, after all were looked at.
async fn verify(whose: Whose, session: &Session) -> Result<(), Error> {
    let rows = match whose.customer {
        Some(customer) => {
            let row = verify_chain(&customer_name(customer), session).await?;
            output::one(session.output, &row)?;
            vec![row]
        }
        None => {
            let rows = verify_all(session).await?;
            output::list(session.output, &rows)?;
            rows
        }
    };
    let broken: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            Some(format!("customer {}: {}", row.customer_id, row.broken.as_ref()?.why))
        })
        .collect();
    if broken.is_empty() { Ok(()) } else { Err(Error::Failed(advice(&broken))) }
}

fn advice(broken: &[String]) -> String {
    format!(
        "the audit was changed outside of Stowage, or the database is damaged:\n  {}\n\
         Stop the server and keep a copy of accounts.db as it is now, as evidence; then find out \
         who could write to it, compare with the last backup whose chains are whole, and restore \
         from it what is missing. Entries before the break are as they were written",
        broken.join("\n  ")
    )
}

/// The chains of all customers, and that of none.
async fn verify_all(session: &Session) -> Result<Vec<ChainRow>, Error> {
    let mut rows = vec![verify_chain(&customer_name(0), session).await?];
    let mut customers = CustomerServiceClient::new(session.client.api());
    let mut page_token = String::new();
    loop {
        let request = ListCustomersRequest { page_size: CUSTOMERS_PAGE, page_token };
        let page = customers.list_customers(request).await;
        let page = page.map_err(|status| session.client.explain(&status, &[]))?.into_inner();
        for customer in page.customers {
            rows.push(verify_chain(&customer.name, session).await?);
        }
        if page.next_page_token.is_empty() {
            return Ok(rows);
        }
        tell(&format!("{} chains verified", rows.len()));
        page_token = page.next_page_token;
    }
}

async fn verify_chain(customer: &str, session: &Session) -> Result<ChainRow, Error> {
    let mut audit = AuditServiceClient::new(session.client.api());
    let mut page_token = String::new();
    loop {
        let customer = customer.to_owned();
        let request = VerifyAuditRequest { customer, page_token, ..Default::default() };
        let found = audit.verify_audit(request).await;
        let found = found.map_err(|status| session.client.explain(&status, FLAGS))?.into_inner();
        if found.next_page_token.is_empty() {
            return Ok(found.into());
        }
        tell(&format!("{}: {} entries verified", found.customer, found.entry_count));
        page_token = found.next_page_token;
    }
}

/// Says how far it has come, for those who wait. Standard output is for the answer.
fn tell(how_far: &str) {
    eprintln!("{how_far}");
}
