//! Moves of accounts, as storage carries them out.

use stowage_auth::RequestContext;
use stowage_proto::storage;
use stowage_proto::storage::AccountMoveState;
use stowage_types::name;
use tonic::Code;

use super::{CallError, EngineKey, Roles};

/// How far a move is, as far as accounts has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moving {
    /// The account may be changed, and the move has nothing to ask.
    Free,
    /// It waits to be frozen.
    Copied,
    Frozen,
    /// It waits to be switched, or the switch was cut off.
    Verified,
}

/// An account as it is to be at its new location.
pub(crate) struct Switched<'a> {
    /// Of the move.
    pub(crate) name: &'a str,
    pub(crate) keys: &'a [EngineKey],
    pub(crate) quota_bytes: i64,
    pub(crate) bucket_max: i32,
    pub(crate) suspended: bool,
    pub(crate) read_only: bool,
    pub(crate) may_delete: bool,
}

impl Roles {
    /// Begins a move, or looks only whether it can be.
    pub(crate) async fn start_move(
        &self,
        cx: &RequestContext,
        (name, to): (&str, &str),
        keys: &[EngineKey],
        validate_only: bool,
    ) -> Result<(), CallError> {
        let message = storage::StartAccountMoveRequest {
            name: name.to_owned(),
            location: name::location(to),
            keys: keys.iter().map(storage::EngineKey::from).collect(),
            validate_only,
        };
        self.moves.clone().start_account_move(cx.outgoing(message)).await?;
        Ok(())
    }

    pub(crate) async fn moving(
        &self,
        cx: &RequestContext,
        name: &str,
    ) -> Result<Moving, CallError> {
        let message = storage::GetAccountMoveRequest { name: name.to_owned() };
        let found = self.moves.clone().get_account_move(cx.outgoing(message)).await?.into_inner();
        Ok(match found.state() {
            AccountMoveState::Copied => Moving::Copied,
            AccountMoveState::Freezing
            | AccountMoveState::Verifying
            | AccountMoveState::Cancelling
            | AccountMoveState::Failing => Moving::Frozen,
            // One that is switched there is to be switched here: the saga was cut off.
            AccountMoveState::Verified
            | AccountMoveState::Switching
            | AccountMoveState::Switched => Moving::Verified,
            _ => Moving::Free,
        })
    }

    pub(crate) async fn freeze_move(
        &self,
        cx: &RequestContext,
        name: &str,
    ) -> Result<(), CallError> {
        let message = storage::FreezeAccountMoveRequest { name: name.to_owned() };
        self.moves.clone().freeze_account_move(cx.outgoing(message)).await?;
        Ok(())
    }

    /// Answers the endpoint.
    pub(crate) async fn switch_move(
        &self,
        cx: &RequestContext,
        switched: &Switched<'_>,
    ) -> Result<String, CallError> {
        let message = storage::SwitchAccountMoveRequest {
            name: switched.name.to_owned(),
            keys: switched.keys.iter().map(storage::EngineKey::from).collect(),
            quota_bytes: switched.quota_bytes,
            bucket_max: switched.bucket_max,
            suspended: switched.suspended,
            read_only: switched.read_only,
            may_delete: switched.may_delete,
        };
        let answer = self.moves.clone().switch_account_move(cx.outgoing(message)).await?;
        Ok(answer.into_inner().account.unwrap_or_default().endpoint)
    }

    pub(crate) async fn confirm_move(
        &self,
        cx: &RequestContext,
        name: &str,
    ) -> Result<(), CallError> {
        let message = storage::ConfirmAccountMoveRequest { name: name.to_owned() };
        self.moves.clone().confirm_account_move(cx.outgoing(message)).await?;
        Ok(())
    }

    /// Gives a move up; one that was never begun is given up already.
    pub(crate) async fn cancel_move(
        &self,
        cx: &RequestContext,
        name: &str,
    ) -> Result<(), CallError> {
        let message = storage::CancelAccountMoveRequest { name: name.to_owned() };
        let cancelled = self.moves.clone().cancel_account_move(cx.outgoing(message)).await;
        match cancelled.map_err(CallError::from) {
            Err(error) if error.code == Code::NotFound => Ok(()),
            other => other.map(drop),
        }
    }
}
