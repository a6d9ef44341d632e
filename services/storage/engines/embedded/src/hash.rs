//! Digests of a body while it streams by, and what the client said they would be.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::Checksum as _;
use s3s::{S3Error, S3Result, TrailingHeaders, s3_error};

use crate::error::Error;

/// Checksums by algorithm (`crc32`), Base64 as on the wire.
pub(crate) type Sums = BTreeMap<String, String>;

/// Algorithms of `x-amz-checksum-*`.
pub(crate) const ALGORITHMS: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

const HEADER: &str = "x-amz-checksum-";

/// What the client announced about a body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// Length in bytes.
    pub(crate) length: u64,
    md5: Option<[u8; 16]>,
    sums: Sums,
    /// Algorithms whose values come after the body.
    trailers: Vec<&'static str>,
    trailing: Option<TrailingHeaders>,
}

impl Expected {
    /// Only a length: for bytes that we read ourselves.
    pub(crate) fn of_length(length: u64) -> Self {
        Self { length, ..Self::default() }
    }

    /// Reads `Content-MD5`, `x-amz-checksum-*` and `x-amz-trailer`.
    pub(crate) fn of(
        length: u64,
        headers: &HeaderMap,
        trailing: Option<TrailingHeaders>,
    ) -> S3Result<Self> {
        let md5 = match headers.get("content-md5") {
            Some(text) => Some(parse_md5(text.as_bytes())?),
            None => None,
        };
        let announced = headers
            .get_all("x-amz-trailer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect::<Vec<_>>();
        let trailers = ALGORITHMS
            .into_iter()
            .filter(|alg| announced.iter().any(|name| name.strip_prefix(HEADER) == Some(alg)))
            .collect();
        Ok(Self { length, md5, sums: sums_of(headers), trailers, trailing })
    }

    /// A hasher for all that has to be verified.
    pub(crate) fn hasher(&self) -> Hasher {
        let wanted = |alg: &str| self.sums.contains_key(alg) || self.trailers.contains(&alg);
        let sums = ChecksumHasher {
            crc32: wanted("crc32").then(s3s::crypto::Crc32::new),
            crc32c: wanted("crc32c").then(s3s::crypto::Crc32c::new),
            sha1: wanted("sha1").then(s3s::crypto::Sha1::new),
            sha256: wanted("sha256").then(s3s::crypto::Sha256::new),
            crc64nvme: wanted("crc64nvme").then(s3s::crypto::Crc64Nvme::new),
        };
        Hasher { md5: Md5::new(), sums, length: 0 }
    }

    /// Compares. Call after the body has ended: trailers are there only then.
    pub(crate) fn verify(&self, digests: &Digests) -> Result<(), Error> {
        if digests.length != self.length {
            return Err(Error::IncompleteBody);
        }
        if self.md5.is_some_and(|md5| md5 != digests.md5) {
            return Err(Error::BadDigest);
        }
        let mut sums = self.sums.clone();
        if !self.trailers.is_empty() {
            let came = self.trailing.as_ref().and_then(|trailing| trailing.read(sums_of));
            let came = came.ok_or(Error::BadDigest)?;
            if self.trailers.iter().any(|alg| !came.contains_key(*alg)) {
                return Err(Error::BadDigest);
            }
            sums.extend(came);
        }
        // A trailer that was not announced has no computed value and is not taken on trust.
        if sums.iter().any(|(alg, sum)| digests.sums.get(alg) != Some(sum)) {
            return Err(Error::BadDigest);
        }
        Ok(())
    }
}

fn parse_md5(text: &[u8]) -> S3Result<[u8; 16]> {
    let bytes = BASE64_STANDARD.decode(text).ok();
    let invalid = || s3_error!(InvalidDigest, "Content-MD5 is not the Base64 of 16 bytes");
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(invalid)
}

/// The checksums among the headers.
pub(crate) fn sums_of(headers: &HeaderMap) -> Sums {
    let value = |alg: &str| {
        let header = headers.get(format!("{HEADER}{alg}"))?;
        Some((alg.to_owned(), header.to_str().ok()?.to_owned()))
    };
    ALGORITHMS.into_iter().filter_map(value).collect()
}

/// Computes while the body streams by.
pub(crate) struct Hasher {
    md5: Md5,
    sums: ChecksumHasher,
    length: u64,
}

/// What was computed.
#[derive(Debug, Clone)]
pub(crate) struct Digests {
    pub(crate) length: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) sums: Sums,
}

impl Digests {
    /// The entity tag of content that was sent in one piece.
    pub(crate) fn etag(&self) -> String {
        hex::encode(self.md5)
    }
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
        self.length += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> Digests {
        let sums = self.sums.finalize();
        let sums = [
            ("crc32", sums.checksum_crc32),
            ("crc32c", sums.checksum_crc32c),
            ("crc64nvme", sums.checksum_crc64nvme),
            ("sha1", sums.checksum_sha1),
            ("sha256", sums.checksum_sha256),
        ];
        Digests {
            length: self.length,
            md5: self.md5.finalize().into(),
            sums: sums.into_iter().filter_map(|(alg, sum)| Some((alg.to_owned(), sum?))).collect(),
        }
    }
}

/// The checksum of parts put together, when all parts have one: for CRCs over the whole
/// (`is_full`), otherwise over the parts' checksums with their count.
pub(crate) fn combine(alg: &str, is_full: bool, parts: &[(Sums, u64)]) -> Option<String> {
    let raw = |sums: &Sums| BASE64_STANDARD.decode(sums.get(alg)?).ok();
    if is_full {
        let kind = match alg {
            "crc32" => crc_fast::CrcAlgorithm::Crc32IsoHdlc,
            "crc32c" => crc_fast::CrcAlgorithm::Crc32Iscsi,
            "crc64nvme" => crc_fast::CrcAlgorithm::Crc64Nvme,
            _ => return None,
        };
        let mut whole: Option<u64> = None;
        let mut width = 0;
        for (sums, length) in parts {
            let bytes = raw(sums)?;
            width = bytes.len();
            let part = bytes.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
            whole = Some(match whole {
                Some(before) => crc_fast::checksum_combine(kind, before, part, *length),
                None => part,
            });
        }
        let bytes = whole?.to_be_bytes();
        return Some(BASE64_STANDARD.encode(bytes.get(8_usize.checked_sub(width)?..)?));
    }
    let mut wanted = Expected::default();
    wanted.sums.insert(alg.to_owned(), String::new());
    let mut hasher = wanted.hasher();
    for (sums, _) in parts {
        hasher.update(&raw(sums)?);
    }
    let sum = hasher.finish().sums.remove(alg)?;
    Some(format!("{sum}-{}", parts.len()))
}

/// Sets the five checksum fields of an S3 answer.
macro_rules! set_sums {
    ($output:expr, $sums:expr) => {
        $output.checksum_crc32 = $sums.get("crc32").cloned();
        $output.checksum_crc32c = $sums.get("crc32c").cloned();
        $output.checksum_crc64nvme = $sums.get("crc64nvme").cloned();
        $output.checksum_sha1 = $sums.get("sha1").cloned();
        $output.checksum_sha256 = $sums.get("sha256").cloned();
    };
}
pub(crate) use set_sums;

/// A refusal for a checksum that the client gave and that is not so.
pub(crate) fn bad_digest() -> S3Error {
    Error::BadDigest.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(alg: &str, body: &[u8]) -> Sums {
        let mut expected = Expected::default();
        expected.sums.insert(alg.to_owned(), String::new());
        let mut hasher = expected.hasher();
        hasher.update(body);
        hasher.finish().sums
    }

    #[test]
    fn checksums_of_parts_combine_to_that_of_the_whole() {
        for alg in ["crc32", "crc32c", "crc64nvme"] {
            let (first, second) = (&b"hello "[..], &b"world, this is it"[..]);
            let parts = [(sums(alg, first), 6), (sums(alg, second), second.len() as u64)];
            let whole = sums(alg, &[first, second].concat()).remove(alg);
            assert_eq!(combine(alg, true, &parts), whole, "{alg}");
        }
    }

    #[test]
    fn a_composite_checksum_names_its_parts() {
        let part = (sums("sha256", b"x"), 1);
        let sum = combine("sha256", false, &[part.clone(), part]).unwrap();
        assert!(sum.ends_with("-2"), "{sum}");
    }
}
