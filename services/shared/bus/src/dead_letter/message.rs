//! Dead letters in the words of the contracts, which every role that keeps them shows alike.

use stowage_proto::common as pb;
use stowage_types::timestamp;

use super::{DeadLetter, LetterStatus};

impl LetterStatus {
    /// The filter of a listing: `None` for all.
    ///
    /// # Errors
    /// The number is not a status.
    pub fn filter_of(number: i32) -> Result<Option<Self>, prost::UnknownEnumValue> {
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
