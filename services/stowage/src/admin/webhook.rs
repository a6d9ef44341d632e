//! `stowage admin webhook …`.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use stowage_proto::accounts::webhook_service_client::WebhookServiceClient;
use stowage_proto::accounts::{
    GetWebhookDeliveryRequest, ListWebhookDeliveriesRequest, ListWebhooksRequest,
    ReplayWebhookDeliveryRequest, TestWebhookRequest, Webhook, WebhookDelivery,
    WebhookDeliveryState,
};
use tonic::Response;

use super::client::{Flags, pages};
use super::output::{self, Row};
use super::{Error, Limit, Session};

const FLAGS: Flags = &[("name", "ID or NAME"), ("webhook", "--webhook"), ("state", "--state")];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the webhooks that are configured, with how many deliveries wait and have failed
    List,
    /// List deliveries, newest first
    Deliveries(Deliveries),
    /// Show a delivery with what is sent
    Show {
        /// Its id
        id: String,
    },
    /// Send a delivery again, however it ended
    Replay {
        /// Its id
        id: String,
    },
    /// Send a webhook an event that says nothing
    Test {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Deliveries {
    /// Those of one webhook only
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// Those in one state only
    #[arg(long, value_enum)]
    state: Option<State>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// Sent now or later
    Waiting,
    /// Answered with 2xx
    Delivered,
    /// Not taken for 3 days
    Failed,
}

#[derive(Serialize)]
struct WebhookRow {
    name: String,
    url: String,
    events: Vec<String>,
    waiting: i64,
    failed: i64,
}

impl From<Webhook> for WebhookRow {
    fn from(webhook: Webhook) -> Self {
        Self {
            name: output::last_part(&webhook.name),
            url: webhook.url,
            events: webhook.events,
            waiting: webhook.waiting_count,
            failed: webhook.failed_count,
        }
    }
}

impl Row for WebhookRow {
    const COLUMNS: &'static [&'static str] = &["NAME", "URL", "WAITING", "FAILED", "EVENTS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.url.clone(),
            self.waiting.to_string(),
            self.failed.to_string(),
            self.events.join(" "),
        ]
    }
}

#[derive(Serialize)]
struct DeliveryRow {
    id: String,
    webhook: String,
    event_id: String,
    event_type: String,
    subject: String,
    state: String,
    attempts: i32,
    last_status: i32,
    last_error: String,
    create_time: Option<String>,
    next_attempt_time: Option<String>,
    last_attempt_time: Option<String>,
    end_time: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    body: String,
}

/// The same delivery, shown whole.
#[derive(Serialize)]
#[serde(transparent)]
struct Detail(DeliveryRow);

impl From<WebhookDelivery> for DeliveryRow {
    fn from(delivery: WebhookDelivery) -> Self {
        let state = delivery.state().as_str_name();
        Self {
            id: output::last_part(&delivery.name),
            webhook: output::last_part(&delivery.webhook),
            state: output::value(state, "WEBHOOK_DELIVERY_STATE_"),
            event_id: delivery.event_id,
            event_type: delivery.event_type,
            subject: delivery.subject,
            attempts: delivery.attempts,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            create_time: output::time(delivery.create_time),
            next_attempt_time: output::time(delivery.next_attempt_time),
            last_attempt_time: output::time(delivery.last_attempt_time),
            end_time: output::time(delivery.end_time),
            body: delivery.body,
        }
    }
}

impl Row for DeliveryRow {
    const COLUMNS: &'static [&'static str] =
        &["ID", "WEBHOOK", "EVENT", "SUBJECT", "STATE", "ATTEMPTS", "CREATED", "LAST ERROR"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.webhook.clone(),
            self.event_type.clone(),
            self.subject.clone(),
            self.state.clone(),
            self.attempts.to_string(),
            self.create_time.clone().unwrap_or_default(),
            self.last_error.clone(),
        ]
    }
}

impl Row for Detail {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "WEBHOOK",
        "EVENT",
        "SUBJECT",
        "STATE",
        "ATTEMPTS",
        "CREATED",
        "LAST ERROR",
        "NEXT ATTEMPT",
        "LAST ATTEMPT",
        "ENDED",
        "BODY",
    ];

    fn cells(&self) -> Vec<String> {
        let row = &self.0;
        let mut cells = row.cells();
        cells.extend([
            row.next_attempt_time.clone().unwrap_or_default(),
            row.last_attempt_time.clone().unwrap_or_default(),
            row.end_time.clone().unwrap_or_default(),
            row.body.clone(),
        ]);
        cells
    }
}

pub(super) async fn run(command: Command, session: &Session) -> Result<(), Error> {
    let client = &session.client;
    let of = |id: &str| format!("webhookDeliveries/{id}");
    let answer = match command {
        Command::List => return list(session).await,
        Command::Deliveries(args) => return deliveries(args, session).await,
        Command::Show { id } => {
            let request = GetWebhookDeliveryRequest { name: of(&id) };
            let answer =
                WebhookServiceClient::new(client.api()).get_webhook_delivery(request).await;
            answer.map(Response::into_inner)
        }
        Command::Replay { id } => {
            let replay = async |api, request_id| {
                let request = ReplayWebhookDeliveryRequest { name: of(&id), request_id };
                WebhookServiceClient::new(api).replay_webhook_delivery(request).await
            };
            client.change(replay).await
        }
        Command::Test { name } => {
            let test = async |api, request_id| {
                let request = TestWebhookRequest { name: format!("webhooks/{name}"), request_id };
                WebhookServiceClient::new(api).test_webhook(request).await
            };
            client.change(test).await
        }
    };
    let delivery = answer.map_err(|status| client.explain(&status, FLAGS))?;
    output::one(session.output, &Detail(delivery.into()))
}

async fn list(session: &Session) -> Result<(), Error> {
    let client = &session.client;
    let request = ListWebhooksRequest {};
    let answer = WebhookServiceClient::new(client.api()).list_webhooks(request).await;
    let found = answer.map_err(|status| client.explain(&status, FLAGS))?.into_inner();
    let rows: Vec<WebhookRow> = found.webhooks.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}

async fn deliveries(args: Deliveries, session: &Session) -> Result<(), Error> {
    let api = WebhookServiceClient::new(session.client.api());
    let state = args.state.map_or(WebhookDeliveryState::Unspecified, |state| match state {
        State::Waiting => WebhookDeliveryState::Waiting,
        State::Delivered => WebhookDeliveryState::Delivered,
        State::Failed => WebhookDeliveryState::Failed,
    });
    let webhook = args.webhook.map(|name| format!("webhooks/{name}")).unwrap_or_default();
    let found = pages(args.limit, async |page_size, page_token| {
        let (webhook, state) = (webhook.clone(), state.into());
        let request = ListWebhookDeliveriesRequest { webhook, state, page_size, page_token };
        let page = api.clone().list_webhook_deliveries(request).await?.into_inner();
        Ok((page.deliveries, page.next_page_token))
    });
    let found = found.await.map_err(|status| session.client.explain(&status, FLAGS))?;
    let rows: Vec<DeliveryRow> = found.into_iter().map(Into::into).collect();
    output::list(session.output, &rows)
}
