//! What the double says of unpaid invoices.

use stowage_proto::billing;
use tonic::{Request, Response, Status, async_trait};

use crate::double::{When, World};

use billing::invoice_service_server::InvoiceService;

const NOT_CALLED: &str = "accounts does not call this";

#[async_trait]
impl InvoiceService for World {
    async fn list_invoices(
        &self,
        request: Request<billing::ListInvoicesRequest>,
    ) -> Result<Response<billing::ListInvoicesResponse>, Status> {
        self.state().calls.push("ListInvoices");
        self.check("ListInvoices", When::Before)?;
        let request = request.into_inner();
        assert_eq!(request.state(), billing::InvoiceState::Open);
        let mut invoices = self.state().invoices.clone();
        let is_asked = |invoice: &billing::Invoice| {
            format!("customers/{}", invoice.customer_id) == request.customer
        };
        invoices.retain(is_asked);
        // A page each.
        let at: usize = request.page_token.parse().unwrap_or(0);
        let next_page_token = match at + 1 < invoices.len() {
            true => (at + 1).to_string(),
            false => String::new(),
        };
        let invoices = invoices.into_iter().skip(at).take(1).collect();
        Ok(Response::new(billing::ListInvoicesResponse { invoices, next_page_token }))
    }

    async fn get_invoice(
        &self,
        _: Request<billing::GetInvoiceRequest>,
    ) -> Result<Response<billing::Invoice>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn record_payment(
        &self,
        _: Request<billing::RecordPaymentRequest>,
    ) -> Result<Response<billing::Invoice>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn get_invoice_document(
        &self,
        _: Request<billing::GetInvoiceDocumentRequest>,
    ) -> Result<Response<billing::InvoiceDocument>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn verify_invoice(
        &self,
        _: Request<billing::VerifyInvoiceRequest>,
    ) -> Result<Response<billing::InvoiceVerification>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn verify_invoices(
        &self,
        _: Request<billing::VerifyInvoicesRequest>,
    ) -> Result<Response<billing::VerifyInvoicesResponse>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn list_charges(
        &self,
        _: Request<billing::ListChargesRequest>,
    ) -> Result<Response<billing::ListChargesResponse>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }

    async fn list_billed_usage(
        &self,
        request: Request<billing::ListBilledUsageRequest>,
    ) -> Result<Response<billing::ListBilledUsageResponse>, Status> {
        self.check("ListBilledUsage", When::Before)?;
        Ok(Response::new(self.billed_usage(&request.into_inner())))
    }

    async fn issue_credit_note(
        &self,
        _: Request<billing::IssueCreditNoteRequest>,
    ) -> Result<Response<billing::Invoice>, Status> {
        Err(Status::unimplemented(NOT_CALLED))
    }
}
