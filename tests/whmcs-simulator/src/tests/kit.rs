use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use stowage_types::FakeClock;
use time::macros::datetime;

use crate::{Cents, Settings, Simulator};

/// A simulator with a client, a priced product and a free one, all of id 1 and 2.
pub(crate) struct Kit {
    pub(crate) simulator: Simulator,
    pub(crate) clock: Arc<FakeClock>,
    http: Client<HttpConnector, Full<bytes::Bytes>>,
}

impl Kit {
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        let clock = Arc::new(FakeClock::at(datetime!(2026-01-31 13:37 UTC)));
        let simulator = Simulator::start(settings, clock.clone()).await;
        {
            let mut state = simulator.state();
            let euro = state.add_currency("EUR");
            state.add_client("one@example.com", euro);
            state.add_product("Standard", &[(euro, "monthly", Cents(980))]);
            state.add_product("Free", &[]);
        }
        Self { simulator, clock, http: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Sends a body as it is; `None`: there was no answer.
    pub(crate) async fn send(&self, body: &str) -> Option<(StatusCode, String)> {
        let request = Request::post(format!("{}/includes/api.php", self.simulator.url()));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let asked = tokio::time::timeout(Duration::from_secs(10), self.http.request(request));
        let response = asked.await.unwrap().ok()?;
        let status = response.status();
        let text = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8(text.to_vec()).unwrap()))
    }

    /// Calls an action; the answer is JSON under status 200.
    pub(crate) async fn call(&self, action: &str, parameters: &str) -> Value {
        let credentials = "identifier=identifier&secret=secret&responsetype=json";
        let body = format!("action={action}&{credentials}&{parameters}");
        let (status, text) = self.send(&body).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{action}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) async fn done(&self, action: &str, parameters: &str) -> Value {
        let answer = self.call(action, parameters).await;
        assert_eq!(answer["result"], "success", "{action} {parameters}: {answer}");
        answer
    }

    pub(crate) async fn refused(&self, action: &str, parameters: &str, message: &str) {
        let answer = self.call(action, parameters).await;
        assert_eq!(answer["result"], "error", "{action} {parameters}: {answer}");
        assert_eq!(answer["message"], message, "{action} {parameters}");
    }

    /// Orders the priced product.
    pub(crate) async fn order(&self, domain: &str) -> Value {
        let what = "clientid=1&paymentmethod=banktransfer&pid[0]=1&billingcycle[0]=monthly";
        self.done("AddOrder", &format!("{what}&domain[0]={domain}")).await
    }

    /// A field of the service of a domain.
    pub(crate) async fn service(&self, domain: &str, field: &str) -> Value {
        let parameters = format!("clientid=1&domain={domain}");
        let answer = self.done("GetClientsProducts", &parameters).await;
        answer["products"]["product"][0][field].clone()
    }
}
