//! `AccountMoveService`.

use stowage_auth::RequestContext;
use stowage_engine::{AccountSpec, Quota};
use stowage_proto::storage as pb;
use stowage_proto::storage::account_move_service_server::AccountMoveService;
use stowage_types::{S3uid, Violations, name, page, timestamp};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::engine_account::{access_of, bounds_of, keys_of, message_at};
use super::{Api, complete};
use crate::domain::account_move::{AccountMove, State};
use crate::domain::account_move_start::Start;
use crate::error::Error;

impl From<AccountMove> for pb::AccountMove {
    fn from(moved: AccountMove) -> Self {
        let state = match moved.state {
            State::Preparing => pb::AccountMoveState::Preparing,
            State::Copying => pb::AccountMoveState::Copying,
            State::Copied => pb::AccountMoveState::Copied,
            State::Freezing => pb::AccountMoveState::Freezing,
            State::Verifying => pb::AccountMoveState::Verifying,
            State::Verified => pb::AccountMoveState::Verified,
            State::Switching => pb::AccountMoveState::Switching,
            State::Switched => pb::AccountMoveState::Switched,
            State::Confirming => pb::AccountMoveState::Confirming,
            State::Confirmed => pb::AccountMoveState::Confirmed,
            State::Cancelling => pb::AccountMoveState::Cancelling,
            State::Cancelled => pb::AccountMoveState::Cancelled,
            State::Failing => pb::AccountMoveState::Failing,
            State::Failed => pb::AccountMoveState::Failed,
        };
        Self {
            name: name::account_move(&moved.uid, moved.id),
            from_location: name::location(&moved.from),
            to_location: name::location(&moved.to),
            state: state.into(),
            why: moved.why,
            faults: moved.faults,
            start_bucket_count: moved.start_buckets,
            start_object_count: moved.start.objects,
            start_bytes: moved.start.bytes,
            copied_object_count: moved.copied.objects,
            copied_bytes: moved.copied.bytes,
            checked_object_count: moved.checked.objects,
            checked_bytes: moved.checked.bytes,
            unfinished_upload_count: moved.unfinished_uploads,
            create_time: Some(timestamp(moved.create_time)),
            update_time: Some(timestamp(moved.update_time)),
            freeze_time: moved.freeze_time.map(timestamp),
            switch_time: moved.switch_time.map(timestamp),
            end_time: moved.end_time.map(timestamp),
        }
    }
}

impl TryFrom<pb::StartAccountMoveRequest> for Start {
    type Error = Error;

    fn try_from(request: pb::StartAccountMoveRequest) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let named = violations.check("name", name::parse_account_move(&request.name));
        let to = violations.check("location", name::parse_location(&request.location));
        let keys = keys_of(request.keys, &mut violations);
        let ((uid, id), to) = complete(named.zip(to), violations)?;
        Ok(Self { uid, id, to, keys, validate_only: request.validate_only })
    }
}

fn named(text: &str) -> Result<(S3uid, Uuid), Error> {
    let mut violations = Violations::default();
    let named = violations.check("name", name::parse_account_move(text));
    complete(named, violations)
}

fn switched(request: pb::SwitchAccountMoveRequest) -> Result<(Uuid, AccountSpec), Error> {
    let mut violations = Violations::default();
    let named = violations.check("name", name::parse_account_move(&request.name));
    let keys = keys_of(request.keys, &mut violations);
    let (bytes, bucket_max) = bounds_of((request.quota_bytes, request.bucket_max), &mut violations);
    let (uid, id) = complete(named, violations)?;
    let access = access_of((request.suspended, request.read_only));
    let quota = Quota { bytes, objects: None };
    Ok((id, AccountSpec { uid, keys, quota, bucket_max, access }))
}

/// A call that names a move and answers it.
macro_rules! call {
    ($self:ident, $request:ident, $method:ident) => {{
        let cx = RequestContext::of(&$request)?;
        let (uid, id) = named(&$request.get_ref().name)?;
        Ok(Response::new($self.0.storage.$method(&cx, (&uid, id)).await?.into()))
    }};
}

#[tonic::async_trait]
impl AccountMoveService for Api {
    async fn start_account_move(
        &self,
        request: Request<pb::StartAccountMoveRequest>,
    ) -> Result<Response<pb::AccountMove>, Status> {
        let cx = RequestContext::of(&request)?;
        let start = Start::try_from(request.into_inner())?;
        Ok(Response::new(self.0.storage.start_account_move(&cx, start).await?.into()))
    }

    async fn freeze_account_move(
        &self,
        request: Request<pb::FreezeAccountMoveRequest>,
    ) -> Result<Response<pb::AccountMove>, Status> {
        call!(self, request, freeze_account_move)
    }

    async fn switch_account_move(
        &self,
        request: Request<pb::SwitchAccountMoveRequest>,
    ) -> Result<Response<pb::SwitchAccountMoveResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let may_delete = request.may_delete;
        let (id, spec) = switched(request)?;
        let shape = (&spec, may_delete);
        let location = self.0.storage.switch_account_move(&cx, id, shape).await?;
        let account = Some(message_at(&spec.uid, location));
        Ok(Response::new(pb::SwitchAccountMoveResponse { account }))
    }

    async fn confirm_account_move(
        &self,
        request: Request<pb::ConfirmAccountMoveRequest>,
    ) -> Result<Response<pb::AccountMove>, Status> {
        call!(self, request, confirm_account_move)
    }

    async fn cancel_account_move(
        &self,
        request: Request<pb::CancelAccountMoveRequest>,
    ) -> Result<Response<pb::AccountMove>, Status> {
        call!(self, request, cancel_account_move)
    }

    async fn get_account_move(
        &self,
        request: Request<pb::GetAccountMoveRequest>,
    ) -> Result<Response<pb::AccountMove>, Status> {
        call!(self, request, account_move)
    }

    async fn list_account_moves(
        &self,
        request: Request<pb::ListAccountMovesRequest>,
    ) -> Result<Response<pb::ListAccountMovesResponse>, Status> {
        let cx = RequestContext::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::default();
        let uid = match request.parent.as_str() {
            "accounts/-" => None,
            text => violations.check("parent", name::parse_account(text)),
        };
        let size = page::size(request.page_size, 50, 1000, &mut violations);
        violations.finish().map_err(Error::from)?;
        let which = (uid.as_ref(), request.open_only);
        let page = (size, request.page_token.as_str());
        let page = self.0.storage.account_moves(&cx, which, page).await?;
        Ok(Response::new(pb::ListAccountMovesResponse {
            moves: page.moves.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
