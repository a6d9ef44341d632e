//! `stowage admin saga …`.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use stowage_proto::accounts::saga_service_client::SagaServiceClient;
use stowage_proto::accounts::{self, Saga, SagaStatus};
use stowage_proto::common::ErrorReason;
use stowage_proto::storage;
use stowage_proto::storage::saga_service_client::SagaServiceClient as StorageSagasClient;
use tonic::Status;

use super::client::{Client, Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

const FLAGS: Flags = &[("name", "SAGA"), ("kind", "--kind")];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List sagas, newest first
    List(List),
    /// Show a saga with what it knows
    Show {
        /// Its id
        saga: String,
    },
    /// Try a saga again: one that is stuck, or that pauses between two attempts
    Retry {
        /// Its id
        saga: String,
    },
    /// Turn a saga back: what it has done is undone
    Undo {
        /// Its id
        saga: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those in this status
    #[arg(long, value_enum)]
    status: Option<Which>,
    /// Only those of this kind, such as accounts.create_account.v1
    #[arg(long, default_value = "", hide_default_value = true)]
    kind: String,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    /// They go on by themselves
    Running,
    /// Every step is done
    Completed,
    /// Everything is undone
    Undone,
    /// They wait for you
    Stuck,
}

/// The roles that run sagas.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Accounts,
    Storage,
}

#[derive(Serialize)]
struct SagaRow {
    id: String,
    role: Role,
    kind: String,
    status: String,
    direction: String,
    step: String,
    step_number: i32,
    step_count: i32,
    forward_only: bool,
    attempts: i32,
    next_attempt_time: Option<String>,
    failure: Option<FailureRow>,
    attempt_error: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

#[derive(Serialize)]
struct FailureRow {
    step: String,
    reason: String,
    why: String,
}

/// The same saga, shown whole.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    row: SagaRow,
    state: serde_json::Value,
}

impl From<(Role, Saga)> for SagaRow {
    fn from((role, saga): (Role, Saga)) -> Self {
        let status = output::value(saga.status().as_str_name(), "SAGA_STATUS_");
        let direction = output::value(saga.direction().as_str_name(), "SAGA_DIRECTION_");
        let failure = saga.failure.map(|failure| FailureRow {
            step: failure.step,
            reason: failure.reason,
            why: failure.why,
        });
        Self {
            id: output::last_part(&saga.name),
            role,
            kind: saga.kind,
            status,
            direction,
            step: saga.step,
            step_number: saga.step_number,
            step_count: saga.step_count,
            forward_only: saga.forward_only,
            attempts: saga.attempts,
            next_attempt_time: output::time(saga.next_attempt_time),
            failure,
            attempt_error: saga.attempt_error,
            create_time: output::time(saga.create_time),
            update_time: output::time(saga.update_time),
        }
    }
}

impl From<(Role, Saga)> for Detail {
    fn from((role, saga): (Role, Saga)) -> Self {
        let state = serde_json::from_str(&saga.state_json).unwrap_or_default();
        Self { row: (role, saga).into(), state }
    }
}

impl Row for SagaRow {
    const COLUMNS: &'static [&'static str] =
        &["SAGA", "ROLE", "KIND", "STATUS", "DIRECTION", "STEP", "ATTEMPTS", "FAILURE", "CREATED"];

    fn cells(&self) -> Vec<String> {
        let step = format!("{}/{} {}", self.step_number, self.step_count, self.step);
        let failure = self.failure.as_ref();
        vec![
            self.id.clone(),
            self.role.text().to_owned(),
            self.kind.clone(),
            self.status.clone(),
            self.direction.clone(),
            step.trim_end().to_owned(),
            self.attempts.to_string(),
            failure.map(|failure| failure.reason.clone()).unwrap_or_default(),
            self.create_time.clone().unwrap_or_default(),
        ]
    }
}

impl Row for Detail {
    const COLUMNS: &'static [&'static str] = &[
        "SAGA",
        "ROLE",
        "KIND",
        "STATUS",
        "DIRECTION",
        "STEP",
        "ATTEMPTS",
        "FAILURE",
        "CREATED",
        "CHANGED",
        "NEXT",
        "UNDO",
        "FAILED AT",
        "WHY",
        "LAST ERROR",
        "STATE",
    ];

    fn cells(&self) -> Vec<String> {
        let row = &self.row;
        let failure = row.failure.as_ref();
        let mut cells = row.cells();
        cells.extend([
            row.update_time.clone().unwrap_or_default(),
            row.next_attempt_time.clone().unwrap_or_default(),
            if row.forward_only { "never" } else { "possible" }.to_owned(),
            failure.map(|failure| failure.step.clone()).unwrap_or_default(),
            failure.map(|failure| failure.why.clone()).unwrap_or_default(),
            row.attempt_error.clone(),
            self.state.to_string(),
        ]);
        cells
    }
}

impl Role {
    const ALL: [Self; 2] = [Self::Accounts, Self::Storage];

    fn text(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Storage => "storage",
        }
    }

    async fn get(self, client: &Client, name: String) -> Result<Saga, Status> {
        let api = client.api();
        let found = match self {
            Self::Accounts => {
                let request = accounts::GetSagaRequest { name };
                SagaServiceClient::new(api).get_saga(request).await
            }
            Self::Storage => {
                let request = storage::GetSagaRequest { name };
                StorageSagasClient::new(api).get_saga(request).await
            }
        };
        found.map(tonic::Response::into_inner)
    }

    async fn retry(self, client: &Client, name: String) -> Result<Saga, Status> {
        let call = async |api, request_id| match self {
            Self::Accounts => {
                let request = accounts::RetrySagaRequest { name: name.clone(), request_id };
                SagaServiceClient::new(api).retry_saga(request).await
            }
            Self::Storage => {
                let request = storage::RetrySagaRequest { name: name.clone(), request_id };
                StorageSagasClient::new(api).retry_saga(request).await
            }
        };
        client.change(call).await
    }

    async fn undo(self, client: &Client, name: String) -> Result<Saga, Status> {
        let call = async |api, request_id| match self {
            Self::Accounts => {
                let request = accounts::UndoSagaRequest { name: name.clone(), request_id };
                SagaServiceClient::new(api).undo_saga(request).await
            }
            Self::Storage => {
                let request = storage::UndoSagaRequest { name: name.clone(), request_id };
                StorageSagasClient::new(api).undo_saga(request).await
            }
        };
        client.change(call).await
    }

    async fn list(self, client: &Client, list: &List) -> Result<Vec<Saga>, Status> {
        let status = list.status.map_or(SagaStatus::Unspecified, Which::status).into();
        pages(list.limit, async |page_size, page_token| {
            let (kind, api) = (list.kind.clone(), client.api());
            Ok(match self {
                Self::Accounts => {
                    let request =
                        accounts::ListSagasRequest { status, kind, page_size, page_token };
                    let page = SagaServiceClient::new(api).list_sagas(request).await?.into_inner();
                    (page.sagas, page.next_page_token)
                }
                Self::Storage => {
                    let request = storage::ListSagasRequest { status, kind, page_size, page_token };
                    let page = StorageSagasClient::new(api).list_sagas(request).await?.into_inner();
                    (page.sagas, page.next_page_token)
                }
            })
        })
        .await
    }
}

impl Which {
    fn status(self) -> SagaStatus {
        match self {
            Self::Running => SagaStatus::Running,
            Self::Completed => SagaStatus::Completed,
            Self::Undone => SagaStatus::Undone,
            Self::Stuck => SagaStatus::Stuck,
        }
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    let client = &session.client;
    let id = match &command {
        Command::List(list) => return print_list(list, session).await,
        Command::Show { saga } | Command::Retry { saga } | Command::Undo { saga } => saga,
    };
    let found = async {
        let (role, saga) = find(client, name_of(id)).await?;
        let saga = match &command {
            Command::Retry { .. } => role.retry(client, name_of(id)).await?,
            Command::Undo { .. } => role.undo(client, name_of(id)).await?,
            Command::Show { .. } | Command::List(_) => saga,
        };
        Ok((role, saga))
    };
    let found = found.await.map_err(|status| explain(session, &status, id))?;
    output::one(session.output, &Detail::from(found))
}

/// The saga, and the role that runs it: its id does not say.
async fn find(client: &Client, name: String) -> Result<(Role, Saga), Status> {
    match Role::Accounts.get(client, name.clone()).await {
        Err(status) if stowage_runtime::reason_of(&status) == Some(ErrorReason::SagaNotFound) => {
            Ok((Role::Storage, Role::Storage.get(client, name).await?))
        }
        found => Ok((Role::Accounts, found?)),
    }
}

/// The newest of all roles together: ids begin with the time.
async fn print_list(list: &List, session: &Session) -> Result<(), Error> {
    let mut rows: Vec<SagaRow> = Vec::new();
    for role in Role::ALL {
        let found = role.list(&session.client, list).await;
        let found = found.map_err(|status| session.client.explain(&status, FLAGS))?;
        rows.extend(found.into_iter().map(|saga| (role, saga).into()));
    }
    rows.sort_by(|one, other| other.id.cmp(&one.id));
    rows.truncate(usize::try_from(list.limit.limit).unwrap_or(usize::MAX));
    output::list(session.output, &rows)
}

fn name_of(id: &str) -> String {
    if id.starts_with("sagas/") { id.to_owned() } else { format!("sagas/{id}") }
}

/// Why it was refused, and what to do instead.
fn explain(session: &Session, status: &Status, id: &str) -> Error {
    let message = status.message();
    let instead = match stowage_runtime::reason_of(status) {
        Some(ErrorReason::SagaNotFound) => {
            "`stowage admin saga list` shows which there are; ended ones are kept for 30 days"
                .to_owned()
        }
        Some(ErrorReason::SagaEnded) => {
            format!("nothing was changed; `stowage admin saga show {id}` shows how it ended")
        }
        Some(ErrorReason::SagaForwardOnly) => {
            format!("mend what it failed at, then run `stowage admin saga retry {id}`")
        }
        Some(ErrorReason::SagaKindUnknown) => {
            "run the version of the server that began it, or a later one".to_owned()
        }
        _ => return session.client.explain(status, FLAGS),
    };
    Error::Failed(format!("{message}; {instead}"))
}
