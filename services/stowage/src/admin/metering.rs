//! `stowage admin metering …`.

mod limits;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use stowage_proto::metering::fact_service_client::FactServiceClient;
use stowage_proto::metering::{
    FactConflict, ListFactConflictsRequest, RebuildRollupsRequest, RebuildRollupsResponse,
    RollupDifference,
};
use tonic::Code;

use super::client::{Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

const FLAGS: Flags = &[("s3uids", "ACCOUNT"), ("source", "--source")];
/// Accounts that are done with one call.
const AT_ONCE: i32 = 200;
/// How often a call is sent again that broke off: it goes on where the last one ended.
const ATTEMPTS_MAX: u32 = 5;
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Differences that are printed; all are counted.
const PRINTED_MAX: usize = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Work out rollups anew from the facts that are kept, while the server runs
    ///
    /// What differed is printed. Exit code 1, with --verify: something differs.
    Rebuild(Rebuild),
    /// List ids under which a source has told two facts, the last one first; the first holds
    Conflicts(Conflicts),
    /// Show what an account may use, and how much of it is used
    Limits(limits::Limits),
    /// List alerts: accounts that came to a share of a limit, newest first
    Alerts(limits::Alerts),
}

#[derive(Debug, Args)]
pub(super) struct Rebuild {
    /// Only these accounts, by their s3uids
    accounts: Vec<String>,
    /// Change nothing, only compare
    #[arg(long)]
    verify: bool,
    /// Go on behind the accounts that a run before has done: the token it printed
    #[arg(long, value_name = "TOKEN", default_value = "")]
    from: String,
}

#[derive(Debug, Args)]
pub(super) struct Conflicts {
    /// Only of this source
    #[arg(long, default_value = "")]
    source: String,
    #[command(flatten)]
    limit: Limit,
}

/// A rollup that was not what the facts come to.
#[derive(Serialize)]
struct DifferenceRow {
    account: String,
    bucket: String,
    step: &'static str,
    start: Option<String>,
    field: String,
    stored: String,
    computed: String,
}

impl From<RollupDifference> for DifferenceRow {
    fn from(found: RollupDifference) -> Self {
        Self {
            account: found.s3uid,
            bucket: found.bucket,
            step: if found.step_seconds == 3_600 { "hour" } else { "day" },
            start: output::time(found.start_time),
            field: found.field,
            stored: found.stored,
            computed: found.computed,
        }
    }
}

impl Row for DifferenceRow {
    const COLUMNS: &'static [&'static str] =
        &["ACCOUNT", "BUCKET", "STEP", "START", "FIELD", "STORED", "COMPUTED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.account.clone(),
            self.bucket.clone(),
            self.step.to_owned(),
            self.start.clone().unwrap_or_default(),
            self.field.clone(),
            self.stored.clone(),
            self.computed.clone(),
        ]
    }
}

#[derive(Serialize)]
struct ConflictRow {
    source: String,
    id: String,
    account: String,
    refused: String,
    count: i64,
    last: Option<String>,
}

impl From<FactConflict> for ConflictRow {
    fn from(conflict: FactConflict) -> Self {
        Self {
            source: conflict.source,
            id: conflict.id,
            account: conflict.s3uid,
            refused: conflict.refused,
            count: conflict.count,
            last: output::time(conflict.last_time),
        }
    }
}

impl Row for ConflictRow {
    const COLUMNS: &'static [&'static str] =
        &["SOURCE", "ID", "ACCOUNT", "REFUSED", "COUNT", "LAST"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.source.clone(),
            self.id.clone(),
            self.account.clone(),
            self.refused.clone(),
            self.count.to_string(),
            self.last.clone().unwrap_or_default(),
        ]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::Rebuild(command) => rebuild(command, session).await,
        Command::Conflicts(command) => conflicts(command, session).await,
        Command::Limits(command) => limits::limits(command, session).await,
        Command::Alerts(command) => limits::alerts(command, session).await,
    }
}

async fn rebuild(command: Rebuild, session: &Session) -> Result<(), Error> {
    let (mut accounts, mut facts, mut count) = (0_i64, 0, 0);
    let (mut rows, mut page_token) = (Vec::new(), command.from);
    loop {
        let request = RebuildRollupsRequest {
            s3uids: command.accounts.clone(),
            verify_only: command.verify,
            page_size: AT_ONCE,
            page_token: page_token.clone(),
        };
        let done = match call(request, session).await {
            Ok(done) => done,
            Err(error) => {
                if !page_token.is_empty() {
                    eprintln!("{accounts} accounts are done; go on with --from {page_token}");
                }
                return Err(error);
            }
        };
        accounts += i64::from(done.account_count);
        facts += done.fact_count;
        count += done.difference_count;
        rows.extend(done.differences.into_iter().map(DifferenceRow::from));
        page_token = done.next_page_token;
        eprintln!("{accounts} accounts, {facts} facts, {count} figures differed");
        if page_token.is_empty() {
            break;
        }
        // What is printed at the end is bounded as each answer is.
        rows.truncate(PRINTED_MAX);
    }
    output::list(session.output, &rows)?;
    match (command.verify, count) {
        (true, 1) => Err(Error::Failed("one figure is not what the facts come to".to_owned())),
        (true, 2..) => {
            Err(Error::Failed(format!("{count} figures are not what the facts come to")))
        }
        _ => Ok(()),
    }
}

/// Sends a call, and again where it broke off: whatever it has done is as good as not done.
async fn call(
    request: RebuildRollupsRequest,
    session: &Session,
) -> Result<RebuildRollupsResponse, Error> {
    let mut facts = FactServiceClient::new(session.client.api());
    let mut attempt = 1;
    loop {
        match facts.rebuild_rollups(request.clone()).await {
            Ok(done) => return Ok(done.into_inner()),
            Err(status)
                if attempt < ATTEMPTS_MAX
                    && matches!(status.code(), Code::Unavailable | Code::Unknown) =>
            {
                attempt += 1;
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            Err(status) => return Err(session.client.explain(&status, FLAGS)),
        }
    }
}

async fn conflicts(command: Conflicts, session: &Session) -> Result<(), Error> {
    let facts = FactServiceClient::new(session.client.api());
    let found = pages(command.limit, async |page_size, page_token| {
        let source = command.source.clone();
        let request = ListFactConflictsRequest { source, page_size, page_token };
        let page = facts.clone().list_fact_conflicts(request).await?.into_inner();
        Ok((page.conflicts, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<ConflictRow> = found.into_iter().map(ConflictRow::from).collect();
    output::list(session.output, &rows)
}
