//! `stowage admin invoice …`.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use stowage_proto::billing::invoice_service_client::InvoiceServiceClient;
use stowage_proto::billing::{
    DunningStage, GetInvoiceRequest, Invoice, InvoiceState, ListInvoicesRequest,
    RecordPaymentRequest,
};
use stowage_types::{CustomerId, Money, name};

use super::client::{Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session, amount};

const FLAGS: Flags = &[("name", "INVOICE"), ("amount", "--amount"), ("reference", "--reference")];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List invoices, newest first
    List(List),
    /// Show an invoice
    Show {
        /// Its id
        invoice: i64,
    },
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
}

impl From<Invoice> for InvoiceRow {
    fn from(invoice: Invoice) -> Self {
        let state = output::value(invoice.state().as_str_name(), "INVOICE_STATE_");
        let stage = invoice.dunning_stage();
        let dunning_stage = (stage != DunningStage::Unspecified)
            .then(|| output::value(stage.as_str_name(), "DUNNING_STAGE_"));
        let text = |wire: &Option<stowage_proto::Money>| {
            let money = wire.as_ref().and_then(|wire| Money::from_proto(wire).ok());
            money.map(Money::to_decimal_string).unwrap_or_default()
        };
        Self {
            invoice_id: invoice.invoice_id,
            customer_id: invoice.customer_id,
            service_id: invoice.service_id,
            state,
            currency: invoice.total.clone().unwrap_or_default().currency_code,
            total: text(&invoice.total),
            paid: text(&invoice.paid),
            balance: text(&invoice.balance),
            s3uid: invoice.s3uid,
            title: invoice.title,
            create_time: output::time(invoice.create_time),
            issue_time: output::time(invoice.issue_time),
            due_time: output::time(invoice.due_time),
            settle_time: output::time(invoice.settle_time),
            overdue_time: output::time(invoice.overdue_time),
            dunning_stage,
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
        Command::Show { invoice } => {
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
    output::one(session.output, &InvoiceRow::from(invoice))
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
