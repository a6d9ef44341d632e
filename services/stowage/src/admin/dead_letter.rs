//! `stowage admin dead-letter …`.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use stowage_proto::accounts::dead_letter_service_client::DeadLetterServiceClient;
use stowage_proto::common::{DeadLetter, DeadLetterStatus, ErrorReason};
use stowage_proto::metering::dead_letter_service_client::DeadLetterServiceClient as OfMetering;
use stowage_proto::{accounts, metering};
use tonic::Status;

use super::client::{Client, Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

const FLAGS: Flags = &[("name", "LETTER"), ("consumer", "--consumer")];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List dead letters, newest first
    List(List),
    /// Show a dead letter with what its event holds
    Show {
        /// Its id
        letter: String,
    },
    /// Hand the event of dead letters to its consumer again, when the cause is mended
    ///
    /// Exit code 1: not all were taken. Those that were stay so.
    Replay {
        /// Their ids, in the order in which they are handed over
        #[arg(required = true)]
        letters: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those in this status
    #[arg(long, value_enum)]
    status: Option<Which>,
    /// Only those of this consumer, such as metering or accounts.history
    #[arg(long, default_value = "", hide_default_value = true)]
    consumer: String,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    /// They wait for you
    Waiting,
    /// A later attempt took them
    Taken,
}

/// The roles that keep dead letters.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Accounts,
    Metering,
}

#[derive(Serialize)]
struct LetterRow {
    id: String,
    role: Role,
    consumer: String,
    status: String,
    reason: String,
    attempts: i64,
    event: EventRow,
    create_time: Option<String>,
    update_time: Option<String>,
}

#[derive(Serialize)]
struct EventRow {
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: Option<String>,
}

/// The same letter, shown whole.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    row: LetterRow,
    /// What the event holds, in hexadecimal digits.
    data_hex: String,
}

impl From<(Role, DeadLetter)> for LetterRow {
    fn from((role, letter): (Role, DeadLetter)) -> Self {
        let status = output::value(letter.status().as_str_name(), "DEAD_LETTER_STATUS_");
        Self {
            id: output::last_part(&letter.name),
            role,
            consumer: letter.consumer,
            status,
            reason: letter.reason,
            attempts: letter.attempts,
            event: EventRow {
                id: letter.event_id,
                source: letter.event_source,
                kind: letter.event_type,
                subject: letter.event_subject,
                time: output::time(letter.event_time),
            },
            create_time: output::time(letter.create_time),
            update_time: output::time(letter.update_time),
        }
    }
}

impl From<(Role, DeadLetter)> for Detail {
    fn from((role, mut letter): (Role, DeadLetter)) -> Self {
        let data = std::mem::take(&mut letter.event_data);
        Self { row: (role, letter).into(), data_hex: hex::encode(data) }
    }
}

impl Row for LetterRow {
    const COLUMNS: &'static [&'static str] =
        &["LETTER", "CONSUMER", "STATUS", "TYPE", "SUBJECT", "ATTEMPTS", "REASON", "CREATED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.consumer.clone(),
            self.status.clone(),
            self.event.kind.clone(),
            self.event.subject.clone(),
            self.attempts.to_string(),
            self.reason.clone(),
            self.create_time.clone().unwrap_or_default(),
        ]
    }
}

impl Row for Detail {
    const COLUMNS: &'static [&'static str] = &[
        "LETTER", "CONSUMER", "STATUS", "TYPE", "SUBJECT", "ATTEMPTS", "REASON", "CREATED",
        "CHANGED", "ROLE", "EVENT", "SOURCE", "HAPPENED", "DATA",
    ];

    fn cells(&self) -> Vec<String> {
        let (row, event) = (&self.row, &self.row.event);
        let mut cells = row.cells();
        cells.extend([
            row.update_time.clone().unwrap_or_default(),
            row.role.text().to_owned(),
            event.id.clone(),
            event.source.clone(),
            event.time.clone().unwrap_or_default(),
            self.data_hex.clone(),
        ]);
        cells
    }
}

impl Role {
    const ALL: [Self; 2] = [Self::Accounts, Self::Metering];

    fn text(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Metering => "metering",
        }
    }

    async fn get(self, client: &Client, name: String) -> Result<DeadLetter, Status> {
        let api = client.api();
        let found = match self {
            Self::Accounts => {
                let request = accounts::GetDeadLetterRequest { name };
                DeadLetterServiceClient::new(api).get_dead_letter(request).await
            }
            Self::Metering => {
                let request = metering::GetDeadLetterRequest { name };
                OfMetering::new(api).get_dead_letter(request).await
            }
        };
        found.map(tonic::Response::into_inner)
    }

    async fn replay(self, client: &Client, name: String) -> Result<DeadLetter, Status> {
        let call = async |api, request_id| match self {
            Self::Accounts => {
                let request = accounts::ReplayDeadLetterRequest { name: name.clone(), request_id };
                DeadLetterServiceClient::new(api).replay_dead_letter(request).await
            }
            Self::Metering => {
                let request = metering::ReplayDeadLetterRequest { name: name.clone(), request_id };
                OfMetering::new(api).replay_dead_letter(request).await
            }
        };
        client.change(call).await
    }

    async fn list(self, client: &Client, list: &List) -> Result<Vec<DeadLetter>, Status> {
        let status = list.status.map_or(DeadLetterStatus::Unspecified, Which::status).into();
        pages(list.limit, async |page_size, page_token| {
            let (consumer, api) = (list.consumer.clone(), client.api());
            Ok(match self {
                Self::Accounts => {
                    let request = accounts::ListDeadLettersRequest {
                        status,
                        consumer,
                        page_size,
                        page_token,
                    };
                    let page = DeadLetterServiceClient::new(api).list_dead_letters(request).await?;
                    let page = page.into_inner();
                    (page.dead_letters, page.next_page_token)
                }
                Self::Metering => {
                    let request = metering::ListDeadLettersRequest {
                        status,
                        consumer,
                        page_size,
                        page_token,
                    };
                    let page = OfMetering::new(api).list_dead_letters(request).await?.into_inner();
                    (page.dead_letters, page.next_page_token)
                }
            })
        })
        .await
    }
}

impl Which {
    fn status(self) -> DeadLetterStatus {
        match self {
            Self::Waiting => DeadLetterStatus::Waiting,
            Self::Taken => DeadLetterStatus::Taken,
        }
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::List(list) => print_list(&list, session).await,
        Command::Show { letter } => {
            let found = find(&session.client, &letter).await;
            let found = found.map_err(|status| explain(session, &status, &letter))?;
            output::one(session.output, &Detail::from(found))
        }
        Command::Replay { letters } => replay(&letters, session).await,
    }
}

/// Hands over one after the other; one that is not taken does not keep those behind it.
async fn replay(letters: &[String], session: &Session) -> Result<(), Error> {
    let (mut taken, mut faults) = (Vec::new(), Vec::new());
    for id in letters {
        let replayed = async {
            let (role, letter) = find(&session.client, id).await?;
            Ok((role, role.replay(&session.client, letter.name).await?))
        };
        match replayed.await {
            Ok(letter) => taken.push(LetterRow::from(letter)),
            Err(status) => faults.push(explain(session, &status, id)),
        }
    }
    if !taken.is_empty() {
        output::list(session.output, &taken)?;
    }
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.remove(0)),
        _ => {
            let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Err(Error::Failed(texts.join("\n")))
        }
    }
}

/// The letter, and the role that keeps it: its id does not say.
async fn find(client: &Client, id: &str) -> Result<(Role, DeadLetter), Status> {
    let name =
        if id.starts_with("deadLetters/") { id.to_owned() } else { format!("deadLetters/{id}") };
    match Role::Accounts.get(client, name.clone()).await {
        Err(status)
            if stowage_runtime::reason_of(&status) == Some(ErrorReason::DeadLetterNotFound) =>
        {
            Ok((Role::Metering, Role::Metering.get(client, name).await?))
        }
        found => Ok((Role::Accounts, found?)),
    }
}

/// The newest of all roles together: ids begin with the time.
async fn print_list(list: &List, session: &Session) -> Result<(), Error> {
    let mut rows: Vec<LetterRow> = Vec::new();
    for role in Role::ALL {
        let found = role.list(&session.client, list).await;
        let found = found.map_err(|status| session.client.explain(&status, FLAGS))?;
        rows.extend(found.into_iter().map(|letter| (role, letter).into()));
    }
    rows.sort_by(|one, other| other.id.cmp(&one.id));
    rows.truncate(usize::try_from(list.limit.limit).unwrap_or(usize::MAX));
    output::list(session.output, &rows)
}

/// Why it was refused, and what to do instead.
fn explain(session: &Session, status: &Status, id: &str) -> Error {
    let message = status.message();
    let instead = match stowage_runtime::reason_of(status) {
        Some(ErrorReason::DeadLetterNotFound) => {
            "`stowage admin dead-letter list` shows which there are; those that were taken are \
             kept for 30 days"
                .to_owned()
        }
        Some(ErrorReason::DeadLetterTaken) => "nothing was done".to_owned(),
        Some(ErrorReason::DeadLetterRefused) => {
            format!("mend that, then run `stowage admin dead-letter replay {id}` again")
        }
        Some(ErrorReason::DeadLetterConsumerUnknown) => {
            "run the version of the server that has it, or a later one".to_owned()
        }
        _ => return session.client.explain(status, FLAGS),
    };
    Error::Failed(format!("{id}: {message}; {instead}"))
}
