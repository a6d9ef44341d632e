//! `stowage admin reconcile`.

use clap::Args;
use serde::Serialize;
use stowage_proto::accounts::reconcile_service_client::ReconcileServiceClient;
use stowage_proto::accounts::{Finding, ReconcileRequest};
use tonic::Status;

use super::output::{self, Row};
use super::{Error, Session};

#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// Report only; mend nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct FindingRow {
    kind: String,
    s3uid: String,
    what: String,
    mended: bool,
    why_not: String,
}

impl From<Finding> for FindingRow {
    fn from(finding: Finding) -> Self {
        Self {
            kind: output::value(finding.kind().as_str_name(), "FINDING_KIND_"),
            s3uid: output::last_part(&finding.account),
            what: finding.what,
            mended: finding.mended,
            why_not: finding.why_not,
        }
    }
}

impl Row for FindingRow {
    const COLUMNS: &'static [&'static str] = &["KIND", "ACCOUNT", "FOUND", "MENDED"];

    fn cells(&self) -> Vec<String> {
        let mended = match self.mended {
            true => "yes".to_owned(),
            false => format!("no: {}", self.why_not),
        };
        vec![self.kind.clone(), self.s3uid.clone(), self.what.clone(), mended]
    }
}

pub(super) async fn run(command: Reconcile, session: &Session) -> Result<(), Error> {
    let api = ReconcileServiceClient::new(session.client.api());
    let look = async |page_token| {
        let request = ReconcileRequest { dry_run: command.dry_run, page_token };
        let part = api.clone().reconcile(request).await?.into_inner();
        let rows = part.findings.into_iter().map(FindingRow::from).collect();
        Ok(Part { rows, looked_at: part.looked_at, next_page_token: part.next_page_token })
    };
    look_at_all(session, look, |row: &FindingRow| row.mended).await
}

/// What one call has looked at.
pub(super) struct Part<R> {
    pub(super) rows: Vec<R>,
    pub(super) looked_at: i64,
    pub(super) next_page_token: String,
}

/// Looks at all parts, one after the other, and prints what was found. Fails if anything is left as
/// it was found.
pub(super) async fn look_at_all<R: Row + Serialize>(
    session: &Session,
    look: impl AsyncFn(String) -> Result<Part<R>, Status>,
    is_mended: impl Fn(&R) -> bool,
) -> Result<(), Error> {
    let (mut rows, mut looked_at, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let part = look(page_token).await;
        let part = part.map_err(|status| session.client.explain(&status, &[]))?;
        rows.extend(part.rows);
        if part.looked_at > 0 {
            looked_at += part.looked_at;
            // For those who wait; standard output is for the answer.
            eprintln!("{looked_at} looked at, {} found", rows.len());
        }
        page_token = part.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    output::list(session.output, &rows)?;
    match rows.iter().filter(|row| !is_mended(row)).count() {
        0 => Ok(()),
        1 => Err(Error::Failed("1 finding is not mended".to_owned())),
        left => Err(Error::Failed(format!("{left} findings are not mended"))),
    }
}
