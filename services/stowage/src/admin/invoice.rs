//! `stowage admin invoice …`.

mod export;
mod verify;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_proto::billing::{
    DunningStage, GetInvoiceDocumentRequest, GetInvoiceRequest, Invoice, InvoiceLine, InvoiceState,
    IssueCreditNoteRequest, ListInvoicesRequest, RecordPaymentRequest,
};
use stowage_types::{CustomerId, Money, name};

use super::client::{Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session, amount};

const FLAGS: Flags = &[
    ("name", "INVOICE"),
    ("amount", "--amount"),
    ("reference", "--reference"),
    ("reason", "--reason"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List invoices, newest first
    List(List),
    /// Show an invoice with its lines
    Show {
        /// Its id
        invoice: i64,
        /// Print it as a page for a browser or a printer
        #[arg(long)]
        html: bool,
    },
    /// Compute an invoice again from what was sold and used, and compare
    ///
    /// Exit code 1: something differs.
    Verify(verify::Verify),
    /// Print what was charged as CSV, in the columns of FOCUS 1.2
    Export(export::Export),
    /// Take back a part of an invoice: less is left to pay, or it becomes credit
    CreditNote(CreditNote),
    /// Book a payment that has come in; an account held for the invoice is let go when it is paid
    Pay(Pay),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this customer
    #[arg(long)]
    customer: Option<CustomerId>,
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<Which>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Args)]
pub(super) struct Pay {
    /// Id of the invoice
    invoice: i64,
    /// What the bank calls the payment; the same one reported twice counts once
    #[arg(long)]
    reference: String,
    /// How much, such as EUR=9.80 [default: all that is left to pay]
    #[arg(long, value_parser = amount::money)]
    amount: Option<Money>,
}

#[derive(Debug, Args)]
pub(super) struct CreditNote {
    /// Id of the invoice
    invoice: i64,
    /// What the note is called in your books; the same one issued twice counts once
    #[arg(long)]
    reference: String,
    /// Why, in words for the customer
    #[arg(long)]
    reason: String,
    /// How much, such as EUR=9.80 [default: all that was not taken back before]
    #[arg(long, value_parser = amount::money)]
    amount: Option<Money>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    /// Their order is not accepted yet
    Draft,
    /// Issued and not paid in full
    Open,
    /// Paid in full
    Paid,
    /// Withdrawn
    Void,
}

impl Which {
    fn state(self) -> InvoiceState {
        match self {
            Self::Draft => InvoiceState::Draft,
            Self::Open => InvoiceState::Open,
            Self::Paid => InvoiceState::Paid,
            Self::Void => InvoiceState::Void,
        }
    }
}

#[derive(Serialize)]
struct InvoiceRow {
    invoice_id: i64,
    customer_id: i64,
    service_id: i64,
    s3uid: String,
    title: String,
    state: String,
    currency: String,
    total: String,
    paid: String,
    balance: String,
    create_time: Option<String>,
    issue_time: Option<String>,
    due_time: Option<String>,
    settle_time: Option<String>,
    overdue_time: Option<String>,
    dunning_stage: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<LineRow>,
}

/// A line, with everything its amount was computed from.
#[derive(Serialize)]
struct LineRow {
    kind: String,
    description: String,
    plan_id: String,
    plan_version: i32,
    from_time: Option<String>,
    to_time: Option<String>,
    aggregate_bytes: i64,
    included_bytes: i64,
    quantity_bytes: i64,
    price: String,
    gb_bytes: i64,
    hours: i64,
    period_hours: i64,
    prior_amount: String,
    amount: String,
    rounding: String,
}

impl From<InvoiceLine> for LineRow {
    fn from(line: InvoiceLine) -> Self {
        Self {
            kind: output::value(line.kind().as_str_name(), "CHARGE_KIND_"),
            price: money_text(&line.price),
            prior_amount: money_text(&line.prior_amount),
            amount: money_text(&line.amount),
            description: line.description,
            plan_id: output::last_part(&line.plan),
            plan_version: line.plan_version,
            from_time: output::time(line.from_time),
            to_time: output::time(line.to_time),
            aggregate_bytes: line.aggregate_bytes,
            included_bytes: line.included_bytes,
            quantity_bytes: line.quantity_bytes,
            gb_bytes: line.gb_bytes,
            hours: line.hours,
            period_hours: line.period_hours,
            rounding: line.rounding,
        }
    }
}

fn money_text(wire: &Option<stowage_proto::Money>) -> String {
    let money = wire.as_ref().and_then(|wire| Money::from_proto(wire).ok());
    money.map(Money::to_decimal_string).unwrap_or_default()
}

/// An invoice, shown whole.
#[derive(Serialize)]
#[serde(transparent)]
struct Detail(InvoiceRow);

impl Row for Detail {
    const COLUMNS: &'static [&'static str] = &[
        "INVOICE", "CUSTOMER", "ACCOUNT", "STATE", "CURRENCY", "TOTAL", "PAID", "BALANCE", "DUE",
        "OVERDUE", "STAGE", "LINES",
    ];

    fn cells(&self) -> Vec<String> {
        let line = |line: &LineRow| format!("{}: {}", line.amount, line.description);
        let lines: Vec<String> = self.0.lines.iter().map(line).collect();
        let mut cells = self.0.cells();
        cells.push(lines.join("; "));
        cells
    }
}

impl From<Invoice> for InvoiceRow {
    fn from(invoice: Invoice) -> Self {
        let state = output::value(invoice.state().as_str_name(), "INVOICE_STATE_");
        let stage = invoice.dunning_stage();
        let dunning_stage = (stage != DunningStage::Unspecified)
            .then(|| output::value(stage.as_str_name(), "DUNNING_STAGE_"));
        Self {
            invoice_id: invoice.invoice_id,
            customer_id: invoice.customer_id,
            service_id: invoice.service_id,
            state,
            currency: invoice.total.clone().unwrap_or_default().currency_code,
            total: money_text(&invoice.total),
            paid: money_text(&invoice.paid),
            balance: money_text(&invoice.balance),
            s3uid: invoice.s3uid,
            title: invoice.title,
            create_time: output::time(invoice.create_time),
            issue_time: output::time(invoice.issue_time),
            due_time: output::time(invoice.due_time),
            settle_time: output::time(invoice.settle_time),
            overdue_time: output::time(invoice.overdue_time),
            dunning_stage,
            lines: invoice.lines.into_iter().map(Into::into).collect(),
        }
    }
}

impl Row for InvoiceRow {
    const COLUMNS: &'static [&'static str] = &[
        "INVOICE", "CUSTOMER", "ACCOUNT", "STATE", "CURRENCY", "TOTAL", "PAID", "BALANCE", "DUE",
        "OVERDUE", "STAGE",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.invoice_id.to_string(),
            self.customer_id.to_string(),
            self.s3uid.clone(),
            self.state.clone(),
            self.currency.clone(),
            self.total.clone(),
            self.paid.clone(),
            self.balance.clone(),
            self.due_time.clone().unwrap_or_default(),
            self.overdue_time.clone().unwrap_or_default(),
            self.dunning_stage.clone().unwrap_or_default(),
        ]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    let client = &session.client;
    let answer = match command {
        Command::List(list) => return print_list(list, session).await,
        Command::Verify(verify) => return verify::run(verify, session).await,
        Command::Export(export) => return export::run(export, session).await,
        Command::Show { invoice, html: true } => return print_page(invoice, session).await,
        Command::CreditNote(note) => {
            let issue = async |api, request_id| {
                let request = IssueCreditNoteRequest {
                    name: name::invoice(note.invoice),
                    amount: note.amount.map(Money::to_proto),
                    reason: note.reason.clone(),
                    reference: note.reference.clone(),
                    request_id,
                };
                InvoiceServiceClient::new(api).issue_credit_note(request).await
            };
            client.change(issue).await.map(tonic::Response::new)
        }
        Command::Show { invoice, html: false } => {
            let request = GetInvoiceRequest { name: name::invoice(invoice) };
            InvoiceServiceClient::new(client.api()).get_invoice(request).await
        }
        Command::Pay(pay) => {
            let book = async |api, request_id| {
                let request = RecordPaymentRequest {
                    name: name::invoice(pay.invoice),
                    amount: pay.amount.map(Money::to_proto),
                    reference: pay.reference.clone(),
                    request_id,
                };
                InvoiceServiceClient::new(api).record_payment(request).await
            };
            client.change(book).await.map(tonic::Response::new)
        }
    };
    let invoice = answer.map_err(|status| client.explain(&status, FLAGS))?.into_inner();
    output::one(session.output, &Detail(invoice.into()))
}

async fn print_page(invoice: i64, session: &Session) -> Result<(), Error> {
    let request = GetInvoiceDocumentRequest { name: name::invoice(invoice) };
    let mut invoices = InvoiceServiceClient::new(session.client.api());
    let page = invoices.get_invoice_document(request).await;
    let page = page.map_err(|status| session.client.explain(&status, FLAGS))?.into_inner();
    output::raw(&page.content)
}

async fn print_list(list: List, session: &Session) -> Result<(), Error> {
    let customer = list.customer.map(name::customer).unwrap_or_default();
    let state = list.state.map_or(InvoiceState::Unspecified, Which::state).into();
    let found = pages(list.limit, async |page_size, page_token| {
        let request =
            ListInvoicesRequest { customer: customer.clone(), state, page_size, page_token };
        let mut invoices = InvoiceServiceClient::new(session.client.api());
        let page = invoices.list_invoices(request).await?.into_inner();
        Ok((page.invoices, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<InvoiceRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}
