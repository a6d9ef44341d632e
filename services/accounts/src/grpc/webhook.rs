//! `WebhookService`.

use stowage_auth::RequestContext;
use stowage_proto::accounts as pb;
use stowage_types::{Violations, page, timestamp};
use tonic::{Request, Response, Status, async_trait};
use uuid::Uuid;

use super::{Service, read_page};
use crate::domain::webhook::{Counted, Delivery, DeliveryFilter, DeliveryState};
use crate::error::Error;

const LISTING: &str = "webhookDeliveries";
const NAME_CHARS_MAX: usize = 64;

#[async_trait]
impl pb::webhook_service_server::WebhookService for Service {
    async fn list_webhooks(
        &self,
        request: Request<pb::ListWebhooksRequest>,
    ) -> Result<Response<pb::ListWebhooksResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let found = self.domain.list_webhooks(&cx).await?;
        let webhooks = found.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListWebhooksResponse { webhooks }))
    }

    async fn list_webhook_deliveries(
        &self,
        request: Request<pb::ListWebhookDeliveriesRequest>,
    ) -> Result<Response<pb::ListWebhookDeliveriesResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let scope = format!("{}/{}", request.state, request.webhook);
        let filter = read_filter(&request)?;
        let (before, size) = read_page((LISTING, &scope), request.page_size, &request.page_token)?;
        let filter = DeliveryFilter { before, ..filter };
        let page = self.domain.list_webhook_deliveries(&cx, &filter, size).await?;
        let last = page.rows.last().filter(|_| !page.is_last);
        let next_page_token = last.map(|row| page::encode(LISTING, &scope, &row.id.to_string()));
        let short =
            |delivery: Delivery| pb::WebhookDelivery { body: String::new(), ..delivery.into() };
        Ok(Response::new(pb::ListWebhookDeliveriesResponse {
            deliveries: page.rows.into_iter().map(short).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
        }))
    }

    async fn get_webhook_delivery(
        &self,
        request: Request<pb::GetWebhookDeliveryRequest>,
    ) -> Result<Response<pb::WebhookDelivery>, Status> {
        let cx = RequestContext::of(&request)?;
        let id = read_delivery(&request.into_inner().name)?;
        let found = self.domain.get_webhook_delivery(&cx, id).await?;
        Ok(Response::new(found.into()))
    }

    async fn replay_webhook_delivery(
        &self,
        request: Request<pb::ReplayWebhookDeliveryRequest>,
    ) -> Result<Response<pb::WebhookDelivery>, Status> {
        let read = |request: pb::ReplayWebhookDeliveryRequest| read_delivery(&request.name);
        let work = async |cx, id, once| self.domain.replay_webhook_delivery(&cx, id, &once).await;
        self.domain.requests.once(request, read, work).await
    }

    async fn test_webhook(
        &self,
        request: Request<pb::TestWebhookRequest>,
    ) -> Result<Response<pb::WebhookDelivery>, Status> {
        let read = |request: pb::TestWebhookRequest| read_webhook("name", &request.name);
        let work = async |cx, name: String, once| self.domain.test_webhook(&cx, &name, &once).await;
        self.domain.requests.once(request, read, work).await
    }
}

fn read_delivery(name: &str) -> Result<Uuid, Error> {
    let id = name.strip_prefix("webhookDeliveries/").and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::field("name", "is not the name of a delivery"))
}

fn read_webhook(field: &str, name: &str) -> Result<String, Error> {
    let name = name.strip_prefix("webhooks/").filter(|name| name.len() <= NAME_CHARS_MAX);
    let name = name.ok_or_else(|| Error::field(field, "is not the name of a webhook"))?;
    Ok(name.to_owned())
}

fn read_filter(request: &pb::ListWebhookDeliveriesRequest) -> Result<DeliveryFilter, Error> {
    let mut violations = Violations::default();
    let state = match pb::WebhookDeliveryState::try_from(request.state) {
        Ok(pb::WebhookDeliveryState::Unspecified) => None,
        Ok(pb::WebhookDeliveryState::Waiting) => Some(DeliveryState::Waiting),
        Ok(pb::WebhookDeliveryState::Delivered) => Some(DeliveryState::Delivered),
        Ok(pb::WebhookDeliveryState::Failed) => Some(DeliveryState::Failed),
        Err(_) => {
            violations.push("state", "is not a state of deliveries");
            None
        }
    };
    violations.finish()?;
    let webhook = match request.webhook.as_str() {
        "" => None,
        name => Some(read_webhook("webhook", name)?),
    };
    Ok(DeliveryFilter { webhook, state, before: None })
}

impl From<Counted> for pb::Webhook {
    fn from(counted: Counted) -> Self {
        let Counted { endpoint, waiting, failed } = counted;
        Self {
            name: format!("webhooks/{}", endpoint.name),
            url: endpoint.uri.to_string(),
            events: endpoint.events.clone(),
            waiting_count: waiting,
            failed_count: failed,
        }
    }
}

impl From<Delivery> for pb::WebhookDelivery {
    fn from(delivery: Delivery) -> Self {
        let state = match delivery.state {
            DeliveryState::Waiting => pb::WebhookDeliveryState::Waiting,
            DeliveryState::Delivered => pb::WebhookDeliveryState::Delivered,
            DeliveryState::Failed => pb::WebhookDeliveryState::Failed,
        };
        let waits = delivery.state == DeliveryState::Waiting;
        Self {
            name: format!("webhookDeliveries/{}", delivery.id),
            webhook: format!("webhooks/{}", delivery.webhook),
            event_id: delivery.event_id.to_string(),
            event_type: delivery.event_type,
            subject: delivery.subject,
            state: state.into(),
            attempts: delivery.attempts,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            create_time: Some(timestamp(delivery.create_time)),
            next_attempt_time: waits.then(|| timestamp(delivery.next_attempt_time)),
            last_attempt_time: delivery.last_attempt_time.map(timestamp),
            end_time: delivery.end_time.map(timestamp),
            body: delivery.body,
        }
    }
}
