//! `stowage admin reconcile`.

use clap::Args;
use serde::Serialize;
use stowage_proto::accounts::reconcile_service_client::ReconcileServiceClient;
use stowage_proto::accounts::{Finding, ReconcileRequest};

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

/// Looks at all parts, one after the other. Fails if anything is left as it was found.
pub(super) async fn run(command: Reconcile, session: &Session) -> Result<(), Error> {
    let mut service = ReconcileServiceClient::new(session.client.api());
    let (mut rows, mut looked_at, mut page_token) = (Vec::<FindingRow>::new(), 0, String::new());
    loop {
        let request = ReconcileRequest { dry_run: command.dry_run, page_token };
        let part = service.reconcile(request).await;
        let part = part.map_err(|status| session.client.explain(&status, &[]))?.into_inner();
        rows.extend(part.findings.into_iter().map(FindingRow::from));
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
    match rows.iter().filter(|row| !row.mended).count() {
        0 => Ok(()),
        1 => Err(Error::Failed("1 finding is not mended".to_owned())),
        left => Err(Error::Failed(format!("{left} findings are not mended"))),
    }
}
