//! `SagaService`.

use stowage_auth::RequestContext;
use stowage_proto::accounts::Saga as Message;
use stowage_proto::storage as pb;
use stowage_saga::{Filter, Info, Status as SagaStatus};
use stowage_types::{Violations, page};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Api;
use crate::error::Error;

const LISTING: &str = "sagas";
const KIND_CHARS_MAX: usize = 100;

#[tonic::async_trait]
impl pb::saga_service_server::SagaService for Api {
    async fn list_sagas(
        &self,
        request: Request<pb::ListSagasRequest>,
    ) -> Result<Response<pb::ListSagasResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let scope = format!("{}/{}", request.status, request.kind);
        let mut filter = read_filter(request, &scope)?;
        let size = filter.max;
        filter.max += 1;
        let mut found = self.0.list_sagas(&cx, &filter).await?;
        let mut next_page_token = String::new();
        if found.len() > size {
            found.truncate(size);
            let last = found.last().map(|saga| saga.id.to_string()).unwrap_or_default();
            next_page_token = page::encode(LISTING, &scope, &last);
        }
        let without_state = |info: Info| Message { state_json: String::new(), ..info.into() };
        let sagas = found.into_iter().map(without_state).collect();
        Ok(Response::new(pb::ListSagasResponse { sagas, next_page_token }))
    }

    async fn get_saga(
        &self,
        request: Request<pb::GetSagaRequest>,
    ) -> Result<Response<Message>, Status> {
        let cx = RequestContext::of(&request)?;
        let id = read_name(&request.into_inner().name)?;
        let saga = self.0.get_saga(&cx, id).await?;
        Ok(Response::new(saga.into()))
    }

    async fn retry_saga(
        &self,
        request: Request<pb::RetrySagaRequest>,
    ) -> Result<Response<Message>, Status> {
        let read = |request: pb::RetrySagaRequest| read_name(&request.name);
        let work = async |cx, id, once| self.0.retry_saga(&cx, id, &once).await;
        self.0.storage.requests.once(request, read, work).await
    }

    async fn undo_saga(
        &self,
        request: Request<pb::UndoSagaRequest>,
    ) -> Result<Response<Message>, Status> {
        let read = |request: pb::UndoSagaRequest| read_name(&request.name);
        let work = async |cx, id, once| self.0.undo_saga(&cx, id, &once).await;
        self.0.storage.requests.once(request, read, work).await
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
    let size = page::size(request.page_size, 50, 1000, &mut violations);
    violations.finish()?;
    let before = match page::decode(LISTING, scope, &request.page_token) {
        Ok(before) => before.map(|text| text.parse()).transpose(),
        Err(_) => return Err(Error::PageTokenInvalid),
    };
    let before = before.map_err(|_| Error::PageTokenInvalid)?;
    let kind = (!request.kind.is_empty()).then_some(request.kind);
    Ok(Filter { kind, status, before, max: usize::try_from(size).unwrap_or(0) })
}
