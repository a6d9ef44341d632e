//! `get_files` and `delete_file`.

use stowage_proto::storage::{
    DeleteObjectRequest, ListObjectsRequest, ListObjectsResponse, Object as StoredObject,
};
use stowage_types::name;

use super::{Call, Payload};
use crate::json::{Json, Object};
use crate::legacy::errors::Failure;
use crate::legacy::params::{CONTINUATION_TOKEN, FILENAME, MAX_KEYS, PAGE, PREFIX, SEARCH};
use crate::legacy::units::moment;

/// Entries of a page unless the client says otherwise; also the most there are.
const MAX_KEYS_DEFAULT: i32 = 100;

/// One level of a bucket, or what a search finds.
///
/// S3 has no page numbers: `page` walks from the start, which its bound keeps within reason. A
/// token goes before it.
pub(crate) async fn get_files(call: &Call<'_>) -> Payload {
    let bucket = call.bucket()?;
    let mut message = ListObjectsRequest {
        parent: name::bucket(&call.s3uid().await?, &bucket),
        prefix: call.text(&PREFIX),
        search: call.text(&SEARCH),
        page_size: call.small_int(&MAX_KEYS, MAX_KEYS_DEFAULT),
        page_token: call.text(&CONTINUATION_TOKEN),
    };
    let pages_to_skip =
        if message.page_token.is_empty() { call.int(&PAGE).unwrap_or(1) - 1 } else { 0 };
    for _ in 0..pages_to_skip {
        let skipped = list(call, message.clone()).await?;
        if skipped.next_page_token.is_empty() {
            return Ok(listing(&message.prefix, ListObjectsResponse::default()));
        }
        message.page_token = skipped.next_page_token;
    }
    let prefix = message.prefix.clone();
    let page = list(call, message).await?;
    Ok(listing(&prefix, page))
}

async fn list(
    call: &Call<'_>,
    message: ListObjectsRequest,
) -> Result<ListObjectsResponse, Failure> {
    Ok(call.objects().list_objects(call.request(message)).await?.into_inner())
}

fn listing(prefix: &str, page: ListObjectsResponse) -> Object {
    let count = page.objects.len() + page.prefixes.len();
    let files: Vec<Json> =
        page.objects.into_iter().map(|object| file_row(prefix, object)).collect();
    let folders: Vec<Json> = page.prefixes.into_iter().map(folder_row).collect();
    Object::new()
        .with("files", files)
        .with("folders", folders)
        .with("key_count", i64::try_from(count).unwrap_or(i64::MAX))
        .with("is_truncated", !page.next_page_token.is_empty())
        .with("next_continuation_token", page.next_page_token)
}

fn file_row(prefix: &str, object: StoredObject) -> Json {
    // A file is shown by what follows the last folder; a "folder" object shows as that folder.
    let name = last_part(&object.key).unwrap_or(prefix).to_owned();
    Object::new()
        .with("name", name)
        .with("key", object.key)
        .with("size", object.size_bytes)
        .with("last_modified", moment(object.update_time.as_ref()))
        .with("etag", object.etag)
        .into()
}

fn folder_row(prefix: String) -> Json {
    let name = last_part(&prefix).unwrap_or(&prefix).to_owned();
    Object::new().with("name", name).with("prefix", prefix).into()
}

/// `c` of `a/b/c` and of `a/b/c/`.
fn last_part(key: &str) -> Option<&str> {
    key.trim_end_matches('/').rsplit('/').next().filter(|part| !part.is_empty())
}

pub(crate) async fn delete_file(call: &Call<'_>) -> Payload {
    let bucket = call.bucket()?;
    let parent = name::bucket(&call.bound_s3uid().await?, &bucket);
    let key = call.text(&FILENAME);
    let message =
        DeleteObjectRequest { parent, key: key.clone(), request_id: call.idempotency_key.clone() };
    call.objects().delete_object(call.request(message)).await?;
    Ok(Object::new().with("filename", key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_written_as_the_contract_says() {
        let page = ListObjectsResponse {
            objects: vec![StoredObject {
                key: "a/cat.png".into(),
                size_bytes: 3,
                update_time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
                etag: "e".into(),
            }],
            prefixes: vec!["a/b/".into()],
            next_page_token: "t".into(),
        };
        let text = String::from_utf8(listing("a/", page).to_bytes()).unwrap();
        let expected = concat!(
            r#"{"files":[{"name":"cat.png","key":"a/cat.png","size":3,"#,
            r#""last_modified":"1970-01-01T00:00:00Z","etag":"e"}],"#,
            r#""folders":[{"name":"b","prefix":"a/b/"}],"#,
            r#""key_count":2,"is_truncated":true,"next_continuation_token":"t"}"#
        );
        assert_eq!(text, expected);
        for (key, part) in [("a/b", Some("b")), ("a/b/", Some("b")), ("/", None), ("", None)] {
            assert_eq!(last_part(key), part, "{key}");
        }
    }
}
