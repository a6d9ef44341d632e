//! `InvoiceService`.

use std::sync::Arc;

use stowage_auth::RequestContext;
use stowage_proto::Money as MoneyProto;
use stowage_proto::billing as pb;
use stowage_proto::billing::invoice_service_server::InvoiceService;
use stowage_provider::InvoiceState;
use stowage_request::Requests;
use stowage_types::{Malformed, Money, Violations, name, page, timestamp};
use tonic::{Request, Response, Status};

use crate::domain::Billing;
use crate::domain::invoice::{Bill, BillListing, Receipt};
use crate::error::Error;

const PAGE_SIZE_DEFAULT: i32 = 50;
const PAGE_SIZE_MAX: i32 = 1000;
const REFERENCE_CHARS_MAX: usize = 128;

/// Serves `InvoiceService`.
#[derive(Debug)]
pub(crate) struct InvoiceGrpc {
    pub(crate) billing: Arc<Billing>,
    pub(crate) requests: Requests,
}

#[tonic::async_trait]
impl InvoiceService for InvoiceGrpc {
    async fn list_invoices(
        &self,
        request: Request<pb::ListInvoicesRequest>,
    ) -> Result<Response<pb::ListInvoicesResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let listing = BillListing::try_from(request.into_inner())?;
        let (bills, next_page_token) = self.billing.list_invoices(&cx, listing).await?;
        let invoices = bills.into_iter().map(pb::Invoice::from).collect();
        Ok(Response::new(pb::ListInvoicesResponse { invoices, next_page_token }))
    }

    async fn get_invoice(
        &self,
        request: Request<pb::GetInvoiceRequest>,
    ) -> Result<Response<pb::Invoice>, Status> {
        let cx = RequestContext::of(&request)?;
        let read = name::parse_invoice(&request.into_inner().name);
        let id = read.map_err(|bad| Error::from(Violations::of("name", bad.why)))?;
        let bill = self.billing.get_invoice(&cx, id).await?;
        Ok(Response::new(bill.into()))
    }

    async fn record_payment(
        &self,
        request: Request<pb::RecordPaymentRequest>,
    ) -> Result<Response<pb::Invoice>, Status> {
        let work = async |cx, receipt, once| self.billing.record_payment(&cx, receipt, &once).await;
        self.requests.once(request, Receipt::try_from, work).await
    }
}

impl TryFrom<pb::ListInvoicesRequest> for BillListing {
    type Error = Error;

    fn try_from(request: pb::ListInvoicesRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let size = page::size(request.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, &mut violations);
        let customer = match request.customer.as_str() {
            "" => None,
            named => violations.check("customer", name::parse_customer(named)),
        };
        let state = violations.check("state", read_state(request.state));
        violations.finish()?;
        Ok(Self { size, token: request.page_token, customer, state: state.flatten() })
    }
}

impl TryFrom<pb::RecordPaymentRequest> for Receipt {
    type Error = Error;

    fn try_from(request: pb::RecordPaymentRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let invoice_id = violations.check("name", name::parse_invoice(&request.name));
        let amount = request.amount.as_ref().map(read_amount).transpose();
        let amount = violations.check("amount", amount);
        let reference = request.reference.trim().to_owned();
        violations.check_length("reference", &reference, REFERENCE_CHARS_MAX);
        if reference.is_empty() || reference.chars().any(char::is_control) {
            violations.push("reference", "must be a text on one line");
        }
        violations.finish()?;
        let invoice_id = invoice_id.ok_or(Error::InvoiceNotFound)?;
        Ok(Self { invoice_id, amount: amount.flatten(), reference })
    }
}

fn read_amount(wire: &MoneyProto) -> Result<Money, Malformed> {
    let amount = Money::from_proto(wire)?;
    if amount.is_zero() || amount.is_negative() {
        return Err(Malformed::new("must be above zero"));
    }
    Ok(amount)
}

fn read_state(state: i32) -> Result<Option<InvoiceState>, Malformed> {
    match pb::InvoiceState::try_from(state) {
        Ok(pb::InvoiceState::Unspecified) => Ok(None),
        Ok(pb::InvoiceState::Draft) => Ok(Some(InvoiceState::Draft)),
        Ok(pb::InvoiceState::Open) => Ok(Some(InvoiceState::Open)),
        Ok(pb::InvoiceState::Paid) => Ok(Some(InvoiceState::Paid)),
        Ok(pb::InvoiceState::Void) => Ok(Some(InvoiceState::Void)),
        Err(_) => Err(Malformed::new("is not a state that we know")),
    }
}

fn state_to_proto(state: InvoiceState) -> pb::InvoiceState {
    match state {
        InvoiceState::Draft => pb::InvoiceState::Draft,
        InvoiceState::Open => pb::InvoiceState::Open,
        InvoiceState::Paid => pb::InvoiceState::Paid,
        InvoiceState::Void => pb::InvoiceState::Void,
    }
}

impl From<Bill> for pb::Invoice {
    fn from(Bill { invoice, s3uid, overdue_time, dunning_stage }: Bill) -> Self {
        Self {
            name: name::invoice(invoice.id),
            invoice_id: invoice.id,
            customer_id: invoice.customer.0,
            service_id: invoice.service_id,
            s3uid,
            state: state_to_proto(invoice.state).into(),
            total: Some(invoice.total.to_proto()),
            paid: Some(invoice.paid.to_proto()),
            balance: Some(invoice.balance().to_proto()),
            title: invoice.title,
            create_time: Some(timestamp(invoice.create_time)),
            issue_time: invoice.issue_time.map(timestamp),
            due_time: invoice.due_time.map(timestamp),
            settle_time: invoice.settle_time.map(timestamp),
            overdue_time: overdue_time.map(timestamp),
            dunning_stage: dunning_stage.map(pb::DunningStage::from).unwrap_or_default().into(),
        }
    }
}
