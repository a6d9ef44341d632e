//! `stowage admin account move …` and what follows it.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use stowage_proto::accounts as pb;
use stowage_proto::accounts::GetAccountRequest;
use stowage_proto::accounts::account_move_service_client::AccountMoveServiceClient;
use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::storage::account_move_service_client::AccountMoveServiceClient as Progress;
use stowage_proto::storage::{
    AccountMove, AccountMoveState, GetAccountMoveRequest, ListAccountMovesRequest,
};
use tonic::Code;

use super::account::Which;
use super::client::{Api, Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

const FLAGS: Flags = &[("name", "ACCOUNT"), ("location", "--to"), ("parent", "ACCOUNT")];
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks in a row that may fail, as while the server is started anew: half a minute.
const FAILED_LOOKS_MAX: u32 = 30;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Move an account to another location, with its keys and all that it stores
    ///
    /// It is copied while its customer goes on, then read-only until both sides are the same, and
    /// then opens at the new location and no more at the old one. Uploads in parts that are not
    /// finished by then are lost. The old side is kept until `move-confirm`. An attempt that has
    /// failed is gone on with.
    Move(Move),
    /// Show how far the newest move of an account is
    MoveStatus(Which),
    /// Have the old side of a moved account deleted, for good
    MoveConfirm(Which),
    /// Give up a move that is not switched; after the switch there is no way back
    MoveCancel(Which),
    /// List moves of accounts, newest first
    Moves {
        #[command(flatten)]
        limit: Limit,
        /// Those that have ended too
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Move {
    #[command(flatten)]
    which: Which,
    /// The location to go to
    #[arg(long, value_name = "LOCATION")]
    to: String,
    /// Wait until it is switched, and show progress on standard error
    #[arg(long)]
    wait: bool,
}

#[derive(Serialize)]
struct MoveRow {
    id: String,
    s3uid: String,
    from: String,
    to: String,
    state: String,
    why: String,
    faults: Vec<String>,
    start_buckets: i64,
    start_objects: i64,
    start_bytes: i64,
    copied_objects: i64,
    copied_bytes: i64,
    checked_objects: i64,
    checked_bytes: i64,
    unfinished_uploads: i64,
    create_time: Option<String>,
    update_time: Option<String>,
    freeze_time: Option<String>,
    switch_time: Option<String>,
    end_time: Option<String>,
}

impl From<AccountMove> for MoveRow {
    fn from(moved: AccountMove) -> Self {
        let s3uid = moved.name.split('/').nth(1).unwrap_or_default().to_owned();
        Self {
            id: output::last_part(&moved.name),
            s3uid,
            from: output::last_part(&moved.from_location),
            to: output::last_part(&moved.to_location),
            state: output::value(moved.state().as_str_name(), "ACCOUNT_MOVE_STATE_"),
            why: moved.why,
            faults: moved.faults,
            start_buckets: moved.start_bucket_count,
            start_objects: moved.start_object_count,
            start_bytes: moved.start_bytes,
            copied_objects: moved.copied_object_count,
            copied_bytes: moved.copied_bytes,
            checked_objects: moved.checked_object_count,
            checked_bytes: moved.checked_bytes,
            unfinished_uploads: moved.unfinished_upload_count,
            create_time: output::time(moved.create_time),
            update_time: output::time(moved.update_time),
            freeze_time: output::time(moved.freeze_time),
            switch_time: output::time(moved.switch_time),
            end_time: output::time(moved.end_time),
        }
    }
}

impl MoveRow {
    /// One line of progress.
    fn progress(&self) -> String {
        let (checked, copied, start) =
            (self.checked_objects, self.copied_objects, self.start_objects);
        let bytes = self.copied_bytes;
        let mut line = format!(
            "{}: {checked} of {start} objects looked at, {copied} copied, {bytes} bytes",
            self.state
        );
        if self.unfinished_uploads > 0 {
            line.push_str(&format!("; {} unfinished uploads stay", self.unfinished_uploads));
        }
        if !self.why.is_empty() {
            line.push_str(&format!("; {}", self.why));
        }
        line
    }
}

impl Row for MoveRow {
    const COLUMNS: &'static [&'static str] = &[
        "S3UID", "FROM", "TO", "STATE", "CHECKED", "COPIED", "OF", "BYTES", "STARTED", "SWITCHED",
        "ENDED", "WHY",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.s3uid.clone(),
            self.from.clone(),
            self.to.clone(),
            self.state.clone(),
            self.checked_objects.to_string(),
            self.copied_objects.to_string(),
            self.start_objects.to_string(),
            self.copied_bytes.to_string(),
            self.create_time.clone().unwrap_or_default(),
            self.switch_time.clone().unwrap_or_default(),
            self.end_time.clone().unwrap_or_default(),
            self.why.clone(),
        ]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::Move(command) => move_account(command, session).await,
        Command::MoveStatus(which) => status(which, session).await,
        Command::MoveConfirm(which) => {
            let name = which.name();
            let confirm = session.client.change(async |api: Api, request_id: String| {
                let request = pb::ConfirmAccountMoveRequest { name: name.clone(), request_id };
                AccountMoveServiceClient::new(api).confirm_account_move(request).await
            });
            let answer = confirm.await.map_err(|status| session.client.explain(&status, FLAGS))?;
            shown(&answer.r#move, session).await
        }
        Command::MoveCancel(which) => {
            let name = which.name();
            let cancel = session.client.change(async |api: Api, request_id: String| {
                let request = pb::CancelAccountMoveRequest { name: name.clone(), request_id };
                AccountMoveServiceClient::new(api).cancel_account_move(request).await
            });
            let answer = cancel.await.map_err(|status| session.client.explain(&status, FLAGS))?;
            shown(&answer.r#move, session).await
        }
        Command::Moves { limit, all } => list(limit, !all, session).await,
    }
}

async fn move_account(command: Move, session: &Session) -> Result<(), Error> {
    let (name, location) = (command.which.name(), format!("locations/{}", command.to));
    let begin = session.client.change(async |api: Api, request_id: String| {
        let (name, location) = (name.clone(), location.clone());
        let request = pb::MoveAccountRequest { name, location, request_id };
        AccountMoveServiceClient::new(api).move_account(request).await
    });
    let begun = begin.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    if !command.wait {
        return shown(&begun.r#move, session).await;
    }
    eprintln!("the move goes on by itself if this command is stopped");
    let row = follow(&begun.r#move, session).await?;
    if !["switched", "confirming", "confirmed"].contains(&row.state.as_str()) {
        let faults = row.faults.iter().map(|fault| format!("\n{fault}")).collect::<String>();
        return Err(Error::Failed(format!("the account is not moved: {}{faults}", row.progress())));
    }
    output::one(session.output, &row)
}

async fn look(name: &str, session: &Session) -> Result<AccountMove, tonic::Status> {
    let request = GetAccountMoveRequest { name: name.to_owned() };
    Ok(Progress::new(session.client.api()).get_account_move(request).await?.into_inner())
}

async fn shown(name: &str, session: &Session) -> Result<(), Error> {
    let found = look(name, session).await;
    let found = found.map_err(|status| session.client.explain(&status, FLAGS))?;
    output::one(session.output, &MoveRow::from(found))
}

/// Shows progress until the move is switched, or goes on no more.
async fn follow(name: &str, session: &Session) -> Result<MoveRow, Error> {
    let (mut shown, mut failed) = (String::new(), 0);
    loop {
        match look(name, session).await {
            Ok(found) => {
                failed = 0;
                let state = found.state();
                let row = MoveRow::from(found);
                let progress = row.progress();
                if progress != shown {
                    eprintln!("{progress}");
                    shown = progress;
                }
                if is_waited_for(state) {
                    return Ok(row);
                }
            }
            Err(status) if status.code() == Code::Unavailable && failed < FAILED_LOOKS_MAX => {
                failed += 1;
            }
            Err(status) => return Err(session.client.explain(&status, FLAGS)),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether a move is where who began it waits for it, or does not get there.
fn is_waited_for(state: AccountMoveState) -> bool {
    use AccountMoveState as State;
    matches!(
        state,
        State::Switched | State::Confirming | State::Confirmed | State::Cancelled | State::Failed
    )
}

async fn status(which: Which, session: &Session) -> Result<(), Error> {
    let explain = |status: tonic::Status| session.client.explain(&status, FLAGS);
    let mut accounts = AccountServiceClient::new(session.client.api());
    let found = accounts.get_account(GetAccountRequest { name: which.name() }).await;
    let s3uid = found.map_err(explain)?.into_inner().s3uid;
    let request = ListAccountMovesRequest {
        parent: format!("accounts/{s3uid}"),
        page_size: 1,
        ..Default::default()
    };
    let listed = Progress::new(session.client.api()).list_account_moves(request).await;
    let newest = listed.map_err(explain)?.into_inner().moves.into_iter().next();
    let newest = newest.ok_or_else(|| Error::Failed("the account was never moved".to_owned()))?;
    output::one(session.output, &MoveRow::from(newest))
}

async fn list(limit: Limit, open_only: bool, session: &Session) -> Result<(), Error> {
    let moves = Progress::new(session.client.api());
    let found = pages(limit, async |page_size, page_token| {
        let parent = "accounts/-".to_owned();
        let request = ListAccountMovesRequest { parent, open_only, page_size, page_token };
        let page = moves.clone().list_account_moves(request).await?.into_inner();
        Ok((page.moves, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<MoveRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}
