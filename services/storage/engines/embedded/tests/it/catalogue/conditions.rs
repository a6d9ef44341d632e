//! Requests that hold only if the object is as the client thinks.

use super::Asker;

const PAST: &str = "Sat, 29 Oct 1994 19:43:31 GMT";
const FUTURE: &str = "Sat, 29 Oct 2050 19:43:31 GMT";
const FAILED: &str = "PreconditionFailed";

#[tokio::test]
async fn reads_follow_their_conditions() {
    let asker = Asker::start(&["read"]).await;
    let etag = asker.store("/read/foo", b"bar").await;
    let unquoted = etag.trim_matches('"').to_owned();
    let weak = format!("W/{etag}");
    let (good, bad) = (etag.as_str(), "\"ABCORZ\"");
    for (headers, status) in [
        (&[("if-match", good)][..], 200),
        (&[("if-match", &unquoted)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", bad)], 412),
        (&[("if-none-match", good)], 304),
        (&[("if-none-match", &unquoted)], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", bad)], 200),
        (&[("if-modified-since", PAST)], 200),
        (&[("if-modified-since", FUTURE)], 304),
        (&[("if-unmodified-since", PAST)], 412),
        (&[("if-unmodified-since", FUTURE)], 200),
        // RFC 9110, section 13.2.2: the entity tag counts where both are sent.
        (&[("if-match", good), ("if-unmodified-since", PAST)], 200),
        (&[("if-match", bad), ("if-unmodified-since", FUTURE)], 412),
        (&[("if-none-match", bad), ("if-modified-since", FUTURE)], 200),
        (&[("if-none-match", good), ("if-modified-since", PAST)], 304),
        (&[("if-match", good), ("if-none-match", good)], 304),
        (&[("if-match", bad), ("if-none-match", good)], 412),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = asker.ask(&format!("{method} /read/foo"), headers, b"").await;
            assert_eq!(answer.status, status, "{method} {headers:?}: {answer:?}");
            if status == 304 {
                assert_eq!((answer.etag(), answer.body.len()), (etag.clone(), 0), "{headers:?}");
            }
            if status == 412 && method == "GET" {
                assert_eq!(answer.outcome().1, FAILED);
            }
        }
    }
    asker
        .expect(&[
            ("GET /read/absent", &[("if-match", "*")], "", 404, "NoSuchKey"),
            ("GET /read/absent", &[("if-none-match", "*")], "", 404, "NoSuchKey"),
        ])
        .await;
}

#[tokio::test]
async fn writes_follow_their_conditions() {
    let asker = Asker::start(&["write"]).await;
    let bad = "\"ABCORZ\"";
    // Each begins without the object, or with one that holds `old`.
    for (is_there, name, value, status, code) in [
        (true, "if-match", None, 200, ""),
        (true, "if-match", Some("*"), 200, ""),
        (true, "if-match", Some(bad), 412, FAILED),
        (false, "if-match", Some("*"), 404, "NoSuchKey"),
        (false, "if-match", Some(bad), 404, "NoSuchKey"),
        (true, "if-none-match", None, 412, FAILED),
        (true, "if-none-match", Some("*"), 412, FAILED),
        (true, "if-none-match", Some(bad), 200, ""),
        (false, "if-none-match", Some("*"), 200, ""),
        (false, "if-none-match", Some(bad), 200, ""),
    ] {
        for way in ["put", "copy", "parts"] {
            asker.ask("DELETE /write/foo", &[], b"").await;
            asker.store("/write/source", b"new").await;
            let etag =
                if is_there { asker.store("/write/foo", b"old").await } else { String::new() };
            let condition = (name, value.unwrap_or(&etag));
            let answer = match way {
                "put" => asker.ask("PUT /write/foo", &[condition], b"new").await,
                "copy" => {
                    let source = ("x-amz-copy-source", "write/source");
                    asker.ask("PUT /write/foo", &[condition, source], b"").await
                }
                _ => asker.finish_one_part("/write/foo", &[condition], b"new").await,
            };
            let row = format!("{way}, {is_there}, {name}: {value:?}");
            assert_eq!(answer.outcome(), (status, code.to_owned()), "{row}: {answer:?}");
            let left = asker.ask("GET /write/foo", &[], b"").await;
            let wanted = match (status, is_there) {
                (200, _) => "new",
                (_, true) => "old",
                (_, false) => "",
            };
            let left = if left.status == 200 { left.text() } else { String::new() };
            assert_eq!(left, wanted, "{row}");
        }
    }
}

/// Of several who would be the first, one is.
#[tokio::test]
async fn one_of_many_first_writers_wins() {
    let asker = Asker::start(&["first"]).await;
    let put = async |n: usize| {
        let body = vec![b'0' + n as u8; 100_000];
        asker.ask("PUT /first/foo", &[("if-none-match", "*")], &body).await.status
    };
    let statuses = futures_util::future::join_all((0..8).map(put)).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 7, "{statuses:?}");
}

#[tokio::test]
async fn deletions_follow_their_conditions() {
    let asker = Asker::start(&["gone"]).await;
    let etag = asker.store("/gone/foo", b"bar").await;
    asker
        .expect(&[
            ("DELETE /gone/foo", &[("if-match", "\"ABCORZ\"")], "", 412, FAILED),
            ("GET /gone/foo", &[], "", 200, ""),
            ("DELETE /gone/foo", &[("x-amz-if-match-size", "3")], "", 501, "NotImplemented"),
            (
                "DELETE /gone/foo",
                &[("x-amz-if-match-last-modified-time", PAST)],
                "",
                501,
                "NotImplemented",
            ),
            ("GET /gone/foo", &[], "", 200, ""),
            ("DELETE /gone/foo", &[("if-match", &etag)], "", 204, ""),
            ("GET /gone/foo", &[], "", 404, "NoSuchKey"),
            ("PUT /gone/foo", &[], "bar", 200, ""),
            ("DELETE /gone/foo", &[("if-match", "*")], "", 204, ""),
            ("GET /gone/foo", &[], "", 404, "NoSuchKey"),
        ])
        .await;
}
