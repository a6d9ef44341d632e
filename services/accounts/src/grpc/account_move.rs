//! `AccountMoveService`.

use stowage_proto::accounts as pb;
use stowage_proto::accounts::account_move_service_server::AccountMoveService;
use stowage_types::name;
use tonic::{Request, Response, Status, async_trait};

use super::Service;
use super::account::read_named;
use crate::domain::account::Lookup;
use crate::domain::account_move::MoveName;
use crate::error::Error;

impl From<MoveName> for pb::MoveAccountResponse {
    fn from(MoveName(name): MoveName) -> Self {
        Self { r#move: name }
    }
}

impl From<MoveName> for pb::ConfirmAccountMoveResponse {
    fn from(MoveName(name): MoveName) -> Self {
        Self { r#move: name }
    }
}

impl From<MoveName> for pb::CancelAccountMoveResponse {
    fn from(MoveName(name): MoveName) -> Self {
        Self { r#move: name }
    }
}

#[async_trait]
impl AccountMoveService for Service {
    async fn move_account(
        &self,
        request: Request<pb::MoveAccountRequest>,
    ) -> Result<Response<pb::MoveAccountResponse>, Status> {
        let read = |pb::MoveAccountRequest { name, location, .. }| {
            let to = name::parse_location(&location);
            let to = to.map_err(|bad| Error::field("location", &bad.why))?;
            Ok((read_named(&name, "")?, to))
        };
        let work = async |cx, (lookup, to): (Lookup, String), once| {
            self.domain.move_account(&cx, (&lookup, &to), &once).await
        };
        self.domain.requests.once(request, read, work).await
    }

    async fn confirm_account_move(
        &self,
        request: Request<pb::ConfirmAccountMoveRequest>,
    ) -> Result<Response<pb::ConfirmAccountMoveResponse>, Status> {
        let read = |pb::ConfirmAccountMoveRequest { name, .. }| read_named(&name, "");
        let work =
            async |cx, lookup: Lookup, once| self.domain.confirm_move(&cx, &lookup, &once).await;
        self.domain.requests.once(request, read, work).await
    }

    async fn cancel_account_move(
        &self,
        request: Request<pb::CancelAccountMoveRequest>,
    ) -> Result<Response<pb::CancelAccountMoveResponse>, Status> {
        let read = |pb::CancelAccountMoveRequest { name, .. }| read_named(&name, "");
        let work =
            async |cx, lookup: Lookup, once| self.domain.cancel_move(&cx, &lookup, &once).await;
        self.domain.requests.once(request, read, work).await
    }
}
