//! `stowage admin saga …`.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use stowage_proto::accounts::saga_service_client::SagaServiceClient;
use stowage_proto::accounts::{
    GetSagaRequest, ListSagasRequest, RetrySagaRequest, Saga, SagaStatus, UndoSagaRequest,
};
use stowage_proto::common::ErrorReason;
use tonic::Status;

use super::client::{Flags, pages};
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

#[derive(Serialize)]
struct SagaRow {
    id: String,
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

impl From<Saga> for SagaRow {
    fn from(saga: Saga) -> Self {
        let status = output::value(saga.status().as_str_name(), "SAGA_STATUS_");
        let direction = output::value(saga.direction().as_str_name(), "SAGA_DIRECTION_");
        let failure = saga.failure.map(|failure| FailureRow {
            step: failure.step,
            reason: failure.reason,
            why: failure.why,
        });
        Self {
            id: output::last_part(&saga.name),
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
            create_time: output::time(saga.create_time),
            update_time: output::time(saga.update_time),
        }
    }
}

impl From<Saga> for Detail {
    fn from(saga: Saga) -> Self {
        let state = serde_json::from_str(&saga.state_json).unwrap_or_default();
        Self { row: saga.into(), state }
    }
}

impl Row for SagaRow {
    const COLUMNS: &'static [&'static str] =
        &["SAGA", "KIND", "STATUS", "DIRECTION", "STEP", "ATTEMPTS", "FAILURE", "CREATED"];

    fn cells(&self) -> Vec<String> {
        let step = format!("{}/{} {}", self.step_number, self.step_count, self.step);
        let failure = self.failure.as_ref();
        vec![
            self.id.clone(),
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
            self.state.to_string(),
        ]);
        cells
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    let client = &session.client;
    let (id, found) = match command {
        Command::List(list) => return print_list(list, session).await,
        Command::Show { saga } => {
            let name = name_of(&saga);
            let request = GetSagaRequest { name };
            let answer = SagaServiceClient::new(client.api()).get_saga(request).await;
            (saga, answer.map(tonic::Response::into_inner))
        }
        Command::Retry { saga } => {
            let name = name_of(&saga);
            let call = async |api, request_id| {
                let request = RetrySagaRequest { name: name.clone(), request_id };
                SagaServiceClient::new(api).retry_saga(request).await
            };
            (saga, client.change(call).await)
        }
        Command::Undo { saga } => {
            let name = name_of(&saga);
            let call = async |api, request_id| {
                let request = UndoSagaRequest { name: name.clone(), request_id };
                SagaServiceClient::new(api).undo_saga(request).await
            };
            (saga, client.change(call).await)
        }
    };
    let found = found.map_err(|status| explain(session, &status, &id))?;
    output::one(session.output, &Detail::from(found))
}

async fn print_list(list: List, session: &Session) -> Result<(), Error> {
    let sagas = SagaServiceClient::new(session.client.api());
    let status = match list.status {
        None => SagaStatus::Unspecified,
        Some(Which::Running) => SagaStatus::Running,
        Some(Which::Completed) => SagaStatus::Completed,
        Some(Which::Undone) => SagaStatus::Undone,
        Some(Which::Stuck) => SagaStatus::Stuck,
    };
    let found = pages(list.limit, async |page_size, page_token| {
        let (status, kind) = (status.into(), list.kind.clone());
        let request = ListSagasRequest { status, kind, page_size, page_token };
        let page = sagas.clone().list_sagas(request).await?.into_inner();
        Ok((page.sagas, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<SagaRow> = found.into_iter().map(Into::into).collect();
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
