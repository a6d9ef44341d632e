//! Parts of an object by their bytes.

use super::Asker;
use crate::kit::bytes;

#[tokio::test]
async fn ranges_are_cut_to_the_object() {
    let asker = Asker::start(&["cut"]).await;
    asker.store("/cut/foo", b"testcontent").await;
    asker.store("/cut/empty", b"").await;
    for (asked, found, range) in [
        ("bytes=4-7", "cont", "bytes 4-7/11"),
        ("bytes=0-0", "t", "bytes 0-0/11"),
        ("bytes=4-", "content", "bytes 4-10/11"),
        ("bytes=-7", "content", "bytes 4-10/11"),
        ("bytes=-1", "t", "bytes 10-10/11"),
        ("bytes=-100", "testcontent", "bytes 0-10/11"),
        ("bytes=0-100", "testcontent", "bytes 0-10/11"),
        ("bytes=10-10", "t", "bytes 10-10/11"),
        ("bytes=0-10", "testcontent", "bytes 0-10/11"),
    ] {
        let got = asker.ask("GET /cut/foo", &[("range", asked)], b"").await;
        assert_eq!((got.status, got.text().as_str()), (206, found), "{asked}");
        assert_eq!(got.header("content-range"), Some(range), "{asked}");
        let head = asker.ask("HEAD /cut/foo", &[("range", asked)], b"").await;
        assert_eq!((head.status, head.header("content-range")), (206, Some(range)), "{asked}");
        assert_eq!(head.header("content-length"), Some(found.len().to_string().as_str()));
    }
    asker
        .expect(&[
            ("GET /cut/foo", &[("range", "bytes=11-")], "", 416, "InvalidRange"),
            ("GET /cut/foo", &[("range", "bytes=40-50")], "", 416, "InvalidRange"),
            ("GET /cut/foo", &[("range", "bytes=-0")], "", 416, "InvalidRange"),
            ("GET /cut/empty", &[("range", "bytes=0-0")], "", 416, "InvalidRange"),
            ("GET /cut/empty", &[("range", "bytes=40-50")], "", 416, "InvalidRange"),
            (
                "GET /cut/foo",
                &[("range", "bytes=1-2"), ("if-match", "\"x\"")],
                "",
                412,
                "PreconditionFailed",
            ),
            // Amazon's S3 sends the whole object for what is no range, as HTTP lets it. Here it is
            // refused: the range may be among what was signed, and is read before anything else.
            ("GET /cut/foo", &[("range", "bytes=7-4")], "", 400, "InvalidArgument"),
            ("GET /cut/foo", &[("range", "bytes=0-1,3-4")], "", 400, "InvalidArgument"),
            ("GET /cut/foo", &[("range", "lines=1-2")], "", 400, "InvalidArgument"),
        ])
        .await;
    // The object was not changed by any of that.
    let etag = asker.ask("GET /cut/foo", &[], b"").await.etag();
    let got = asker.ask("GET /cut/foo", &[("range", "bytes=4-7"), ("if-match", &etag)], b"").await;
    assert_eq!((got.status, got.etag()), (206, etag));
}

#[tokio::test]
async fn ranges_of_a_large_object_begin_and_end_anywhere() {
    const SIZE: usize = 8 * 1024 * 1024;
    let asker = Asker::start(&["large"]).await;
    let body = bytes(SIZE, 1);
    asker.store("/large/foo", &body).await;
    // Around the pieces in which files are read.
    let edge = 512 * 1024;
    for (first, last) in [
        (0, SIZE - 1),
        (3_145_728, 5_242_880),
        (edge - 1, edge),
        (edge, edge),
        (edge + 1, 2 * edge - 1),
        (SIZE - 1, SIZE - 1),
    ] {
        let range = format!("bytes={first}-{last}");
        let got = asker.ask("GET /large/foo", &[("range", &range)], b"").await;
        assert_eq!(got.status, 206, "{range}");
        assert!(got.body == body[first..=last], "{range}: other bytes");
    }
}
