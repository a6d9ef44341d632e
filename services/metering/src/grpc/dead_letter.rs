//! `DeadLetterService`.

use stowage_auth::RequestContext;
use stowage_bus::{DeadLetter, LetterFilter};
use stowage_proto::common::DeadLetter as Message;
use stowage_proto::metering as pb;
use stowage_request::Requests;
use stowage_types::{Violations, page};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{PAGE_DEFAULT, PAGE_MAX};
use crate::domain::Metering;
use crate::error::Error;

const LISTING: &str = "deadLetters";

pub(crate) struct DeadLetters {
    pub(crate) metering: Metering,
    pub(crate) requests: Requests,
}

#[tonic::async_trait]
impl pb::dead_letter_service_server::DeadLetterService for DeadLetters {
    async fn list_dead_letters(
        &self,
        request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let scope = format!("{}/{}", request.status, request.consumer);
        let mut filter = read_filter(request, &scope)?;
        let size = filter.max;
        filter.max += 1;
        let mut found = self.metering.list_dead_letters(&cx, &filter).await?;
        let mut next_page_token = String::new();
        if found.len() > size {
            found.truncate(size);
            let last = found.last().map(|letter| letter.id.to_string()).unwrap_or_default();
            next_page_token = page::encode(LISTING, &scope, &last);
        }
        let dead_letters = found.into_iter().map(DeadLetter::into_short).collect();
        Ok(Response::new(pb::ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn get_dead_letter(
        &self,
        request: Request<pb::GetDeadLetterRequest>,
    ) -> Result<Response<Message>, Status> {
        let cx = RequestContext::of(&request)?;
        let id = read_name(&request.into_inner().name)?;
        let letter = self.metering.get_dead_letter(&cx, id).await?;
        Ok(Response::new(letter.into()))
    }

    async fn replay_dead_letter(
        &self,
        request: Request<pb::ReplayDeadLetterRequest>,
    ) -> Result<Response<Message>, Status> {
        let read = |request: pb::ReplayDeadLetterRequest| read_name(&request.name);
        let work = async |cx, id, once| self.metering.replay_dead_letter(&cx, id, &once).await;
        self.requests.once(request, read, work).await
    }
}

fn read_name(name: &str) -> Result<Uuid, Error> {
    DeadLetter::parse_name(name).map_err(|bad| Violations::of("name", bad.why).into())
}

fn read_filter(request: pb::ListDeadLettersRequest, scope: &str) -> Result<LetterFilter, Error> {
    let mut violations = Violations::default();
    let filter = LetterFilter::read(request.consumer, request.status, &mut violations);
    let size = page::size(request.page_size, PAGE_DEFAULT, PAGE_MAX, &mut violations);
    let before = page::decode(LISTING, scope, &request.page_token);
    let before = before.ok().map(|token| token.map(|text| text.parse()).transpose());
    violations.finish()?;
    let before = before.and_then(Result::ok).ok_or(Error::PageTokenInvalid)?;
    Ok(LetterFilter { before, max: usize::try_from(size).unwrap_or(0), ..filter })
}
