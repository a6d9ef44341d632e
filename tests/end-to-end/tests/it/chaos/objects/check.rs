//! Whether the bucket holds what the model says, while nobody writes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use stowage_testkit::{Account, Process, read_texts};

use super::BUCKET;
use super::model::{Model, Upload, size_of};

/// An object's bytes, if it is there.
async fn read(s3: &Client, key: &str) -> Option<Vec<u8>> {
    match s3.get_object().bucket(BUCKET).key(key).send().await {
        Ok(got) => Some(got.body.collect().await.expect("a body comes whole").to_vec()),
        Err(error) if error.code() == Some("NoSuchKey") => None,
        Err(error) => panic!("{key}: {error:?}"),
    }
}

/// Looks at all that was touched since the last look: objects byte for byte, parts one by one.
pub(super) async fn settle(s3: &Client, model: &mut Model) {
    for key in model.unsettled() {
        let found = read(s3, &key).await;
        model.settle(&key, found.as_deref());
    }
    for (id, upload) in std::mem::take(&mut model.uploads) {
        if let Some(upload) = look_at(s3, &id, upload).await {
            model.uploads.insert(id, upload);
        }
    }
}

/// What is known of an upload after looking; `None`: it is gone, as it may be.
async fn look_at(s3: &Client, id: &str, mut upload: Upload) -> Option<Upload> {
    let list = s3.list_parts().bucket(BUCKET).key(&upload.key).upload_id(id).send().await;
    let listed = match list {
        Ok(listed) => listed,
        Err(error) if error.code() == Some("NoSuchUpload") && upload.is_ending => return None,
        Err(error) => panic!("upload {id} is lost: {error:?}"),
    };
    let told = |part: &aws_sdk_s3::types::Part| {
        (part.part_number().unwrap_or(0), (part.size(), part.e_tag().map(str::to_owned)))
    };
    let mut found: BTreeMap<_, _> = listed.parts().iter().map(told).collect();
    upload.parts.retain(|number, (piece, etag)| {
        let there = found.remove(number);
        assert!(there.is_some() || etag.is_none(), "part {number} of {id} is lost");
        let Some((size, found_etag)) = there else { return false };
        assert_eq!(size, i64::try_from(piece.size).ok(), "part {number} of {id}");
        assert!(etag.is_none() || *etag == found_etag, "part {number} of {id} is another");
        *etag = found_etag;
        true
    });
    assert!(found.is_empty(), "nobody has sent {found:?} to {id}");
    upload.is_ending = false;
    Some(upload)
}

/// The whole: every object, every upload, every counter, every file.
pub(super) async fn everything(
    process: &Process,
    account: &Account,
    s3: &Client,
    model: &mut Model,
) {
    uploads(s3, model).await;
    let mut listed = BTreeMap::new();
    let mut pages = s3.list_objects_v2().bucket(BUCKET).max_keys(7).into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page.expect("the bucket is listed").contents() {
            let key = object.key().expect("an object has a key").to_owned();
            listed.insert(key, object.size().and_then(|size| u64::try_from(size).ok()));
        }
    }
    let settled = model.settled();
    let wanted: BTreeMap<_, _> =
        settled.iter().map(|(key, content)| (key.clone(), Some(size_of(content)))).collect();
    assert_eq!(listed, wanted, "the listing");
    let keys: Vec<String> = settled.keys().cloned().collect();
    for key in keys {
        let found = read(s3, &key).await;
        model.settle(&key, found.as_deref());
    }
    counters(process, account, model).await;
    files(process).await;
}

/// Unfinished uploads: those of the model, and at most as many more as were begun without an
/// answer. These are aborted.
async fn uploads(s3: &Client, model: &mut Model) {
    let listed = s3.list_multipart_uploads().bucket(BUCKET).send().await;
    let listed = listed.expect("uploads are listed");
    assert_ne!(listed.is_truncated(), Some(true), "more than a page of uploads");
    let found = listed.uploads().iter().filter_map(|upload| Some((upload.upload_id()?, upload)));
    let found: BTreeMap<_, _> = found.collect();
    for id in model.uploads.keys() {
        assert!(found.contains_key(id.as_str()), "upload {id} is lost");
    }
    for (id, upload) in found.iter().filter(|(id, _)| !model.uploads.contains_key(**id)) {
        assert!(model.nameless > 0, "nobody has begun upload {id}, or it was ended");
        model.nameless -= 1;
        let abort = s3.abort_multipart_upload().bucket(BUCKET).upload_id(*id);
        let abort = abort.key(upload.key().unwrap_or_default()).send().await;
        abort.expect("an upload is aborted");
    }
    // What is not there now will not come.
    model.nameless = 0;
}

fn index(process: &Process) -> PathBuf {
    process.data().join("s3/index.sqlite")
}

/// The figures that quotas are checked by: to the byte those of the model.
async fn counters(process: &Process, account: &Account, model: &Model) {
    const ACCOUNTS: &str = "SELECT uid || ' ' || object_count || ' ' || stored_bytes || ' ' \
        || unfinished_bytes FROM account WHERE object_count > 0";
    const BUCKETS: &str = "SELECT uid || ' ' || object_count || ' ' || stored_bytes || ' ' \
        || unfinished_bytes FROM bucket WHERE object_count > 0";
    const STORED: &str = "SELECT CAST(count(*) AS text) || ' ' || coalesce(sum(size_bytes), 0) \
        FROM object";
    let objects = model.settled();
    let stored: u64 = objects.values().map(size_of).sum();
    let parts = model.uploads.values().flat_map(|upload| upload.parts.values());
    let unfinished: u64 = parts.map(|(piece, _)| piece.size as u64).sum();
    let sums = format!("{} {stored}", objects.len());
    let wanted = format!("{} {sums} {unfinished}", account.s3uid);
    let read = async |query| read_texts(&index(process), query).await.expect("it can be read");
    assert_eq!(read(ACCOUNTS).await, [wanted.as_str()], "counters of the account");
    assert_eq!(read(BUCKETS).await, [wanted.as_str()], "counters of the bucket");
    assert_eq!(read(STORED).await, [sums.as_str()], "rows of objects");
}

/// Files: those of objects and of parts of unfinished uploads, and no other. What a start finds
/// left over it removes, and nothing was written since.
async fn files(process: &Process) {
    const USED: &str = "SELECT blob FROM segment WHERE blob IS NOT NULL \
        UNION ALL SELECT blob FROM part UNION ALL SELECT blob FROM gc";
    let wanted = read_texts(&index(process), USED).await.expect("it can be read");
    let (mut found, mut folders) = (Vec::new(), vec![process.data().join("s3/blobs")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder can be read") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.extend(path.file_name().map(|n| n.to_string_lossy().into_owned())),
            }
        }
    }
    found.sort();
    assert_eq!(found, wanted, "files beside rows");
}
