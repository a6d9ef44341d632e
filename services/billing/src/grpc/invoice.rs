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

use super::billed_usage;
use crate::domain::Billing;
use crate::domain::charge::ChargeListing;
use crate::domain::credit::NoteRequest;
use crate::domain::invoice::{InvoicesListing, Receipt, ShownInvoice};
use crate::domain::verification::{Difference, Verification, Verified};
use crate::error::Error;

const PAGE_SIZE_DEFAULT: i32 = 50;
const PAGE_SIZE_MAX: i32 = 1000;
const REFERENCE_CHARS_MAX: usize = 128;
const REASON_CHARS_MAX: usize = 200;
/// Invoices that are verified at once by default.
const VERIFIED_DEFAULT: i32 = 500;

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
        let listing = InvoicesListing::try_from(request.into_inner())?;
        let (bills, next_page_token) = self.billing.list_invoices(&cx, listing).await?;
        let invoices = bills.into_iter().map(pb::Invoice::from).collect();
        Ok(Response::new(pb::ListInvoicesResponse { invoices, next_page_token }))
    }

    async fn get_invoice(
        &self,
        request: Request<pb::GetInvoiceRequest>,
    ) -> Result<Response<pb::Invoice>, Status> {
        let cx = RequestContext::of(&request)?;
        let id = read_name(&request.into_inner().name)?;
        let bill = self.billing.get_invoice(&cx, id).await?;
        Ok(Response::new(bill.into()))
    }

    async fn get_invoice_document(
        &self,
        request: Request<pb::GetInvoiceDocumentRequest>,
    ) -> Result<Response<pb::InvoiceDocument>, Status> {
        let cx = RequestContext::of(&request)?;
        let id = read_name(&request.into_inner().name)?;
        let page = self.billing.invoice_document(&cx, id).await?;
        let content_type = "text/html; charset=utf-8".to_owned();
        Ok(Response::new(pb::InvoiceDocument { content_type, content: page.into_bytes() }))
    }

    async fn verify_invoice(
        &self,
        request: Request<pb::VerifyInvoiceRequest>,
    ) -> Result<Response<pb::InvoiceVerification>, Status> {
        let cx = RequestContext::of(&request)?;
        let id = read_name(&request.into_inner().name)?;
        let verified = self.billing.verify_invoice(&cx, id).await?;
        Ok(Response::new(verified.into()))
    }

    async fn verify_invoices(
        &self,
        request: Request<pb::VerifyInvoicesRequest>,
    ) -> Result<Response<pb::VerifyInvoicesResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let size = page::size(request.page_size, VERIFIED_DEFAULT, PAGE_SIZE_MAX, &mut violations);
        violations.finish().map_err(Error::from)?;
        let Verified { count, disagreeing, next_token } =
            self.billing.verify_invoices(&cx, (size, &request.page_token)).await?;
        Ok(Response::new(pb::VerifyInvoicesResponse {
            verified_count: i32::try_from(count).unwrap_or(i32::MAX),
            disagreeing: disagreeing.into_iter().map(Into::into).collect(),
            next_page_token: next_token,
        }))
    }

    async fn list_charges(
        &self,
        request: Request<pb::ListChargesRequest>,
    ) -> Result<Response<pb::ListChargesResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let listing = ChargeListing::try_from(request.into_inner())?;
        let (lines, next_page_token) = self.billing.list_charges(&cx, listing).await?;
        let lines = lines.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListChargesResponse { lines, next_page_token }))
    }

    async fn list_billed_usage(
        &self,
        request: Request<pb::ListBilledUsageRequest>,
    ) -> Result<Response<pb::ListBilledUsageResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let s3uids = billed_usage::read(request.into_inner()).map_err(Error::from)?;
        let usages = self.billing.billed_usage(&cx, &s3uids).await?;
        let usages = usages.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListBilledUsageResponse { usages }))
    }

    async fn issue_credit_note(
        &self,
        request: Request<pb::IssueCreditNoteRequest>,
    ) -> Result<Response<pb::Invoice>, Status> {
        let work = async |cx, note, once| self.billing.issue_credit_note(&cx, note, &once).await;
        self.requests.once(request, NoteRequest::try_from, work).await
    }

    async fn record_payment(
        &self,
        request: Request<pb::RecordPaymentRequest>,
    ) -> Result<Response<pb::Invoice>, Status> {
        let work = async |cx, receipt, once| self.billing.record_payment(&cx, receipt, &once).await;
        self.requests.once(request, Receipt::try_from, work).await
    }
}

impl TryFrom<pb::ListInvoicesRequest> for InvoicesListing {
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
        let reference = read_reference(&request.reference, &mut violations);
        violations.finish()?;
        let invoice_id = invoice_id.ok_or(Error::InvoiceNotFound)?;
        Ok(Self { invoice_id, amount: amount.flatten(), reference })
    }
}

impl TryFrom<pb::IssueCreditNoteRequest> for NoteRequest {
    type Error = Error;

    fn try_from(request: pb::IssueCreditNoteRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let invoice_id = violations.check("name", name::parse_invoice(&request.name));
        let amount = request.amount.as_ref().map(read_amount).transpose();
        let amount = violations.check("amount", amount);
        let reference = read_reference(&request.reference, &mut violations);
        let reason = request.reason.trim().to_owned();
        violations.check_length("reason", &reason, REASON_CHARS_MAX);
        if reason.is_empty() || reason.chars().any(char::is_control) {
            violations.push("reason", "must be a text on one line");
        }
        violations.finish()?;
        let invoice_id = invoice_id.ok_or(Error::InvoiceNotFound)?;
        Ok(Self { invoice_id, amount: amount.flatten(), reason, reference })
    }
}

fn read_name(text: &str) -> Result<i64, Error> {
    name::parse_invoice(text).map_err(|bad| Violations::of("name", bad.why).into())
}

/// Reads what whoever brought it calls a payment.
pub(super) fn read_reference(text: &str, violations: &mut Violations) -> String {
    let reference = text.trim().to_owned();
    violations.check_length("reference", &reference, REFERENCE_CHARS_MAX);
    if reference.is_empty() || reference.chars().any(char::is_control) {
        violations.push("reference", "must be a text on one line");
    }
    reference
}

pub(super) fn read_amount(wire: &MoneyProto) -> Result<Money, Malformed> {
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

impl From<ShownInvoice> for pb::Invoice {
    fn from(
        ShownInvoice { invoice, s3uid, overdue_time, dunning_stage, lines }: ShownInvoice,
    ) -> Self {
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
            lines: lines.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Verification> for pb::InvoiceVerification {
    fn from(verified: Verification) -> Self {
        let difference = |difference: Difference| pb::InvoiceDifference {
            line: difference.line,
            field: difference.field.to_owned(),
            stored: difference.stored,
            computed: difference.computed,
        };
        Self {
            name: name::invoice(verified.invoice_id),
            agrees: verified.differences.is_empty(),
            total: verified.total.map(Money::to_proto),
            computed_total: Some(verified.computed_total.to_proto()),
            differences: verified.differences.into_iter().map(difference).collect(),
        }
    }
}
