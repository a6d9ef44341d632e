//! Sagas in the words of the contracts, which every role that runs them shows alike.

use stowage_proto::accounts as pb;
use stowage_types::timestamp;

use crate::{Direction, Failure, Info, Status};

impl Status {
    /// The filter of a listing: `None` for all.
    ///
    /// # Errors
    /// The number is not a status.
    pub fn filter_of(number: i32) -> Result<Option<Self>, prost::UnknownEnumValue> {
        Ok(match pb::SagaStatus::try_from(number)? {
            pb::SagaStatus::Unspecified => None,
            pb::SagaStatus::Running => Some(Self::Running),
            pb::SagaStatus::Completed => Some(Self::Completed),
            pb::SagaStatus::Undone => Some(Self::Undone),
            pb::SagaStatus::Stuck => Some(Self::Stuck),
        })
    }

    fn message(self) -> pb::SagaStatus {
        match self {
            Self::Running => pb::SagaStatus::Running,
            Self::Completed => pb::SagaStatus::Completed,
            Self::Undone => pb::SagaStatus::Undone,
            Self::Stuck => pb::SagaStatus::Stuck,
        }
    }
}

impl From<Info> for pb::Saga {
    fn from(info: Info) -> Self {
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let direction = match info.direction {
            Direction::Forward => pb::SagaDirection::Forward,
            Direction::Undoing => pb::SagaDirection::Undoing,
        };
        let failure = |Failure { step, reason, why }| pb::SagaFailure { step, reason, why };
        Self {
            name: format!("sagas/{}", info.id),
            kind: info.kind,
            status: info.status.message().into(),
            direction: direction.into(),
            step: info.step,
            step_number: count(info.step_number),
            step_count: count(info.step_count),
            forward_only: info.is_forward_only,
            attempts: i32::try_from(info.attempts).unwrap_or(i32::MAX),
            next_attempt_time: info.next_attempt_time.map(timestamp),
            failure: info.failure.map(failure),
            create_time: Some(timestamp(info.create_time)),
            update_time: Some(timestamp(info.update_time)),
            state_json: info.state,
            attempt_error: info.attempt_error.unwrap_or_default(),
        }
    }
}
