//! `SagaService`.

use stowage_auth::RequestContext;
use stowage_proto::accounts as pb;
use stowage_saga::{Filter, Status as SagaStatus};
use stowage_types::{Violations, page};
use tonic::{Request, Response, Status, async_trait};
use uuid::Uuid;

use super::{Service, read_page};
use crate::domain::saga::Saga;
use crate::error::Error;

const LISTING: &str = "sagas";
const KIND_CHARS_MAX: usize = 100;

#[async_trait]
impl pb::saga_service_server::SagaService for Service {
    async fn list_sagas(
        &self,
        request: Request<pb::ListSagasRequest>,
    ) -> Result<Response<pb::ListSagasResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let scope = format!("{}/{}", request.status, request.kind);
        let page = self.domain.list_sagas(&cx, read_filter(request, &scope)?).await?;
        let last = page.rows.last().filter(|_| !page.is_last);
        let next_page_token = last.map(|row| page::encode(LISTING, &scope, &row.0.id.to_string()));
        let without_state = |saga: Saga| pb::Saga { state_json: String::new(), ..saga.into() };
        Ok(Response::new(pb::ListSagasResponse {
            sagas: page.rows.into_iter().map(without_state).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
        }))
    }

    async fn get_saga(
        &self,
        request: Request<pb::GetSagaRequest>,
    ) -> Result<Response<pb::Saga>, Status> {
        let cx = RequestContext::of(&request)?;
        let id = read_name(&request.into_inner().name)?;
        let saga = self.domain.get_saga(&cx, id).await?;
        Ok(Response::new(saga.into()))
    }

    async fn retry_saga(
        &self,
        request: Request<pb::RetrySagaRequest>,
    ) -> Result<Response<pb::Saga>, Status> {
        let read = |request: pb::RetrySagaRequest| read_name(&request.name);
        let work = async |cx, id, once| self.domain.retry_saga(&cx, id, &once).await;
        self.domain.requests.once(request, read, work).await
    }

    async fn undo_saga(
        &self,
        request: Request<pb::UndoSagaRequest>,
    ) -> Result<Response<pb::Saga>, Status> {
        let read = |request: pb::UndoSagaRequest| read_name(&request.name);
        let work = async |cx, id, once| self.domain.undo_saga(&cx, id, &once).await;
        self.domain.requests.once(request, read, work).await
    }
}

fn read_name(name: &str) -> Result<Uuid, Error> {
    let id = name.strip_prefix("sagas/").and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::field("name", "is not the name of a saga"))
}

fn read_filter(request: pb::ListSagasRequest, scope: &str) -> Result<Filter, Error> {
    let mut violations = Violations::default();
    violations.check_length("kind", &request.kind, KIND_CHARS_MAX);
    let status = SagaStatus::filter_of(request.status).unwrap_or_else(|_| {
        violations.push("status", "is not a status of sagas");
        None
    });
    violations.finish()?;
    let (before, size) = read_page((LISTING, scope), request.page_size, &request.page_token)?;
    let kind = (!request.kind.is_empty()).then_some(request.kind);
    Ok(Filter { kind, status, before, max: usize::try_from(size).unwrap_or(0) })
}

impl From<Saga> for pb::Saga {
    fn from(Saga(info): Saga) -> Self {
        info.into()
    }
}
