//! A running server, seen from outside.

use std::net::SocketAddr;

use stowage_proto::accounts::account_service_client::AccountServiceClient;
use stowage_proto::accounts::customer_service_client::CustomerServiceClient;
use stowage_proto::accounts::session_service_client::SessionServiceClient;
use stowage_proto::accounts::{
    CreateApiKeyRequest, CreateCustomerRequest, Customer as CustomerMessage, ListAccountsRequest,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::{Facade, s3_client};

/// Puts a token into calls.
#[derive(Debug, Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A gRPC connection that calls as somebody.
pub type Caller = InterceptedService<Channel, Bearer>;

/// A running server, seen from outside.
#[derive(Debug, Clone)]
pub struct Site {
    /// Where the facade and gRPC are.
    pub gateway: SocketAddr,
    /// Where S3 is.
    pub s3: SocketAddr,
    /// The token that the first start made.
    pub admin_token: String,
    /// The HTTP facade.
    pub facade: Facade,
    channel: Channel,
}

/// A customer with an API key and a token.
#[derive(Debug, Clone)]
pub struct Customer {
    /// Integer id.
    pub id: i64,
    /// Mail address.
    pub email: String,
    /// API key.
    pub api_key: String,
    /// Token got with it.
    pub token: String,
}

/// An S3 account with its keys.
#[derive(Debug, Clone)]
pub struct Account {
    /// 32 hex characters.
    pub s3uid: String,
    /// Name of its first bucket.
    pub bucket: String,
    /// S3 endpoint, a URL.
    pub endpoint: String,
    /// Access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
}

impl Account {
    /// A real S3 client with the account's keys.
    #[must_use]
    pub fn s3(&self) -> aws_sdk_s3::Client {
        s3_client(&self.endpoint, &self.access_key, &self.secret_key)
    }
}

impl Site {
    /// A server at these addresses. Nothing is sent before the first call.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(gateway: SocketAddr, s3: SocketAddr, admin_token: String) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{gateway}"))
            .expect("a socket address makes a URL");
        let channel = endpoint.connect_lazy();
        Self { gateway, s3, admin_token, facade: Facade::new(gateway), channel }
    }

    /// Calls with this token.
    ///
    /// # Panics
    /// When the token cannot be sent in metadata.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Caller {
        let value = format!("Bearer {token}").parse().expect("a token is plain text");
        InterceptedService::new(self.channel.clone(), Bearer(Some(value)))
    }

    /// Calls as the administrator.
    #[must_use]
    pub fn as_admin(&self) -> Caller {
        self.with_token(&self.admin_token)
    }

    /// Calls without a token.
    #[must_use]
    pub fn as_nobody(&self) -> Caller {
        InterceptedService::new(self.channel.clone(), Bearer(None))
    }

    /// Creates a customer over gRPC, an API key for him, and logs in with it at the facade.
    pub async fn customer(&self, email: &str, currency: &str) -> Customer {
        let (id, api_key) = self.customer_without_token(email, currency).await;
        let token = self.login(&api_key).await;
        Customer { id, email: email.to_owned(), api_key, token }
    }

    /// Creates a customer over gRPC, and an API key for him.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn customer_without_token(&self, email: &str, currency: &str) -> (i64, String) {
        let customer = CustomerMessage {
            email: email.to_owned(),
            currency: currency.to_owned(),
            ..CustomerMessage::default()
        };
        let request = CreateCustomerRequest { customer: Some(customer), request_id: String::new() };
        let mut customers = CustomerServiceClient::new(self.as_admin());
        let customer =
            customers.create_customer(request).await.expect("a customer is created").into_inner();
        let request = CreateApiKeyRequest {
            customer: customer.name,
            label: "tests".to_owned(),
            ..Default::default()
        };
        let mut sessions = SessionServiceClient::new(self.as_admin());
        let key =
            sessions.create_api_key(request).await.expect("an API key is created").into_inner();
        (customer.customer_id, key.secret)
    }

    /// Logs in at the facade as existing clients do, and returns the token.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn login(&self, api_key: &str) -> String {
        let answer = self.facade.form("/auth.php", &[("action", "login"), ("key", api_key)]).await;
        let token = answer.value()["result"]["token"].as_str().map(ToOwned::to_owned);
        token.unwrap_or_else(|| panic!("no token in {}", answer.text()))
    }

    /// Orders an account at the facade and reads its keys.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn order(&self, token: &str, plan_id: i64, bucket: &str) -> Account {
        self.order_at(token, (plan_id, "NL"), bucket).await
    }

    /// Orders an account at a location and reads its keys.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn order_at(
        &self,
        token: &str,
        (plan_id, location): (i64, &str),
        bucket: &str,
    ) -> Account {
        let plan_id = plan_id.to_string();
        let parameters =
            [("plan_id", plan_id.as_str()), ("location", location), ("bucket_name", bucket)];
        let order = self.facade.action("create_order", token, &parameters).await.success();
        let text = |name: &str| order[name].as_str().unwrap_or_default().to_owned();
        let s3uid = text("s3uid");
        let access_key = self.show_key(token, &s3uid, "access_key").await;
        let secret_key = self.show_key(token, &s3uid, "secret_key").await;
        let endpoint = text("endpoint");
        Account { s3uid, bucket: bucket.to_owned(), endpoint, access_key, secret_key }
    }

    /// Reads one of an account's keys: `access_key` or `secret_key`.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn show_key(&self, token: &str, s3uid: &str, which: &str) -> String {
        let parameters = [("s3uid", s3uid), ("s3_key", which)];
        let answer = self.facade.action("show_key", token, &parameters).await.success();
        assert_eq!(answer["key"], answer[which], "{answer}");
        answer["key"].as_str().expect("a key is a text").to_owned()
    }

    /// The customer's accounts, over gRPC.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn accounts(&self, token: &str) -> Vec<stowage_proto::accounts::Account> {
        let mut accounts = AccountServiceClient::new(self.with_token(token));
        let request = ListAccountsRequest { page_size: 1000, ..ListAccountsRequest::default() };
        let answer = accounts.list_accounts(request).await.expect("accounts are listed");
        answer.into_inner().accounts
    }

    /// The ids of the paid and of the free plan that the first start seeds.
    ///
    /// # Panics
    /// When the catalogue has none.
    pub async fn plans(&self) -> (i64, i64) {
        use stowage_proto::billing::ListPlansRequest;
        use stowage_proto::billing::plan_service_client::PlanServiceClient;
        let mut plans = PlanServiceClient::new(self.as_admin());
        let answer = plans.list_plans(ListPlansRequest::default()).await;
        let plans = answer.expect("plans are listed").into_inner().plans;
        let id = |free: bool| {
            let plan = plans.iter().find(|plan| plan.active && plan.free == free);
            plan.expect("the seeded catalogue has a paid and a free plan").plan_id
        };
        (id(false), id(true))
    }
}
