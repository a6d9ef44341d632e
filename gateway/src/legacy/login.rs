//! `/auth.php`: tokens for API keys, for clients that expect it.

use futures_util::future::BoxFuture;
use stowage_proto::accounts::{LoginRequest, LogoutRequest};
use stowage_proto::common::PrincipalRole;
use stowage_types::from_timestamp;
use time::OffsetDateTime;
use tonic::{Code, Status};

use super::answers::SESSION;
use super::call::Facade;
use super::errors::Failure;
use super::params::{FIX_IP, KEY, Param, TTL};
use super::request::Params;
use super::schema::Field;
use super::{Incoming, is_get_or_post, method_not_allowed};
use crate::json::{Json, Object};

/// How long a token lives unless the client says otherwise, in seconds.
const TTL_DEFAULT_SECONDS: i64 = 10_800;

type Outcome = (&'static str, Result<Object, Failure>);

/// One action of `/auth.php`, for the router, the validator and the document.
pub(crate) struct SessionAction {
    pub(crate) name: &'static str,
    pub(crate) required: &'static [&'static Param],
    pub(crate) optional: &'static [&'static Param],
    /// What a success has as `result`; `None`: the text `OK`.
    pub(crate) answer: Option<&'static [Field]>,
    handler: for<'a> fn(&'a Facade, &'a Incoming<'a>) -> BoxFuture<'a, Result<Object, Failure>>,
}

/// Every action of `/auth.php`.
pub(crate) static SESSION_ACTIONS: [SessionAction; 3] = [
    SessionAction {
        name: "login",
        required: &[&KEY],
        optional: &[&TTL, &FIX_IP],
        answer: Some(SESSION),
        handler: |facade, incoming| Box::pin(facade.login(incoming)),
    },
    SessionAction {
        name: "logout",
        required: &[],
        optional: &[],
        answer: None,
        handler: |facade, incoming| Box::pin(facade.logout(incoming)),
    },
    SessionAction {
        name: "info",
        required: &[],
        optional: &[],
        answer: Some(SESSION),
        handler: |facade, incoming| Box::pin(facade.info(incoming)),
    },
];

impl SessionAction {
    /// Checks presence first, then form.
    fn validate(&self, params: &Params) -> Result<(), Failure> {
        if let Some(missing) = self.required.iter().find(|param| param.of(params).is_none()) {
            return Err(Failure::required(missing.name));
        }
        for param in self.required.iter().chain(self.optional) {
            if let Some(why) = param.of(params).and_then(|value| param.fault(value)) {
                return Err(Failure::invalid(param.name, why));
            }
        }
        Ok(())
    }
}

impl Facade {
    pub(super) async fn answer_login(&self, incoming: &Incoming<'_>) -> Outcome {
        if !is_get_or_post(&incoming.parts.method) {
            return ("auth", Err(method_not_allowed("GET, POST")));
        }
        let name = incoming.params.get("action").unwrap_or_default();
        let Some(action) = SESSION_ACTIONS.iter().find(|action| action.name == name) else {
            let why = if name.is_empty() { "action required" } else { "unknown action" };
            return ("auth", Err(Failure::business(why)));
        };
        let result = match action.validate(&incoming.params) {
            Ok(()) => (action.handler)(self, incoming).await,
            Err(failure) => Err(failure),
        };
        (action.name, result)
    }

    async fn login(&self, incoming: &Incoming<'_>) -> Result<Object, Failure> {
        let params = &incoming.params;
        let api_key = KEY.of(params).unwrap_or_default();
        if self.config.refuse_tokens_in_urls && params.is_in_url(KEY.name) {
            return Err(Failure::invalid(KEY.name, "keys are not taken from URLs here"));
        }
        let ttl = TTL.int(params).unwrap_or(TTL_DEFAULT_SECONDS);
        let is_fixed = FIX_IP.int(params) == Some(1);
        let message = LoginRequest {
            api_key: api_key.trim().to_owned(),
            ttl: Some(prost_types::Duration { seconds: ttl, nanos: 0 }),
            fixed_address: if is_fixed { incoming.address.to_string() } else { String::new() },
        };
        let attempt = self.limits.begin_login(&message.api_key, incoming.address)?;
        let request = self.request(message, None, incoming.request_id, incoming.deadline);
        let answer = self.sessions().login(request).await;
        self.limits.end_login(attempt, answer.as_ref().map_or_else(Status::code, |_| Code::Ok));
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            // A key is no token: with a 401 clients would log in again, for ever.
            Err(status) if status.code() == Code::Unauthenticated => {
                return Err(Failure::business("invalid key"));
            }
            Err(status) => return Err(status.into()),
        };
        let claims = answer.claims.unwrap_or_default();
        let session = Session {
            token: answer.token,
            expire_time: answer.expire_time.as_ref().and_then(|at| from_timestamp(at).ok()),
            role: claims.role(),
            email: answer.email,
            customer_id: claims.customer_id,
        };
        Ok(Object::new().with("result", session.to_object()).with("action", "login"))
    }

    async fn logout(&self, incoming: &Incoming<'_>) -> Result<Object, Failure> {
        let token = self.token(incoming)?;
        let message = LogoutRequest { token: token.clone() };
        let request = self.request(message, None, incoming.request_id, incoming.deadline);
        let answer = self.sessions().logout(request).await;
        self.identities.evict(&token);
        answer?;
        Ok(Object::new().with("result", "OK").with("action", "logout"))
    }

    async fn info(&self, incoming: &Incoming<'_>) -> Result<Object, Failure> {
        let token = self.token(incoming)?;
        let who = self.identities.resolve(&token, incoming.address, 0).await?;
        let session = Session {
            token,
            expire_time: who.token_expire_time,
            role: who.role,
            email: who.email.clone(),
            customer_id: who.customer_id,
        };
        Ok(Object::new().with("result", session.to_object()).with("action", "info"))
    }
}

/// What a client is told of its token.
struct Session {
    token: String,
    expire_time: Option<OffsetDateTime>,
    role: PrincipalRole,
    email: String,
    customer_id: i64,
}

impl Session {
    fn to_object(&self) -> Object {
        Object::new()
            .with("token", self.token.clone())
            // Seconds since 1970; null for a token that does not end.
            .with("token_expire", self.expire_time.map(OffsetDateTime::unix_timestamp))
            .with("role", role_text(self.role))
            .with("email", self.email.clone())
            .with("customer_id", (self.customer_id > 0).then_some(self.customer_id))
    }
}

fn role_text(role: PrincipalRole) -> Json {
    match role {
        PrincipalRole::Customer => "Customer".into(),
        PrincipalRole::Staff => "Staff".into(),
        PrincipalRole::Administrator => "Administrator".into(),
        PrincipalRole::Service => "Service".into(),
        PrincipalRole::Unspecified | PrincipalRole::Anonymous => Json::Null,
    }
}
