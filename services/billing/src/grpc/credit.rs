//! `CreditService`.

use std::sync::Arc;

use stowage_auth::RequestContext;
use stowage_proto::billing as pb;
use stowage_proto::billing::credit_service_server::CreditService;
use stowage_provider::{Credit, PaymentTerms};
use stowage_request::Requests;
use stowage_types::{CustomerId, Malformed, Violations, name};
use tonic::{Request, Response, Status};

use super::invoice::{read_amount, read_reference};
use crate::domain::Billing;
use crate::domain::credit::{CreditReceipt, CustomerStanding};
use crate::error::Error;

/// Serves `CreditService`.
#[derive(Debug)]
pub(crate) struct CreditGrpc {
    pub(crate) billing: Arc<Billing>,
    pub(crate) requests: Requests,
}

#[tonic::async_trait]
impl CreditService for CreditGrpc {
    async fn get_standing(
        &self,
        request: Request<pb::GetStandingRequest>,
    ) -> Result<Response<pb::Standing>, Status> {
        let cx = RequestContext::of(&request)?;
        let customer = match request.into_inner().customer.as_str() {
            "" => None,
            named => Some(read_customer(named)?),
        };
        let standing = self.billing.get_standing(&cx, customer).await?;
        Ok(Response::new(standing.into()))
    }

    async fn record_credit(
        &self,
        request: Request<pb::RecordCreditRequest>,
    ) -> Result<Response<pb::Standing>, Status> {
        let work = async |cx, receipt, once| self.billing.record_credit(&cx, receipt, &once).await;
        self.requests.once(request, CreditReceipt::try_from, work).await
    }

    async fn set_payment_terms(
        &self,
        request: Request<pb::SetPaymentTermsRequest>,
    ) -> Result<Response<pb::Standing>, Status> {
        let work = async |cx, set, once| self.billing.set_payment_terms(&cx, set, &once).await;
        self.requests.once(request, read_terms_of, work).await
    }
}

fn read_customer(text: &str) -> Result<CustomerId, Error> {
    name::parse_customer(text).map_err(|bad| Violations::of("customer", bad.why).into())
}

impl TryFrom<pb::RecordCreditRequest> for CreditReceipt {
    type Error = Error;

    fn try_from(request: pb::RecordCreditRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let customer = violations.check("customer", name::parse_customer(&request.customer));
        let amount = request.amount.as_ref().ok_or_else(|| Malformed::new("is required"));
        let amount = violations.check("amount", amount.and_then(read_amount));
        let reference = read_reference(&request.reference, &mut violations);
        match (customer, amount) {
            (Some(customer), Some(amount)) if violations.is_empty() => {
                Ok(Self { customer, amount, reference, installation: request.installation })
            }
            _ => Err(violations.into()),
        }
    }
}

fn read_terms_of(
    request: pb::SetPaymentTermsRequest,
) -> Result<(CustomerId, Option<PaymentTerms>), Error> {
    let mut violations = Violations::default();
    let customer = violations.check("customer", name::parse_customer(&request.customer));
    let terms = match pb::PaymentTerms::try_from(request.payment_terms) {
        Ok(pb::PaymentTerms::Unspecified) => None,
        Ok(pb::PaymentTerms::Prepaid) => Some(PaymentTerms::Prepaid),
        Ok(pb::PaymentTerms::Invoiced) => Some(PaymentTerms::Invoiced),
        Err(_) => {
            violations.push("payment_terms", "are not known");
            None
        }
    };
    match customer {
        Some(customer) if violations.is_empty() => Ok((customer, terms)),
        _ => Err(violations.into()),
    }
}

impl From<CustomerStanding> for pb::Standing {
    fn from(CustomerStanding { customer, standing }: CustomerStanding) -> Self {
        let terms = match standing.terms {
            PaymentTerms::Prepaid => pb::PaymentTerms::Prepaid,
            PaymentTerms::Invoiced => pb::PaymentTerms::Invoiced,
        };
        let credit = |credit: Credit| pb::Credit {
            usable: Some(credit.usable.to_proto()),
            held: Some(credit.held.to_proto()),
        };
        Self {
            customer_id: customer.0,
            payment_terms: terms.into(),
            has_own_terms: standing.has_own_terms,
            credits: standing.credits.into_iter().map(credit).collect(),
        }
    }
}
