//! `get_available_locations`.

use stowage_proto::storage::ListLocationsRequest;

use super::{Call, Payload};
use crate::json::{Json, Object};

/// As many as storage sends in one page; an installation has few.
const PAGE_SIZE: i32 = 1000;

pub(crate) async fn get_available_locations(call: &Call<'_>) -> Payload {
    let message = ListLocationsRequest { page_size: PAGE_SIZE, page_token: String::new() };
    let answer = call.locations().list_locations(call.request(message)).await?.into_inner();
    let rows: Vec<Json> = answer
        .locations
        .into_iter()
        .map(|location| {
            Object::new()
                .with("location", location.code)
                .with("endpoint", location.endpoint)
                .with("storage_types", location.storage_types)
                .into()
        })
        .collect();
    Ok(Object::new().with("locations", rows))
}
