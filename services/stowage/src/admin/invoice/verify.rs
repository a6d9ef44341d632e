//! `stowage admin invoice verify …`.

use clap::Args;
use serde::Serialize;
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_proto::billing::{
    InvoiceDifference, InvoiceVerification, VerifyInvoiceRequest, VerifyInvoicesRequest,
};
use stowage_types::name;

use super::{FLAGS, money_text};
use crate::admin::output::{self, Row};
use crate::admin::{Error, Session};

/// Invoices that are verified with one call.
const AT_ONCE: i32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Its id
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    invoice: Option<i64>,
    /// Every invoice; those that differ are printed
    #[arg(long)]
    all: bool,
}

/// An invoice, computed again.
#[derive(Serialize)]
struct VerifiedRow {
    invoice_id: String,
    agrees: bool,
    currency: String,
    total: String,
    computed_total: String,
    differences: Vec<DifferenceRow>,
}

#[derive(Serialize)]
struct DifferenceRow {
    line: i32,
    field: String,
    stored: String,
    computed: String,
}

impl From<InvoiceVerification> for VerifiedRow {
    fn from(verified: InvoiceVerification) -> Self {
        let difference = |difference: InvoiceDifference| DifferenceRow {
            line: difference.line,
            field: difference.field,
            stored: difference.stored,
            computed: difference.computed,
        };
        Self {
            invoice_id: output::last_part(&verified.name),
            agrees: verified.agrees,
            currency: verified.computed_total.clone().unwrap_or_default().currency_code,
            total: money_text(&verified.total),
            computed_total: money_text(&verified.computed_total),
            differences: verified.differences.into_iter().map(difference).collect(),
        }
    }
}

impl Row for VerifiedRow {
    const COLUMNS: &'static [&'static str] =
        &["INVOICE", "AGREES", "CURRENCY", "TOTAL", "COMPUTED", "DIFFERENCES"];

    fn cells(&self) -> Vec<String> {
        let text = |of: &DifferenceRow| {
            let line = if of.line == 0 { String::new() } else { format!("line {}, ", of.line) };
            format!("{line}{}: {} stored, {} computed", of.field, of.stored, of.computed)
        };
        let differences: Vec<String> = self.differences.iter().map(text).collect();
        vec![
            self.invoice_id.clone(),
            if self.agrees { "yes" } else { "no" }.to_owned(),
            self.currency.clone(),
            self.total.clone(),
            self.computed_total.clone(),
            differences.join("; "),
        ]
    }
}

pub(crate) async fn run(verify: Verify, session: &Session) -> Result<(), Error> {
    let Some(invoice) = verify.invoice else { return verify_all(session).await };
    let request = VerifyInvoiceRequest { name: name::invoice(invoice) };
    let answer = InvoiceServiceClient::new(session.client.api()).verify_invoice(request).await;
    let verified = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
    let row = VerifiedRow::from(verified.into_inner());
    output::one(session.output, &row)?;
    if row.agrees {
        return Ok(());
    }
    Err(Error::Failed(format!("invoice {invoice} is not what it is computed to be")))
}

async fn verify_all(session: &Session) -> Result<(), Error> {
    let mut invoices = InvoiceServiceClient::new(session.client.api());
    let (mut count, mut differing, mut page_token) = (0_i64, Vec::new(), String::new());
    loop {
        let request = VerifyInvoicesRequest { page_size: AT_ONCE, page_token };
        let page = invoices.verify_invoices(request).await;
        let page = page.map_err(|status| session.client.explain(&status, FLAGS))?.into_inner();
        count += i64::from(page.verified_count);
        differing.extend(page.disagreeing.into_iter().map(VerifiedRow::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        eprintln!("{count} verified, {} of them differ", differing.len());
    }
    output::list(session.output, &differing)?;
    eprintln!("{count} verified, {} of them differ", differing.len());
    match differing.len() {
        0 => Ok(()),
        1 => Err(Error::Failed("one invoice is not what it is computed to be".to_owned())),
        n => Err(Error::Failed(format!("{n} invoices are not what they are computed to be"))),
    }
}
