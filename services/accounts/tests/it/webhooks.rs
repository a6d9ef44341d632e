//! Webhooks, at a receiver that answers as a test says.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::hmac;
use stowage_accounts::{Config, Webhook};
use stowage_bus::Event;
use stowage_proto::accounts as pb;
use stowage_proto::billing::{InvoiceOverdue, PlanChanged};
use stowage_proto::common::ErrorReason;
use stowage_types::{Clock as _, SystemRandom, new_id};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Code, Response, Status};

use crate::double::World;
use crate::kit::{Kit, admin, assert_reason};

const HOUR: Duration = Duration::from_secs(3600);
const PLAN_CHANGED: &str = "stowage.billing.plan.changed.v1";

/// What came in: headers by their names in lower case, and the body.
#[derive(Debug, Clone)]
struct Received {
    headers: BTreeMap<String, String>,
    body: String,
}

/// A server that keeps what it gets, and answers with the next status, or 204.
struct Receiver {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
    statuses: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let (received, statuses) = (Arc::default(), Arc::<Mutex<VecDeque<u16>>>::default());
        let receiver = Self { url, received, statuses };
        let (received, statuses) = (receiver.received.clone(), receiver.statuses.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(read) = read(&mut stream).await else { continue };
                received.lock().unwrap().push(read);
                let status = statuses.lock().unwrap().pop_front().unwrap_or(204);
                let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n");
                let answer = format!("{head}connection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        receiver
    }

    fn will_answer(&self, statuses: &[u16]) {
        self.statuses.lock().unwrap().extend(statuses);
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    async fn count(&self, wanted: usize) -> Vec<Received> {
        within(async || self.received().len() >= wanted).await;
        self.received()
    }

    fn settings(&self) -> Webhook {
        let secret_file = PathBuf::from("not read here");
        Webhook { url: self.url.clone(), secret_file, events: Vec::new(), ca: None }
    }
}

/// Reads one request; `None` if it is broken.
async fn read(stream: &mut TcpStream) -> Option<Received> {
    let (mut bytes, mut part) = (Vec::new(), [0_u8; 4096]);
    let head_end = loop {
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let field = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let headers: BTreeMap<String, String> = head.lines().filter_map(field).collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    while bytes.len() < head_end + length {
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&part[..count]);
    }
    Some(Received { headers, body: String::from_utf8(bytes[head_end..].to_vec()).ok()? })
}

async fn within(mut is_so: impl AsyncFnMut() -> bool) {
    let polled = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), polled).await.expect("within a minute");
}

async fn kit_with(webhooks: &[(&str, Webhook)]) -> Kit {
    let webhooks = webhooks.iter().map(|(name, webhook)| ((*name).to_owned(), webhook.clone()));
    let config = Config { webhooks: webhooks.collect(), ..Config::default() };
    Kit::with(config, World::default()).await
}

fn event(kit: &Kit, kind: &str, message: &impl prost::Message) -> Event {
    Event {
        id: new_id(&*kit.clock, &SystemRandom),
        source: "stowage/billing".to_owned(),
        kind: kind.to_owned(),
        subject: "plans/7".to_owned(),
        time: kit.clock.now(),
        data: message.encode_to_vec(),
        trace: Default::default(),
    }
}

fn plan_changed(kit: &Kit) -> Event {
    let changed = PlanChanged {
        plan_id: 7,
        event: "plan.created".to_owned(),
        new_json: r#"{"title":"Standard"}"#.to_owned(),
        ..Default::default()
    };
    event(kit, PLAN_CHANGED, &changed)
}

async fn deliveries(kit: &Kit) -> Vec<pb::WebhookDelivery> {
    let request = pb::ListWebhookDeliveriesRequest::default();
    let listed = kit.webhooks().list_webhook_deliveries(kit.by(&admin(), request)).await;
    listed.unwrap().into_inner().deliveries
}

async fn replay(kit: &Kit, name: &str) -> Result<pb::WebhookDelivery, Status> {
    let (name, request_id) = (name.to_owned(), name.to_owned());
    let request = pb::ReplayWebhookDeliveryRequest { name, request_id };
    let replayed = kit.webhooks().replay_webhook_delivery(kit.by(&admin(), request)).await;
    replayed.map(Response::into_inner)
}

#[tokio::test]
async fn an_event_comes_once_signed_and_in_json() {
    let receiver = Receiver::start().await;
    let kit = kit_with(&[("mailer", receiver.settings())]).await;
    let event = plan_changed(&kit);
    for _ in 0..2 {
        kit.bus.publish(&event).await.unwrap();
    }
    let received = receiver.count(1).await.remove(0);
    let body: serde_json::Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(body["id"], event.id.to_string());
    assert_eq!((&body["type"], &body["specversion"]), (&PLAN_CHANGED.into(), &"1.0".into()));
    assert_eq!((&body["source"], &body["subject"]), (&"stowage/billing".into(), &"plans/7".into()));
    assert_eq!(
        (&body["data"]["plan_id"], &body["data"]["event"]),
        (&7.into(), &"plan.created".into())
    );
    assert_eq!(body["data"]["new"]["title"], "Standard", "{body}");
    assert_eq!(received.headers["content-type"], "application/cloudevents+json; charset=utf-8");
    let timestamp = &received.headers["x-stowage-timestamp"];
    assert_eq!(timestamp, &kit.clock_now().unix_timestamp().to_string());
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"mailer's secret");
    let signed = format!("{timestamp}.{}", received.body);
    let signature = received.headers["x-stowage-signature"].strip_prefix("sha256=").unwrap();
    hmac::verify(&key, signed.as_bytes(), &hex::decode(signature).unwrap()).unwrap();
    within(async || deliveries(&kit).await[0].state() == pb::WebhookDeliveryState::Delivered).await;
    let all = deliveries(&kit).await;
    assert_eq!((all.len(), all[0].attempts, all[0].last_status), (1, 1, 204));
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn what_is_not_taken_comes_again_later_and_later_until_three_days_are_over() {
    let receiver = Receiver::start().await;
    let mut kit = kit_with(&[("mailer", receiver.settings())]).await;
    receiver.will_answer(&[500; 100]);
    kit.bus.publish(&plan_changed(&kit)).await.unwrap();
    receiver.count(1).await;
    let noted = async |kit: &Kit, attempts: i32| {
        within(async || deliveries(kit).await[0].attempts == attempts).await;
        deliveries(kit).await.remove(0)
    };
    let first = noted(&kit, 1).await;
    assert_eq!((first.last_status, first.state()), (500, pb::WebhookDeliveryState::Waiting));
    assert!(first.last_error.contains("500"), "{first:?}");
    let wait = |delivery: &pb::WebhookDelivery| {
        let next = delivery.next_attempt_time.unwrap().seconds;
        next - delivery.last_attempt_time.unwrap().seconds
    };
    assert!((30..=37).contains(&wait(&first)), "{first:?}");
    // A process that dies in between loses nothing.
    kit.restart().await;
    kit.clock.advance(Duration::from_secs(40));
    let second = noted(&kit, 2).await;
    assert!((60..=73).contains(&wait(&second)), "{second:?}");
    let mut attempts = 2;
    while deliveries(&kit).await[0].state() == pb::WebhookDeliveryState::Waiting {
        kit.clock.advance(8 * HOUR);
        attempts += 1;
        let delivery = noted(&kit, attempts).await;
        assert!(delivery.next_attempt_time.is_none() || wait(&delivery) <= 26_000, "{delivery:?}");
    }
    let failed = deliveries(&kit).await.remove(0);
    assert_eq!(failed.state(), pb::WebhookDeliveryState::Failed);
    assert!((9..=11).contains(&attempts), "{attempts} attempts, 8 hours from one to the next");
    let counted = kit.webhooks().list_webhooks(kit.by(&admin(), pb::ListWebhooksRequest {})).await;
    let counted = counted.unwrap().into_inner().webhooks;
    assert_eq!((counted[0].waiting_count, counted[0].failed_count), (0, 1));

    // The receiver is mended, and the event is sent again.
    receiver.statuses.lock().unwrap().clear();
    for _ in 0..2 {
        let again = replay(&kit, &failed.name).await.unwrap();
        assert_eq!(again.state(), pb::WebhookDeliveryState::Waiting);
    }
    within(async || deliveries(&kit).await[0].state() == pb::WebhookDeliveryState::Delivered).await;
    let events: Vec<serde_json::Value> =
        receiver.received().iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect();
    assert!(events.iter().all(|event| event["id"] == failed.event_id), "one event for ever");
    assert!(kit.history(&admin()).await.contains(&"webhook.replayed".to_owned()));
    // Ended ones are forgotten in time.
    kit.clock.advance(31 * 24 * HOUR);
    within(async || deliveries(&kit).await.is_empty()).await;
    // Another name, whatever digit the random id of this one ends with.
    let (rest, last) = failed.name.split_at(failed.name.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    let gone = replay(&kit, &format!("{rest}{other}")).await;
    assert_reason(&gone.unwrap_err(), Code::NotFound, ErrorReason::WebhookDeliveryNotFound);
}

#[tokio::test]
async fn a_receiver_gets_what_it_wants_and_one_that_is_away_holds_up_no_other() {
    let receiver = Receiver::start().await;
    let away = Webhook { url: "http://127.0.0.1:1/".to_owned(), ..receiver.settings() };
    let events = vec!["billing.invoice.overdue".to_owned()];
    let mut kit =
        kit_with(&[("away", away), ("dunning", Webhook { events, ..receiver.settings() })]).await;
    kit.bus.publish(&plan_changed(&kit)).await.unwrap();
    let overdue = InvoiceOverdue { s3uid: "0f".repeat(16), invoice_id: 8, ..Default::default() };
    let overdue = event(&kit, "stowage.billing.invoice.overdue.v1", &overdue);
    // No account of that name is there to be held; who is told of the event is told all the same.
    kit.bus.publish(&overdue).await.ok();
    let received = receiver.count(1).await;
    let body: serde_json::Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!((received.len(), &body["data"]["invoice_id"]), (1, &8.into()));
    within(async || deliveries(&kit).await.iter().any(|one| !one.last_error.is_empty())).await;
    let waiting: Vec<_> = deliveries(&kit).await;
    let waiting: Vec<_> = waiting.iter().filter(|one| one.webhook == "webhooks/away").collect();
    assert_eq!(waiting.len(), 2);
    assert!(waiting.iter().all(|one| one.state() == pb::WebhookDeliveryState::Waiting));

    // A receiver that is gone from the settings gets nothing any more.
    kit.forget_webhook("away");
    kit.restart().await;
    within(async || {
        let all = deliveries(&kit).await;
        let failed = |one: &&pb::WebhookDelivery| one.state() == pb::WebhookDeliveryState::Failed;
        all.iter().filter(failed).count() == 2
    })
    .await;
    let gone = deliveries(&kit).await.into_iter().find(|one| one.webhook == "webhooks/away");
    let refused = replay(&kit, &gone.unwrap().name).await.unwrap_err();
    assert_reason(&refused, Code::NotFound, ErrorReason::WebhookNotFound);
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_holds_up_no_other() {
    let receiver = Receiver::start().await;
    // Connections are taken by the system, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let silent_one = Webhook { url, ..receiver.settings() };
    let kit = kit_with(&[("mailer", receiver.settings()), ("silent", silent_one)]).await;
    for count in [1, 2] {
        kit.bus.publish(&plan_changed(&kit)).await.unwrap();
        receiver.count(count).await;
    }
    // Its first attempt is still under way.
    let all = deliveries(&kit).await;
    let untaken: Vec<_> = all.iter().filter(|one| one.webhook == "webhooks/silent").collect();
    assert_eq!(untaken.len(), 2);
    assert!(untaken.iter().all(|one| one.attempts == 0), "{untaken:?}");
}

#[tokio::test]
async fn a_test_is_sent_once_for_its_request() {
    let receiver = Receiver::start().await;
    let kit = kit_with(&[("mailer", receiver.settings())]).await;
    let test = async |name: &str| {
        let (name, request_id) = (name.to_owned(), "t".to_owned());
        let request = pb::TestWebhookRequest { name, request_id };
        kit.webhooks().test_webhook(kit.by(&admin(), request)).await.map(Response::into_inner)
    };
    let sent = test("webhooks/mailer").await.unwrap();
    assert_eq!(test("webhooks/mailer").await.unwrap(), sent);
    receiver.count(1).await;
    within(async || deliveries(&kit).await[0].state() == pb::WebhookDeliveryState::Delivered).await;
    assert_eq!(receiver.received().len(), 1);
    let request = pb::GetWebhookDeliveryRequest { name: sent.name };
    let shown = kit.webhooks().get_webhook_delivery(kit.by(&admin(), request)).await.unwrap();
    assert_eq!(shown.into_inner().body, receiver.received()[0].body);
    assert!(kit.history(&admin()).await.contains(&"webhook.tested".to_owned()));
    for (name, code, reason) in [
        ("webhooks/nobody", Code::NotFound, ErrorReason::WebhookNotFound),
        ("mailer", Code::InvalidArgument, ErrorReason::InvalidField),
    ] {
        let request = pb::TestWebhookRequest { name: name.to_owned(), request_id: String::new() };
        let refused = kit.webhooks().test_webhook(kit.by(&admin(), request)).await.unwrap_err();
        assert_reason(&refused, code, reason);
    }
}
