//! `stowage admin credit …`.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use stowage_proto::billing::credit_service_client::CreditServiceClient;
use stowage_proto::billing::{
    Credit, GetStandingRequest, PaymentTerms, RecordCreditRequest, SetPaymentTermsRequest, Standing,
};
use stowage_types::{CustomerId, Money, name};
use tonic::Response;

use super::client::Flags;
use super::output::{self, Row};
use super::{Error, Session, amount};

const FLAGS: Flags = &[
    ("customer", "CUSTOMER"),
    ("amount", "--amount"),
    ("reference", "--reference"),
    ("installation", "--installation"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what a customer has, and how he pays
    Show {
        /// The customer
        customer: CustomerId,
    },
    /// Book money that a customer has paid in; it pays his open invoices, the one due first first
    Add(Add),
    /// Say how a customer pays
    Terms {
        /// The customer
        customer: CustomerId,
        /// How
        #[arg(value_enum)]
        terms: Terms,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The customer
    customer: CustomerId,
    /// How much, such as EUR=50
    #[arg(long, value_parser = amount::money)]
    amount: Money,
    /// What the bank calls the payment; the same one reported twice counts once
    #[arg(long)]
    reference: String,
    /// At which installation of the billing provider, where it has several [default: the first]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    installation: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Terms {
    /// In advance: an order needs credit
    Prepaid,
    /// By invoice, until the day it is due
    Invoiced,
    /// As the installation's others
    Default,
}

impl Terms {
    fn wire(self) -> i32 {
        match self {
            Self::Prepaid => PaymentTerms::Prepaid.into(),
            Self::Invoiced => PaymentTerms::Invoiced.into(),
            Self::Default => PaymentTerms::Unspecified.into(),
        }
    }
}

#[derive(Serialize)]
struct StandingRow {
    customer_id: i64,
    payment_terms: String,
    has_own_terms: bool,
    credits: Vec<CreditRow>,
}

#[derive(Serialize)]
struct CreditRow {
    currency: String,
    usable: String,
    held: String,
}

impl From<Credit> for CreditRow {
    fn from(credit: Credit) -> Self {
        let text = |wire: &Option<stowage_proto::Money>| {
            let money = wire.as_ref().and_then(|wire| Money::from_proto(wire).ok());
            money.map(Money::to_decimal_string).unwrap_or_default()
        };
        let currency = credit.usable.clone().unwrap_or_default().currency_code;
        Self { currency, usable: text(&credit.usable), held: text(&credit.held) }
    }
}

impl From<Standing> for StandingRow {
    fn from(standing: Standing) -> Self {
        Self {
            customer_id: standing.customer_id,
            payment_terms: output::value(standing.payment_terms().as_str_name(), "PAYMENT_TERMS_"),
            has_own_terms: standing.has_own_terms,
            credits: standing.credits.into_iter().map(Into::into).collect(),
        }
    }
}

impl Row for StandingRow {
    const COLUMNS: &'static [&'static str] = &["CUSTOMER", "PAYS", "CREDIT", "KEPT FOR ORDERS"];

    fn cells(&self) -> Vec<String> {
        let each = |pick: fn(&CreditRow) -> &String| {
            let pairs = self.credits.iter().map(|row| format!("{}={}", row.currency, pick(row)));
            pairs.collect::<Vec<_>>().join(" ")
        };
        let own = if self.has_own_terms { "" } else { " (as the others)" };
        vec![
            self.customer_id.to_string(),
            format!("{}{own}", self.payment_terms),
            each(|row| &row.usable),
            each(|row| &row.held),
        ]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    let client = &session.client;
    let answer = match command {
        Command::Show { customer } => {
            let request = GetStandingRequest { customer: name::customer(customer) };
            let answer = CreditServiceClient::new(client.api()).get_standing(request).await;
            answer.map(Response::into_inner)
        }
        Command::Add(add) => {
            super::customer::must_exist(add.customer, session).await?;
            let book = async |api, request_id| {
                let request = RecordCreditRequest {
                    installation: add.installation.clone(),
                    customer: name::customer(add.customer),
                    amount: Some(add.amount.to_proto()),
                    reference: add.reference.clone(),
                    request_id,
                };
                CreditServiceClient::new(api).record_credit(request).await
            };
            client.change(book).await
        }
        Command::Terms { customer, terms } => {
            super::customer::must_exist(customer, session).await?;
            let set = async |api, request_id| {
                let request = SetPaymentTermsRequest {
                    customer: name::customer(customer),
                    payment_terms: terms.wire(),
                    request_id,
                };
                CreditServiceClient::new(api).set_payment_terms(request).await
            };
            client.change(set).await
        }
    };
    let standing = answer.map_err(|status| client.explain(&status, FLAGS))?;
    output::one(session.output, &StandingRow::from(standing))
}
