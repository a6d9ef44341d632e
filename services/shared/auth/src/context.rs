//! The context of one request: who, which, and until when.

use std::time::Duration;

use stowage_types::{Currency, CustomerId};
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

use crate::{Principal, PrincipalRole, REQUEST_ID_KEY, Scope};

/// What a call passes on is shorter by this than what it was given, so that it can still answer.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(50);

/// In the extensions of an outgoing call: the customer the calling role acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActFor(pub CustomerId, pub Option<Currency>);

/// In the extensions of an incoming call: its id, from the caller or made by us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Who a call acts as, its id, and its deadline. Put into the request's extensions by the role's
/// layers, first parameter of every domain function.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Whoever the call acts as.
    pub principal: Principal,
    /// Names the call in logs and errors; up to 64 characters.
    pub request_id: String,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

impl RequestContext {
    /// The context that the layers put into the request.
    ///
    /// # Errors
    /// `INTERNAL` if a server was built without the layers.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Status::internal("the service was built without its layers"))
    }

    /// The context of work that no caller waits for: sagas, timers, consumers.
    #[must_use]
    pub fn background(request_id: impl Into<String>) -> Self {
        Self {
            principal: Principal::service("services/background", None),
            request_id: request_id.into(),
            deadline: None,
        }
    }

    /// Who did it, for history: `administrator for customers/1001`.
    #[must_use]
    pub fn actor(&self) -> String {
        match self.principal.acted_for {
            Some(customer) => format!("{} for customers/{customer}", self.principal.subject),
            None => self.principal.subject.clone(),
        }
    }

    /// Whether the call comes from another role.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.principal.role == PrincipalRole::Service
    }

    /// The customer the call acts as or for.
    #[must_use]
    pub fn customer(&self) -> Option<CustomerId> {
        match self.principal.scope() {
            Scope::Customer(customer) if customer.0 > 0 => Some(customer),
            _ => None,
        }
    }

    /// Whether what `owner` owns is visible to the caller.
    #[must_use]
    pub fn sees(&self, owner: CustomerId) -> bool {
        match self.principal.scope() {
            Scope::Everything => true,
            Scope::Customer(customer) => customer == owner,
        }
    }

    /// Wraps a message for a call to another role: the same request id, what is left of the
    /// deadline, acting for the same customer.
    pub fn outgoing<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(id) = MetadataValue::try_from(&self.request_id) {
            request.metadata_mut().insert(REQUEST_ID_KEY, id);
        }
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            request.set_timeout(left.saturating_sub(DEADLINE_MARGIN));
        }
        if let Some(customer) = self.customer() {
            request.extensions_mut().insert(ActFor(customer, self.principal.currency));
        }
        request
    }
}
