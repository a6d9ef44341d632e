//! `stowage admin customer …`.

use clap::{Args, Subcommand};
use serde::Serialize;
use stowage_proto::accounts::customer_service_client::CustomerServiceClient;
use stowage_proto::accounts::session_service_client::SessionServiceClient;
use stowage_proto::accounts::{
    CreateApiKeyRequest, CreateCustomerRequest, Customer, GetCustomerRequest, ListCustomersRequest,
};
use stowage_types::{CustomerId, name};

use super::client::{Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

const FLAGS: Flags = &[("customer.email", "--email"), ("customer.currency", "--currency")];

/// What a customer's first API key is called.
const FIRST_LABEL: &str = "made with the customer";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a customer and an API key of his, which is shown this once
    Create(Create),
    /// List customers by id
    List(Limit),
    /// Show a customer
    Show {
        /// His id
        customer_id: CustomerId,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Mail address, unique among customers
    #[arg(long)]
    email: String,
    /// Currency of all his prices and invoices; it is fixed
    #[arg(long)]
    currency: String,
}

#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    customer: CustomerRow,
    api_key: String,
}

#[derive(Serialize)]
struct CustomerRow {
    customer_id: i64,
    email: String,
    currency: String,
    create_time: Option<String>,
}

impl From<Customer> for CustomerRow {
    fn from(customer: Customer) -> Self {
        Self {
            customer_id: customer.customer_id,
            email: customer.email,
            currency: customer.currency,
            create_time: output::time(customer.create_time),
        }
    }
}

impl Row for CustomerRow {
    const COLUMNS: &'static [&'static str] = &["CUSTOMER", "EMAIL", "CURRENCY", "CREATED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.customer_id.to_string(),
            self.email.clone(),
            self.currency.clone(),
            self.create_time.clone().unwrap_or_default(),
        ]
    }
}

impl Row for Created {
    const COLUMNS: &'static [&'static str] =
        &["CUSTOMER", "EMAIL", "CURRENCY", "CREATED", "API KEY"];

    fn cells(&self) -> Vec<String> {
        let mut cells = self.customer.cells();
        cells.push(self.api_key.clone());
        cells
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::Create(create) => create_customer(create, session).await,
        Command::List(limit) => list(limit, session).await,
        Command::Show { customer_id } => {
            let request = GetCustomerRequest { name: name::customer(customer_id) };
            let mut customers = CustomerServiceClient::new(session.client.api());
            let answer = customers.get_customer(request).await;
            let customer = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
            output::one(session.output, &CustomerRow::from(customer.into_inner()))
        }
    }
}

/// Refuses a customer that is not there: billing takes any number for one.
pub(super) async fn must_exist(customer: CustomerId, session: &Session) -> Result<(), Error> {
    let request = GetCustomerRequest { name: name::customer(customer) };
    let answer = CustomerServiceClient::new(session.client.api()).get_customer(request).await;
    answer.map_err(|status| session.client.explain(&status, FLAGS))?;
    Ok(())
}

async fn create_customer(create: Create, session: &Session) -> Result<(), Error> {
    let Create { email, currency } = create;
    let new = Customer { email, currency, ..Customer::default() };
    let make = async |api, request_id| {
        let request = CreateCustomerRequest { customer: Some(new.clone()), request_id };
        CustomerServiceClient::new(api).create_customer(request).await
    };
    let answer = session.client.change(make).await;
    let customer = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
    let make = async |api, request_id| {
        let (customer, label) = (customer.name.clone(), FIRST_LABEL.to_owned());
        let request = CreateApiKeyRequest { customer, label, request_id };
        SessionServiceClient::new(api).create_api_key(request).await
    };
    let key = session.client.change(make).await.map_err(|status| {
        let why = session.client.explain(&status, &[]);
        let id = customer.customer_id;
        Error::Failed(format!(
            "customer {id} was created, but no API key: {why}; make one with \
             `stowage admin api-key create {id}`"
        ))
    })?;
    let api_key = key.secret;
    output::one(session.output, &Created { customer: customer.into(), api_key })
}

async fn list(limit: Limit, session: &Session) -> Result<(), Error> {
    let customers = CustomerServiceClient::new(session.client.api());
    let found = pages(limit, async |page_size, page_token| {
        let request = ListCustomersRequest { page_size, page_token };
        let page = customers.clone().list_customers(request).await?.into_inner();
        Ok((page.customers, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, &[]))?;
    let rows: Vec<CustomerRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}
