//! What the fuzz targets in `tests/fuzz` drive. The parser has no other outside.

use bytes::Bytes;
use futures_util::FutureExt as _;

use crate::legacy::{ACTIONS, parse};

/// Reads a request, and holds what was read against every action. Returns whether it was read.
///
/// # Panics
/// If the parser waits for anything: all that it needs is there.
#[must_use]
pub fn read_request(query: &str, content_type: &[u8], body: &[u8]) -> bool {
    let content_type = (!content_type.is_empty()).then_some(content_type);
    let parsing = parse(Some(query), content_type, Bytes::copy_from_slice(body));
    let outcome = parsing.now_or_never().expect("a body in memory needs no waiting");
    let Ok(params) = outcome else { return false };
    for action in ACTIONS {
        // Which one is refused, and why, is not what is asked here.
        let _ = action.validate(&params);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_read_without_waiting() {
        let multipart = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n7\r\n--b--\r\n";
        for (content_type, body, is_read) in [
            ("application/x-www-form-urlencoded", b"plan_id=7&id=x".as_slice(), true),
            ("multipart/form-data; boundary=b", multipart, true),
            ("multipart/form-data; boundary=b", &multipart[..20], false),
            ("application/json", b"{\"plan_id\":7}", true),
            ("", b"\xff", true),
            ("a/b", b"x", false),
        ] {
            assert_eq!(read_request("a[]=1", content_type.as_bytes(), body), is_read, "{body:?}");
        }
    }
}
