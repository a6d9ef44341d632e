//! `stowage admin billing …`.

use clap::{Args, Subcommand};
use serde::Serialize;
use stowage_proto::billing::link_service_client::LinkServiceClient;
use stowage_proto::billing::reconcile_service_client::ReconcileServiceClient;
use stowage_proto::billing::{
    CustomerLink, Finding, GetCustomerLinkRequest, LinkCustomerRequest, ReconcileRequest,
    UnlinkCustomerRequest,
};
use stowage_types::{CustomerId, name};
use tonic::Response;

use super::client::Flags;
use super::output::{self, Row};
use super::reconcile::{Part, look_at_all};
use super::{Error, Session};

const FLAGS: Flags = &[
    ("customer", "CUSTOMER"),
    ("client_id", "CLIENT"),
    ("installation", "--installation"),
    ("reason", "--force"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compare what is billed with what the billing system has, both ways
    ///
    /// Exit code 1: something is left as it was found.
    Reconcile(Reconcile),
    /// Say which client of the billing system a customer is
    Link(Link),
    /// Take that away; his next order finds a client by his mail address
    Unlink(Unlink),
    /// Show which client of the billing system a customer is
    ShowLink(Named),
}

#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// Mend what is safe to mend: accept, end or cancel there what was accepted, ended or undone
    /// here, and tell of planned ends again
    #[arg(long)]
    mend: bool,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The customer
    customer: CustomerId,
    /// Which installation of the billing system [default: the only one]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    installation: String,
}

#[derive(Debug, Args)]
pub(super) struct Link {
    #[command(flatten)]
    named: Named,
    /// Id of the client there
    client: i64,
    #[command(flatten)]
    force: Force,
}

#[derive(Debug, Args)]
pub(super) struct Unlink {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    force: Force,
}

#[derive(Debug, Args)]
struct Force {
    /// Do it though he has open subscriptions at his old client, and say why, for the audit
    #[arg(long, value_name = "WHY")]
    force: Option<String>,
}

#[derive(Serialize)]
struct FindingRow {
    kind: String,
    installation: String,
    service_id: Option<i64>,
    s3uid: String,
    customer_id: Option<i64>,
    here: String,
    there: String,
    since: Option<String>,
    advice: String,
    mended: bool,
    why_not: String,
}

impl From<Finding> for FindingRow {
    fn from(finding: Finding) -> Self {
        Self {
            kind: output::value(finding.kind().as_str_name(), "FINDING_KIND_"),
            installation: finding.installation,
            service_id: name::parse_subscription(&finding.subscription).ok(),
            s3uid: output::last_part(&finding.account),
            customer_id: name::parse_customer(&finding.customer).ok().map(|id| id.0),
            here: finding.here,
            there: finding.there,
            since: output::time(finding.since_time),
            advice: finding.advice,
            mended: finding.mended,
            why_not: finding.why_not,
        }
    }
}

impl Row for FindingRow {
    const COLUMNS: &'static [&'static str] =
        &["KIND", "SERVICE", "CUSTOMER", "HERE", "THERE", "SINCE", "MENDED"];

    fn cells(&self) -> Vec<String> {
        let mended = match (self.mended, self.why_not.as_str()) {
            (true, _) => "yes".to_owned(),
            (false, "") => format!("no: {}", self.advice),
            (false, why) => format!("no, {why}: {}", self.advice),
        };
        let number = |id: Option<i64>| id.map(|id| id.to_string()).unwrap_or_default();
        vec![
            self.kind.clone(),
            number(self.service_id),
            number(self.customer_id),
            self.here.clone(),
            self.there.clone(),
            self.since.clone().unwrap_or_default(),
            mended,
        ]
    }
}

#[derive(Serialize)]
struct LinkRow {
    customer_id: i64,
    installation: String,
    client_id: i64,
    linked: Option<String>,
}

impl From<CustomerLink> for LinkRow {
    fn from(link: CustomerLink) -> Self {
        Self {
            customer_id: link.customer_id,
            installation: link.installation,
            client_id: link.client_id,
            linked: output::time(link.link_time),
        }
    }
}

impl Row for LinkRow {
    const COLUMNS: &'static [&'static str] = &["CUSTOMER", "INSTALLATION", "CLIENT", "LINKED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.customer_id.to_string(),
            self.installation.clone(),
            self.client_id.to_string(),
            self.linked.clone().unwrap_or_default(),
        ]
    }
}

#[derive(Serialize)]
struct UnlinkedRow {
    customer_id: i64,
    unlinked: bool,
}

impl Row for UnlinkedRow {
    const COLUMNS: &'static [&'static str] = &["CUSTOMER", "UNLINKED"];

    fn cells(&self) -> Vec<String> {
        vec![self.customer_id.to_string(), "yes".to_owned()]
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    match command {
        Command::Reconcile(command) => reconcile(command, session).await,
        Command::Link(command) => link(command, session).await,
        Command::Unlink(command) => unlink(command, session).await,
        Command::ShowLink(Named { customer, installation }) => {
            let request =
                GetCustomerLinkRequest { customer: name::customer(customer), installation };
            let mut links = LinkServiceClient::new(session.client.api());
            let answer = links.get_customer_link(request).await.map(Response::into_inner);
            let link = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
            output::one(session.output, &LinkRow::from(link))
        }
    }
}

async fn reconcile(command: Reconcile, session: &Session) -> Result<(), Error> {
    let api = ReconcileServiceClient::new(session.client.api());
    let look = async |page_token| {
        let request = ReconcileRequest { mend: command.mend, page_token };
        let part = api.clone().reconcile(request).await?.into_inner();
        let rows = part.findings.into_iter().map(FindingRow::from).collect();
        Ok(Part { rows, looked_at: part.looked_at, next_page_token: part.next_page_token })
    };
    look_at_all(session, look, |row: &FindingRow| row.mended).await
}

async fn link(command: Link, session: &Session) -> Result<(), Error> {
    let Link { named: Named { customer, installation }, client, force: Force { force } } = command;
    super::customer::must_exist(customer, session).await?;
    let change = async |api, request_id| {
        let request = LinkCustomerRequest {
            customer: name::customer(customer),
            installation: installation.clone(),
            client_id: client,
            force: force.is_some(),
            reason: force.clone().unwrap_or_default(),
            request_id,
        };
        LinkServiceClient::new(api).link_customer(request).await
    };
    let answer = session.client.change(change).await;
    let link = answer.map_err(|status| session.client.explain(&status, FLAGS))?;
    output::one(session.output, &LinkRow::from(link))
}

async fn unlink(command: Unlink, session: &Session) -> Result<(), Error> {
    let Unlink { named: Named { customer, installation }, force: Force { force } } = command;
    let change = async |api, request_id| {
        let request = UnlinkCustomerRequest {
            customer: name::customer(customer),
            installation: installation.clone(),
            force: force.is_some(),
            reason: force.clone().unwrap_or_default(),
            request_id,
        };
        LinkServiceClient::new(api).unlink_customer(request).await
    };
    let answer = session.client.change(change).await;
    answer.map_err(|status| session.client.explain(&status, FLAGS))?;
    output::one(session.output, &UnlinkedRow { customer_id: customer.0, unlinked: true })
}
