//! `history`.

use stowage_proto::accounts::{HistoryEntry, ListHistoryRequest};
use stowage_types::{PlanId, name};

use super::plans::get_plan;
use super::{Call, Payload};
use crate::json::{Json, Object};
use crate::legacy::params::{HISTORY_OFFSET, ID, LIMIT};
use crate::legacy::units::moment;

const LIMIT_DEFAULT: i32 = 50;

/// What happened to a plan and to the caller's accounts on it.
pub(crate) async fn history(call: &Call<'_>) -> Payload {
    let plan = PlanId(call.int(&ID).unwrap_or_default());
    let message = ListHistoryRequest {
        plan: name::plan(plan),
        account: String::new(),
        page_size: call.small_int(&LIMIT, LIMIT_DEFAULT),
        skip: call.small_int(&HISTORY_OFFSET, 0),
        // The contract's history is of changes.
        with_reads: false,
    };
    let found = call.accounts().list_history(call.request(message)).await?.into_inner();
    if found.entries.is_empty() {
        // Nothing to tell is an answer only for a plan that the caller sees. One that is no longer
        // sold is still told of to those who have an account on it.
        get_plan(call, plan).await?;
    }
    let rows: Vec<Json> = found.entries.into_iter().map(entry_row).collect();
    Ok(Object::new().with("history", rows))
}

fn entry_row(entry: HistoryEntry) -> Json {
    Object::new()
        .with("id", entry.id)
        .with("date", moment(entry.create_time.as_ref()))
        .with("event", entry.event)
        .with("actor", entry.actor)
        .with("s3uid", some_text(entry.s3uid))
        .with("old", state(&entry.old_json))
        .with("new", state(&entry.new_json))
        .into()
}

fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A state that accounts keeps as JSON goes into the answer as it is, if it is JSON.
fn state(text: &str) -> Json {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if is_json { Json::Raw(text.to_owned()) } else { Json::Null }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_objects_and_not_texts() {
        let entry = HistoryEntry {
            id: 7,
            event: "plan.updated".into(),
            actor: "administrator".into(),
            old_json: r#"{"price":"9.80"}"#.into(),
            new_json: "{broken".into(),
            ..HistoryEntry::default()
        };
        let text = Object::new().with("row", entry_row(entry)).to_bytes();
        let expected = concat!(
            r#"{"row":{"id":7,"date":null,"event":"plan.updated","actor":"administrator","#,
            r#""s3uid":null,"old":{"price":"9.80"},"new":null}}"#
        );
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
