//! `stowage admin api-key …`.

use clap::{Args, Subcommand};
use serde::Serialize;
use stowage_proto::accounts::session_service_client::SessionServiceClient;
use stowage_proto::accounts::{
    ApiKey, CreateApiKeyRequest, ListApiKeysRequest, RevokeApiKeyRequest,
};
use stowage_types::{CustomerId, name};

use super::client::{Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

const FLAGS: Flags = &[("label", "--label"), ("customer", "CUSTOMER_ID"), ("name", "ID")];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an API key, which is shown this once
    Create(Create),
    /// List the API keys of a customer, oldest first
    List {
        /// Whose
        customer_id: CustomerId,
        #[command(flatten)]
        limit: Limit,
    },
    /// Revoke an API key and every token got with it
    Revoke {
        /// Its id, as `list` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Whose
    customer_id: CustomerId,
    /// What it is for
    #[arg(long, default_value = "")]
    label: String,
}

#[derive(Serialize)]
struct KeyRow {
    id: String,
    customer_id: i64,
    hint: String,
    label: String,
    create_time: Option<String>,
    revoke_time: Option<String>,
}

#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    key: KeyRow,
    api_key: String,
}

impl From<ApiKey> for KeyRow {
    fn from(key: ApiKey) -> Self {
        Self {
            id: output::last_part(&key.name),
            customer_id: output::id_of(&key.customer),
            hint: key.hint,
            label: key.label,
            create_time: output::time(key.create_time),
            revoke_time: output::time(key.revoke_time),
        }
    }
}

impl Row for KeyRow {
    const COLUMNS: &'static [&'static str] =
        &["ID", "CUSTOMER", "BEGINS", "LABEL", "CREATED", "REVOKED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.customer_id.to_string(),
            self.hint.clone(),
            self.label.clone(),
            self.create_time.clone().unwrap_or_default(),
            self.revoke_time.clone().unwrap_or_default(),
        ]
    }
}

impl Row for Created {
    const COLUMNS: &'static [&'static str] = &["ID", "CUSTOMER", "API KEY"];

    fn cells(&self) -> Vec<String> {
        vec![self.key.id.clone(), self.key.customer_id.to_string(), self.api_key.clone()]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::Create(create) => {
            let customer = name::customer(create.customer_id);
            let make = async |api, request_id| {
                let (customer, label) = (customer.clone(), create.label.clone());
                let request = CreateApiKeyRequest { customer, label, request_id };
                SessionServiceClient::new(api).create_api_key(request).await
            };
            let answer = session.client.change(make).await;
            let made = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
            let key = made.api_key.unwrap_or_default().into();
            output::one(session.output, &Created { key, api_key: made.secret })
        }
        Command::List { customer_id, limit } => list(customer_id, limit, session).await,
        Command::Revoke { id } => {
            let name = if id.starts_with("apiKeys/") { id } else { format!("apiKeys/{id}") };
            let revoke = async |api, request_id| {
                let request = RevokeApiKeyRequest { name: name.clone(), request_id };
                SessionServiceClient::new(api).revoke_api_key(request).await
            };
            let answer = session.client.change(revoke).await;
            let key = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
            output::one(session.output, &KeyRow::from(key))
        }
    }
}

async fn list(customer: CustomerId, limit: Limit, session: &Session) -> Result<(), Error> {
    let sessions = SessionServiceClient::new(session.client.api());
    let found = pages(limit, async |page_size, page_token| {
        let customer = name::customer(customer);
        let request = ListApiKeysRequest { customer, page_size, page_token };
        let page = sessions.clone().list_api_keys(request).await?.into_inner();
        Ok((page.api_keys, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<KeyRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}
