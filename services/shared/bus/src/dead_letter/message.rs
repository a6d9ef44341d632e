//! Dead letters in the words of the contracts, which every role that keeps them shows alike.

use std::time::Duration;

use stowage_proto::common as pb;
use stowage_proto::common::ErrorReason;
use stowage_runtime::status;
use stowage_types::{Malformed, Violations, timestamp};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{DeadLetter, LetterFilter, LetterStatus, ReplayError};

/// Longest name of a consumer that is asked for.
const CONSUMER_CHARS_MAX: usize = 100;
/// When a caller may come back whose letter cannot be taken now.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl DeadLetter {
    /// Reads `deadLetters/{id}`.
    ///
    /// # Errors
    /// `Malformed` otherwise.
    pub fn parse_name(name: &str) -> Result<Uuid, Malformed> {
        let id = name.strip_prefix("deadLetters/").and_then(|id| id.parse().ok());
        id.ok_or_else(|| Malformed::new("is not the name of a dead letter"))
    }

    /// As it is listed: without what its event holds.
    #[must_use]
    pub fn into_short(self) -> pb::DeadLetter {
        pb::DeadLetter { event_data: Vec::new(), ..self.into() }
    }
}

impl LetterFilter {
    /// Reads what a listing is narrowed by; its page is the caller's.
    #[must_use]
    pub fn read(consumer: String, status: i32, violations: &mut Violations) -> Self {
        violations.check_length("consumer", &consumer, CONSUMER_CHARS_MAX);
        let status = LetterStatus::filter_of(status).unwrap_or_else(|_| {
            violations.push("status", "is not a status of dead letters");
            None
        });
        let consumer = (!consumer.is_empty()).then_some(consumer);
        Self { consumer, status, ..Self::default() }
    }
}

impl From<ReplayError> for Status {
    fn from(error: ReplayError) -> Self {
        let text = error.to_string();
        match error {
            ReplayError::NotFound => status(Code::NotFound, ErrorReason::DeadLetterNotFound, text),
            ReplayError::Taken => {
                status(Code::FailedPrecondition, ErrorReason::DeadLetterTaken, text)
            }
            ReplayError::Refused { why } => {
                status(Code::FailedPrecondition, ErrorReason::DeadLetterRefused, text)
                    .meta("why", why)
            }
            ReplayError::UnknownConsumer(consumer) => {
                let reason = ErrorReason::DeadLetterConsumerUnknown;
                status(Code::FailedPrecondition, reason, text).meta("consumer", consumer)
            }
            ReplayError::NotNow { .. } => {
                status(Code::Unavailable, ErrorReason::Unavailable, text).retry_after(RETRY_AFTER)
            }
            // A role says in its own words what its database met; this is for who has none.
            ReplayError::Db(error) => {
                let text = "an internal error occurred";
                status(Code::Internal, ErrorReason::Internal, text).source(error)
            }
        }
        .build()
    }
}

impl LetterStatus {
    /// The filter of a listing: `None` for all.
    fn filter_of(number: i32) -> Result<Option<Self>, prost::UnknownEnumValue> {
        Ok(match pb::DeadLetterStatus::try_from(number)? {
            pb::DeadLetterStatus::Unspecified => None,
            pb::DeadLetterStatus::Waiting => Some(Self::Waiting),
            pb::DeadLetterStatus::Taken => Some(Self::Taken),
        })
    }
}

impl From<DeadLetter> for pb::DeadLetter {
    fn from(letter: DeadLetter) -> Self {
        let status = match letter.status {
            LetterStatus::Waiting => pb::DeadLetterStatus::Waiting,
            LetterStatus::Taken => pb::DeadLetterStatus::Taken,
        };
        let event = letter.event;
        Self {
            name: format!("deadLetters/{}", letter.id),
            consumer: letter.consumer,
            status: status.into(),
            reason: letter.reason,
            attempts: letter.attempts,
            event_id: event.id.to_string(),
            event_source: event.source,
            event_type: event.kind,
            event_subject: event.subject,
            event_time: Some(timestamp(event.time)),
            event_data: event.data,
            create_time: Some(timestamp(letter.create_time)),
            update_time: Some(timestamp(letter.update_time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use stowage_runtime::reason_of;

    use super::*;

    #[test]
    fn every_refusal_has_its_code_and_reason() {
        let why = || "w".to_owned();
        for (error, code, reason) in [
            (ReplayError::NotFound, Code::NotFound, ErrorReason::DeadLetterNotFound),
            (ReplayError::Taken, Code::FailedPrecondition, ErrorReason::DeadLetterTaken),
            (
                ReplayError::Refused { why: why() },
                Code::FailedPrecondition,
                ErrorReason::DeadLetterRefused,
            ),
            (
                ReplayError::UnknownConsumer(why()),
                Code::FailedPrecondition,
                ErrorReason::DeadLetterConsumerUnknown,
            ),
            (ReplayError::NotNow { why: why() }, Code::Unavailable, ErrorReason::Unavailable),
        ] {
            let status = Status::from(error);
            assert_eq!((status.code(), reason_of(&status)), (code, Some(reason)), "{status:?}");
        }
    }
}
