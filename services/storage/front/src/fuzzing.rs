//! What the fuzz target in `tests/fuzz` drives. The parsers have no other outside.

use http::{HeaderMap, HeaderValue};
use stowage_types::BucketName;

use crate::naming::{Signature, bucket_of};

/// Reads a request that is the header `Authorization`, the query, the host and the path, each on a
/// line of its own. Returns whether it names a key.
///
/// # Panics
/// When a bucket is found that is no name of one.
#[must_use]
pub fn read_input(input: &[u8]) -> bool {
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (authorization, query, host, path) = (next(), next(), next(), next());
    let mut headers = HeaderMap::new();
    // An empty one would be one all the same.
    if let (Ok(value), false) = (HeaderValue::from_bytes(authorization), authorization.is_empty()) {
        headers.insert(http::header::AUTHORIZATION, value);
    }
    let text = String::from_utf8_lossy;
    let bucket = bucket_of(Some(&text(host)), &text(path), Some("s3.example.com"));
    assert!(bucket.is_none_or(|name| BucketName::new(&name).is_ok()), "not a name");
    let signature = Signature::of(&headers, &text(query));
    signature.is_ok_and(|signature| signature.access_key.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fuzzing begins with, each cut short at every byte and with every byte changed.
    #[test]
    fn what_fuzzing_begins_with_is_read_however_it_is_damaged() {
        let folder =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fuzz/seeds/front_request");
        let mut seeds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(read_input(&seed), "{seed:?}");
            for at in 0..seed.len() {
                let _ = read_input(&seed[..at]);
                for other in [0, b'\n', b'/', b'%', b',', b'=', 0x80, 0xff] {
                    let mut damaged = seed.clone();
                    damaged[at] = other;
                    let _ = read_input(&damaged);
                }
            }
            seeds += 1;
        }
        assert!(seeds >= 4, "{seeds}");
    }
}
