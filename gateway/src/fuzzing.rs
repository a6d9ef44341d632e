//! What the fuzz targets in `tests/fuzz` drive. The parser has no other outside.

use bytes::Bytes;
use futures_util::FutureExt as _;

use crate::legacy::{ACTIONS, parse};

/// Reads a request that is the content type, a line end, the query, a line end, and the body.
/// Returns whether it was read.
///
/// # Panics
/// As [`read_request`].
#[must_use]
pub fn read_input(input: &[u8]) -> bool {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let content_type = parts.next().unwrap_or_default();
    let query = String::from_utf8_lossy(parts.next().unwrap_or_default());
    read_request(&query, content_type, parts.next().unwrap_or_default())
}

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

    /// What fuzzing begins with, each cut short at every byte and with every byte changed.
    #[test]
    fn what_fuzzing_begins_with_is_read_however_it_is_damaged() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/seeds/facade_request");
        let mut seeds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            let _ = read_input(&seed);
            for at in 0..seed.len() {
                let _ = read_input(&seed[..at]);
                for other in [0, b'\n', b'"', b'%', b'[', b'-', 0x80, 0xff] {
                    let mut damaged = seed.clone();
                    damaged[at] = other;
                    let _ = read_input(&damaged);
                }
            }
            seeds += 1;
        }
        assert!(seeds >= 4, "{seeds}");
    }

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
