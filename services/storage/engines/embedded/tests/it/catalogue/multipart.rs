//! Uploads in parts, from the beginning to the end.

use super::{Answer, Asker, Headers};
use crate::kit::bytes;

const MIB: usize = 1024 * 1024;

/// A part as it is named at the end: number and entity tag.
pub(super) type Named<'a> = (u32, &'a str);

/// What completes an upload.
pub(super) fn completion(parts: &[Named<'_>]) -> String {
    let part = |(number, etag): &Named<'_>| {
        let etag = etag.replace('"', "&quot;");
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    };
    let parts: String = parts.iter().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

impl Asker {
    /// Begins an upload, and answers its id.
    pub(super) async fn begin(&self, target: &str, headers: Headers<'_>) -> String {
        let begun = self.ask(&format!("POST {target}?uploads"), headers, b"").await;
        begun.element("UploadId").unwrap_or_else(|| panic!("{target}: {begun:?}"))
    }

    /// Sends a part, and answers its entity tag.
    pub(super) async fn part(&self, target: &str, id: &str, number: u32, body: &[u8]) -> String {
        let line = format!("PUT {target}?partNumber={number}&uploadId={id}");
        let sent = self.ask(&line, &[], body).await;
        assert_eq!(sent.status, 200, "{line}: {sent:?}");
        sent.etag()
    }

    pub(super) async fn complete(
        &self,
        target: &str,
        id: &str,
        headers: Headers<'_>,
        parts: &[Named<'_>],
    ) -> Answer {
        let line = format!("POST {target}?uploadId={id}");
        self.ask(&line, headers, completion(parts).as_bytes()).await
    }

    /// Sends an object as an upload of one part, and answers how it was completed.
    pub(super) async fn finish_one_part(
        &self,
        target: &str,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Answer {
        let id = self.begin(target, &[]).await;
        let etag = self.part(target, &id, 1, body).await;
        self.complete(target, &id, headers, &[(1, &etag)]).await
    }
}

#[tokio::test]
async fn an_upload_becomes_an_object_of_its_parts() {
    let asker = Asker::start(&["upload"]).await;
    // Sizes of the parts; those that are sent twice count once.
    for (sizes, again) in [
        (&[1][..], &[][..]),
        (&[5 * MIB], &[]),
        (&[5 * MIB, 100 * 1024], &[]),
        (&[5 * MIB, 600 * 1024], &[1]),
        (&[5 * MIB, 5 * MIB + 1, 5 * MIB], &[0, 2]),
        (&[5 * MIB, 6 * MIB, 7], &[0, 0, 1, 2]),
    ] {
        let id = asker
            .begin("/upload/foo", &[("content-type", "text/bla"), ("x-amz-meta-a", "b")])
            .await;
        for resent in again {
            asker.part("/upload/foo", &id, *resent as u32 + 1, b"not this").await;
        }
        let (mut etags, mut whole) = (Vec::new(), Vec::new());
        for (n, size) in sizes.iter().enumerate() {
            let body = bytes(*size, n as u32);
            etags.push(asker.part("/upload/foo", &id, n as u32 + 1, &body).await);
            whole.extend(body);
        }
        let named: Vec<_> =
            etags.iter().enumerate().map(|(n, etag)| (n as u32 + 1, etag.as_str())).collect();
        let before = asker.ask("GET /upload/foo", &[], b"").await;
        let done = asker.complete("/upload/foo", &id, &[], &named).await;
        assert_eq!(done.status, 200, "{sizes:?}: {done:?}");
        let got = asker.ask("GET /upload/foo", &[], b"").await;
        assert!(got.body == whole && got.body != before.body, "{sizes:?}: other bytes");
        assert_eq!(Some(got.etag()), done.element("ETag"));
        assert!(got.etag().ends_with(&format!("-{}\"", sizes.len())), "{}", got.etag());
        assert_eq!(got.header("content-type"), Some("text/bla"));
        assert_eq!(got.header("x-amz-meta-a"), Some("b"));
        // A client that lost the answer asks again and is told the same.
        let again = asker.complete("/upload/foo", &id, &[], &named).await;
        assert_eq!((again.status, again.element("ETag")), (200, done.element("ETag")));
    }
    let usage = asker.ask("GET /upload?uploads", &[], b"").await;
    assert_eq!(usage.elements("Upload").len(), 0, "{usage:?}");
}

#[tokio::test]
async fn parts_that_do_not_add_up_are_refused() {
    let asker = Asker::start(&["refuse"]).await;
    let id = asker.begin("/refuse/foo", &[]).await;
    let one = asker.part("/refuse/foo", &id, 1, b"small").await;
    let two = asker.part("/refuse/foo", &id, 2, b"last").await;
    let wrong = "\"ffffffffffffffffffffffffffffffff\"";
    let line = format!("POST /refuse/foo?uploadId={id}");
    for (parts, code) in [
        (&[][..], "MalformedXML"),
        (&[(1, one.as_str()), (9999, one.as_str())], "InvalidPart"),
        (&[(1, wrong), (2, &two)], "InvalidPart"),
        (&[(2, &two), (1, &one)], "InvalidPartOrder"),
        (&[(2, &two), (2, &two)], "InvalidPartOrder"),
        (&[(1, &one), (2, &two)], "EntityTooSmall"),
        (&[(0, &one)], "InvalidPart"),
    ] {
        let done = asker.complete("/refuse/foo", &id, &[], parts).await;
        assert_eq!(done.outcome(), (400, code.to_owned()), "{parts:?}");
    }
    let size = ("x-amz-mp-object-size", "5");
    asker
        .expect(&[
            (&line, &[], "<CompleteMultipartUpload>", 400, "MalformedXML"),
            (&line, &[], "", 400, "MalformedXML"),
            (&line, &[size], &completion(&[(2, &two)]), 400, "InvalidArgument"),
            ("POST /refuse/foo?uploadId=none", &[], &completion(&[(2, &two)]), 404, "NoSuchUpload"),
            (
                "POST /refuse/other?uploadId=none",
                &[],
                &completion(&[(2, &two)]),
                404,
                "NoSuchUpload",
            ),
            (&line.replace("/foo", "/other"), &[], &completion(&[(2, &two)]), 404, "NoSuchUpload"),
            ("GET /refuse/foo", &[], "", 404, "NoSuchKey"),
            // Nothing was lost by all that.
            (&line, &[], &completion(&[(2, &two)]), 200, ""),
            ("GET /refuse/foo", &[], "", 200, ""),
        ])
        .await;
}

#[tokio::test]
async fn an_upload_is_aborted_once() {
    let asker = Asker::start(&["abort"]).await;
    let id = asker.begin("/abort/foo", &[]).await;
    let etag = asker.part("/abort/foo", &id, 1, b"part").await;
    let upload = format!("/abort/foo?uploadId={id}");
    let part = format!("PUT /abort/foo?partNumber=2&uploadId={id}");
    asker
        .expect(&[
            ("DELETE /abort/foo?uploadId=none", &[], "", 404, "NoSuchUpload"),
            (&format!("DELETE {upload}").replace("/foo", "/other"), &[], "", 404, "NoSuchUpload"),
            (&format!("GET {upload}"), &[], "", 200, ""),
            (&format!("DELETE {upload}"), &[], "", 204, ""),
            (&format!("DELETE {upload}"), &[], "", 404, "NoSuchUpload"),
            (&format!("GET {upload}"), &[], "", 404, "NoSuchUpload"),
            (&part, &[], "late", 404, "NoSuchUpload"),
            (&format!("POST {upload}"), &[], &completion(&[(1, &etag)]), 404, "NoSuchUpload"),
            ("GET /abort/foo", &[], "", 404, "NoSuchKey"),
        ])
        .await;
    asker.kit.wait_for_files(0).await;
}

#[tokio::test]
async fn unfinished_uploads_are_listed_in_pages() {
    let asker = Asker::start(&["list"]).await;
    let mut wanted = Vec::new();
    for key in ["a/1", "b", "b", "c%20d", "a/2"] {
        wanted.push((key.replace("%20", " "), asker.begin(&format!("/list/{key}"), &[]).await));
    }
    wanted.sort();
    let uid = asker.account.uid.as_str();
    let all = asker.ask("GET /list?uploads", &[], b"").await;
    let found: Vec<_> = all.elements("Key").into_iter().zip(all.elements("UploadId")).collect();
    assert_eq!(found, wanted);
    assert_eq!(all.elements("ID"), vec![uid; 10], "owner and initiator of each");
    let rolled = asker.ask("GET /list?uploads&delimiter=/", &[], b"").await;
    assert_eq!(rolled.elements("Key"), ["b", "b", "c d"]);
    assert_eq!(rolled.elements("CommonPrefixes").len(), 1);
    let encoded = asker.ask("GET /list?uploads&prefix=c&encoding-type=url", &[], b"").await;
    assert_eq!(encoded.elements("Key"), ["c%20d"]);
    let (mut found, mut query) = (Vec::new(), String::new());
    for _ in 0..6 {
        let page = asker.ask(&format!("GET /list?uploads&max-uploads=2{query}"), &[], b"").await;
        found.extend(page.elements("Key").into_iter().zip(page.elements("UploadId")));
        if page.element("IsTruncated").as_deref() != Some("true") {
            break;
        }
        let key = page.element("NextKeyMarker").unwrap().replace(' ', "%20");
        let id = page.element("NextUploadIdMarker").unwrap();
        query = format!("&key-marker={key}&upload-id-marker={id}");
    }
    assert_eq!(found, wanted);
    let negative = asker.ask("GET /list?uploads&max-uploads=-1", &[], b"").await;
    assert_eq!(negative.outcome(), (400, "InvalidArgument".into()));
}

/// Whoever is completed last stands, and what is read meanwhile is whole.
#[tokio::test]
async fn an_upload_replaces_what_is_there_when_it_is_completed() {
    let asker = Asker::start(&["over"]).await;
    asker.store("/over/foo", b"first").await;
    let id = asker.begin("/over/foo", &[]).await;
    let etag = asker.part("/over/foo", &id, 1, b"by parts").await;
    assert_eq!(asker.ask("GET /over/foo", &[], b"").await.text(), "first");
    asker.store("/over/foo", b"second").await;
    assert_eq!(asker.complete("/over/foo", &id, &[], &[(1, &etag)]).await.status, 200);
    assert_eq!(asker.ask("GET /over/foo", &[], b"").await.text(), "by parts");
    asker.store("/over/foo", b"third").await;
    // Its own object is no longer there, so there is nothing to tell again.
    let again = asker.complete("/over/foo", &id, &[], &[(1, &etag)]).await;
    assert_eq!(again.outcome(), (404, "NoSuchUpload".into()));
    // Two uploads of one key know nothing of each other.
    let (one, two) = (asker.begin("/over/foo", &[]).await, asker.begin("/over/foo", &[]).await);
    let first = asker.part("/over/foo", &one, 1, b"one").await;
    let second = asker.part("/over/foo", &two, 1, b"two").await;
    let swapped = asker.complete("/over/foo", &one, &[], &[(1, &second)]).await;
    assert_eq!(swapped.outcome(), (400, "InvalidPart".into()));
    asker.complete("/over/foo", &two, &[], &[(1, &second)]).await;
    asker.complete("/over/foo", &one, &[], &[(1, &first)]).await;
    assert_eq!(asker.ask("GET /over/foo", &[], b"").await.text(), "one");
}
