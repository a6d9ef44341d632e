//! `ReconcileService`.

use stowage_auth::RequestContext;
use stowage_proto::accounts as pb;
use stowage_types::page;
use tonic::{Request, Response, Status, async_trait};

use super::Service;
use crate::domain::finding::{Finding, Kind};
use crate::domain::reconcile_cursor::Cursor;
use crate::error::Error;

const LISTING: &str = "reconcile";

#[async_trait]
impl pb::reconcile_service_server::ReconcileService for Service {
    async fn reconcile(
        &self,
        request: Request<pb::ReconcileRequest>,
    ) -> Result<Response<pb::ReconcileResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let pb::ReconcileRequest { dry_run, page_token } = request.into_inner();
        let scope = dry_run.to_string();
        let from = page::decode(LISTING, &scope, &page_token);
        let from = from.map_err(|_| Error::PageTokenInvalid)?;
        let from = from.map_or_else(|| Ok(Cursor::default()), |text| text.parse())?;
        let part = self.domain.reconcile(&cx, dry_run, from).await?;
        let next = part.next.map(|next| page::encode(LISTING, &scope, &next.to_string()));
        Ok(Response::new(pb::ReconcileResponse {
            findings: part.findings.into_iter().map(pb::Finding::from).collect(),
            looked_at: part.looked_at,
            next_page_token: next.unwrap_or_default(),
        }))
    }
}

impl From<Finding> for pb::Finding {
    fn from(finding: Finding) -> Self {
        let kind = match finding.kind {
            Kind::EngineAccountMissing => pb::FindingKind::EngineAccountMissing,
            Kind::EngineAccountDiffers => pb::FindingKind::EngineAccountDiffers,
            Kind::EngineAccountOrphan => pb::FindingKind::EngineAccountOrphan,
            Kind::SubscriptionMissing => pb::FindingKind::SubscriptionMissing,
            Kind::SubscriptionDiffers => pb::FindingKind::SubscriptionDiffers,
            Kind::CancellationDiffers => pb::FindingKind::CancellationDiffers,
            Kind::SubscriptionOrphan => pb::FindingKind::SubscriptionOrphan,
            Kind::SagaStuck => pb::FindingKind::SagaStuck,
            Kind::SagaAbandoned => pb::FindingKind::SagaAbandoned,
            Kind::EventsOverdue => pb::FindingKind::EventsOverdue,
            Kind::EventsDead => pb::FindingKind::EventsDead,
            Kind::EngineUnlisted => pb::FindingKind::EngineUnlisted,
        };
        let account = match finding.s3uid.is_empty() {
            true => String::new(),
            false => format!("accounts/{}", finding.s3uid),
        };
        Self {
            kind: kind.into(),
            account,
            what: finding.what,
            mended: finding.why_not.is_none(),
            why_not: finding.why_not.unwrap_or_default(),
        }
    }
}
