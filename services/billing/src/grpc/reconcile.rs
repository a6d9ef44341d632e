//! `ReconcileService`.

use std::sync::Arc;

use stowage_auth::RequestContext;
use stowage_proto::billing as pb;
use stowage_proto::billing::reconcile_service_server::ReconcileService;
use stowage_types::{name, page, timestamp};
use tonic::{Request, Response, Status};

use crate::domain::Billing;
use crate::domain::reconcile::cursor::Cursor;
use crate::domain::reconcile::finding::{Finding, Kind, Outcome};
use crate::error::Error;

const LISTING: &str = "billing.reconcile";

/// Serves `ReconcileService`.
#[derive(Debug)]
pub(crate) struct ReconcileGrpc(pub(crate) Arc<Billing>);

#[tonic::async_trait]
impl ReconcileService for ReconcileGrpc {
    async fn reconcile(
        &self,
        request: Request<pb::ReconcileRequest>,
    ) -> Result<Response<pb::ReconcileResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::ReconcileRequest { mend, page_token } = request.into_inner();
        let scope = mend.to_string();
        let from = page::decode(LISTING, &scope, &page_token);
        let from = from.map_err(|bad| Error::PageToken { why: bad.why })?;
        let from = from.map_or_else(|| Ok(Cursor::default()), |text| text.parse());
        let is_none = |_| Error::PageToken { why: "is not a token of this listing".to_owned() };
        let part = self.0.reconcile(&cx, mend, from.map_err(is_none)?).await?;
        let next = part.next.map(|next| page::encode(LISTING, &scope, &next.to_string()));
        Ok(Response::new(pb::ReconcileResponse {
            findings: part.findings.into_iter().map(pb::Finding::from).collect(),
            looked_at: part.looked_at,
            next_page_token: next.unwrap_or_default(),
        }))
    }
}

impl From<Kind> for pb::FindingKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::ServiceMissing => Self::ServiceMissing,
            Kind::ServiceUnknown => Self::ServiceUnknown,
            Kind::EndedThere => Self::EndedThere,
            Kind::EndedHere => Self::EndedHere,
            Kind::PendingThere => Self::PendingThere,
            Kind::PendingHere => Self::PendingHere,
            Kind::CustomerDiffers => Self::CustomerDiffers,
            Kind::PlanDiffers => Self::PlanDiffers,
            Kind::PriceDiffers => Self::PriceDiffers,
            Kind::EndDiffers => Self::EndDiffers,
            Kind::InvoiceTwice => Self::InvoiceTwice,
            Kind::InvoiceMissing => Self::InvoiceMissing,
            Kind::InvoiceUnknown => Self::InvoiceUnknown,
            Kind::BillNotIssued => Self::BillNotIssued,
            Kind::LinkBroken => Self::LinkBroken,
            Kind::BooksDiffer => Self::BooksDiffer,
        }
    }
}

impl From<Finding> for pb::Finding {
    fn from(finding: Finding) -> Self {
        let subscription = match finding.service_id {
            0 => String::new(),
            id => name::subscription(id),
        };
        let account = match finding.s3uid.as_str() {
            "" => String::new(),
            s3uid => format!("accounts/{s3uid}"),
        };
        let why_not = match &finding.outcome {
            Outcome::Failed(why) => why.clone(),
            Outcome::Left | Outcome::Mended => String::new(),
        };
        Self {
            kind: pb::FindingKind::from(finding.kind).into(),
            installation: finding.installation,
            subscription,
            account,
            customer: finding.customer.map(name::customer).unwrap_or_default(),
            here: finding.here,
            there: finding.there,
            since_time: finding.since.map(timestamp),
            advice: finding.kind.advice().to_owned(),
            mended: finding.outcome == Outcome::Mended,
            why_not,
        }
    }
}
