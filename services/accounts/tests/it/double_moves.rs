//! Moves of accounts, as the double of storage keeps them: it takes each state that it is told to,
//! and gets on by itself when it is asked how far it is.

use stowage_proto::common::ErrorReason;
use stowage_proto::storage;
use stowage_proto::storage::AccountMoveState;
use stowage_proto::storage::account_move_service_server::AccountMoveService;
use tonic::{Code, Request, Response, Status, async_trait};

use crate::double::{State, World, refuse};

/// Where moves go.
pub(crate) const ELSEWHERE: &str = "locations/DE";
/// Its endpoint.
pub(crate) const THERE: &str = "http://127.0.0.1:9001";

fn s3uid_of(name: &str) -> String {
    name.split('/').nth(1).unwrap_or_default().to_owned()
}

fn found<'a>(state: &'a mut State, name: &str) -> Result<&'a mut storage::AccountMove, Status> {
    let none = || refuse(Code::NotFound, ErrorReason::AccountMoveNotFound);
    state.moves.get_mut(name).ok_or_else(none)
}

fn wrong_state() -> Status {
    refuse(Code::FailedPrecondition, ErrorReason::AccountMoveState)
}

#[async_trait]
impl AccountMoveService for World {
    async fn start_account_move(
        &self,
        request: Request<storage::StartAccountMoveRequest>,
    ) -> Result<Response<storage::AccountMove>, Status> {
        let request = request.into_inner();
        let (name, to_location) = (request.name.clone(), request.location.clone());
        let mut moved = storage::AccountMove { name, to_location, ..Default::default() };
        if request.location != ELSEWHERE {
            return Err(refuse(Code::NotFound, ErrorReason::LocationNotFound));
        }
        if request.validate_only {
            return Ok(Response::new(moved));
        }
        self.change("StartAccountMove", |state| {
            moved.set_state(AccountMoveState::Copying);
            let known = state.moves.entry(request.name.clone()).or_insert(moved);
            if known.state() == AccountMoveState::Failed {
                known.set_state(AccountMoveState::Copying);
            }
            Ok(known.clone())
        })
    }

    async fn freeze_account_move(
        &self,
        request: Request<storage::FreezeAccountMoveRequest>,
    ) -> Result<Response<storage::AccountMove>, Status> {
        let name = request.into_inner().name;
        self.change("FreezeAccountMove", |state| {
            let moved = found(state, &name)?;
            if moved.state() == AccountMoveState::Copied {
                moved.set_state(AccountMoveState::Freezing);
            }
            Ok(moved.clone())
        })
    }

    async fn switch_account_move(
        &self,
        request: Request<storage::SwitchAccountMoveRequest>,
    ) -> Result<Response<storage::SwitchAccountMoveResponse>, Status> {
        let request = request.into_inner();
        self.change("SwitchAccountMove", |state| {
            let moved = found(state, &request.name)?;
            match moved.state() {
                AccountMoveState::Verified => moved.set_state(AccountMoveState::Switched),
                AccountMoveState::Switched => {}
                _ => return Err(wrong_state()),
            }
            let known = state.engine.get_mut(&s3uid_of(&request.name)).unwrap();
            known.location = ELSEWHERE.to_owned();
            (known.keys, known.quota_bytes) = (request.keys.clone(), request.quota_bytes);
            (known.bucket_max, known.suspended) = (request.bucket_max, request.suspended);
            known.read_only = request.read_only;
            let account = Some(storage::EngineAccount {
                location: ELSEWHERE.to_owned(),
                endpoint: THERE.to_owned(),
                ..Default::default()
            });
            Ok(storage::SwitchAccountMoveResponse { account })
        })
    }

    async fn confirm_account_move(
        &self,
        request: Request<storage::ConfirmAccountMoveRequest>,
    ) -> Result<Response<storage::AccountMove>, Status> {
        let name = request.into_inner().name;
        self.change("ConfirmAccountMove", |state| {
            let moved = found(state, &name)?;
            match moved.state() {
                AccountMoveState::Switched | AccountMoveState::Confirmed => {
                    moved.set_state(AccountMoveState::Confirmed);
                    Ok(moved.clone())
                }
                _ => Err(wrong_state()),
            }
        })
    }

    async fn cancel_account_move(
        &self,
        request: Request<storage::CancelAccountMoveRequest>,
    ) -> Result<Response<storage::AccountMove>, Status> {
        let name = request.into_inner().name;
        self.change("CancelAccountMove", |state| {
            let moved = found(state, &name)?;
            match moved.state() {
                AccountMoveState::Switched | AccountMoveState::Confirmed => Err(wrong_state()),
                _ => {
                    moved.set_state(AccountMoveState::Cancelled);
                    Ok(moved.clone())
                }
            }
        })
    }

    async fn get_account_move(
        &self,
        request: Request<storage::GetAccountMoveRequest>,
    ) -> Result<Response<storage::AccountMove>, Status> {
        let name = request.into_inner().name;
        let mut state = self.state();
        let is_held = state.moves_held;
        let moved = found(&mut state, &name)?;
        match moved.state() {
            _ if is_held => {}
            AccountMoveState::Copying => moved.set_state(AccountMoveState::Copied),
            AccountMoveState::Freezing => moved.set_state(AccountMoveState::Verified),
            _ => {}
        }
        Ok(Response::new(moved.clone()))
    }

    async fn list_account_moves(
        &self,
        _: Request<storage::ListAccountMovesRequest>,
    ) -> Result<Response<storage::ListAccountMovesResponse>, Status> {
        Err(Status::unimplemented("accounts asks for one move at a time"))
    }
}
