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

/// Longest object sent in one piece that gets an MD5 without the client asking, in bytes.
///
/// MD5 runs on one core at some 600 MB/s, slower than the disk and the network, so it would bound
/// the transfer. Clients split what is as large as this into parts (rclone from 200 MiB, the
/// command lines from 8 and 15 MiB on), and take an entity tag with a dash for no MD5.
///
/// Source: Amazon S3 API Reference, "Object", `ETag`: it "may or may not be an MD5 digest".
pub(crate) const MD5_BYTES_MAX: u64 = 256 * 1024 * 1024;

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
    /// Whether a long body may go without MD5.
    spares_md5: bool,
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
        Ok(Self { length, md5, sums: sums_of(headers), trailers, trailing, spares_md5: false })
    }

    /// Spares the MD5 of a body above [`MD5_BYTES_MAX`] that the client sent none for. It gets a
    /// CRC-64/NVME instead, as S3 gives to objects that come without a checksum.
    pub(crate) fn sparing_md5(mut self) -> Self {
        self.spares_md5 = self.md5.is_none() && self.length > MD5_BYTES_MAX;
        self
    }

    /// A hasher for all that has to be verified.
    pub(crate) fn hasher(&self) -> Hasher {
        let wanted = |alg: &str| self.sums.contains_key(alg) || self.trailers.contains(&alg);
        let sums = ChecksumHasher {
            crc32: wanted("crc32").then(s3s::crypto::Crc32::new),
            crc32c: wanted("crc32c").then(s3s::crypto::Crc32c::new),
            sha1: wanted("sha1").then(s3s::crypto::Sha1::new),
            sha256: wanted("sha256").then(s3s::crypto::Sha256::new),
            crc64nvme: (self.spares_md5 || wanted("crc64nvme")).then(s3s::crypto::Crc64Nvme::new),
        };
        let is_wanted = wanted("crc64nvme") || !ALGORITHMS.into_iter().any(wanted);
        let md5 = (!self.spares_md5).then(Md5::new);
        Hasher { md5, sums, hides_crc64: self.spares_md5 && !is_wanted, length: 0 }
    }

    /// Compares. Call after the body has ended: trailers are there only then.
    pub(crate) fn verify(&self, digests: &Digests) -> Result<(), Error> {
        if digests.length != self.length {
            return Err(Error::IncompleteBody);
        }
        if self.md5.is_some() && self.md5 != digests.md5 {
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
    md5: Option<Md5>,
    sums: ChecksumHasher,
    /// Whether the CRC-64 is for the entity tag only: the client chose another checksum.
    hides_crc64: bool,
    length: u64,
}

/// What was computed.
#[derive(Debug, Clone)]
pub(crate) struct Digests {
    pub(crate) length: u64,
    md5: Option<[u8; 16]>,
    /// Of a body without MD5.
    crc64: String,
    pub(crate) sums: Sums,
}

impl Digests {
    /// The entity tag of content that was sent in one piece: its MD5, or, where that was spared,
    /// a text that is no MD5 and says so by its dash.
    pub(crate) fn etag(&self) -> String {
        match self.md5 {
            Some(md5) => hex::encode(md5),
            None => {
                let content = format!("{} {}", self.length, self.crc64);
                format!("{}-1", hex::encode(Md5::digest(content)))
            }
        }
    }
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
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
        let mut sums: Sums =
            sums.into_iter().filter_map(|(alg, sum)| Some((alg.to_owned(), sum?))).collect();
        let md5 = self.md5.map(|md5| md5.finalize().into());
        let crc64 = match md5 {
            None => sums.get("crc64nvme").cloned().unwrap_or_default(),
            Some(_) => String::new(),
        };
        if self.hides_crc64 {
            sums.remove("crc64nvme");
        }
        Digests { length: self.length, md5, crc64, sums }
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
    fn a_long_body_has_an_md5_only_if_the_client_sent_one() {
        let digests = |length: u64, headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            let expected = Expected::of(length, &map, None).unwrap().sparing_md5();
            let mut hasher = expected.hasher();
            hasher.update(b"123456789");
            hasher.finish()
        };
        let md5 = "25f9e794323b453885f5181f1b624d0b";
        let crc64 = "rosUhgp5mIg=";
        let content_md5 = ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==");
        let crc32 = ("x-amz-checksum-crc32", "y/Q5Jg==");
        let names = |digests: &Digests| digests.sums.keys().cloned().collect::<Vec<_>>();
        let long = MD5_BYTES_MAX + 1;
        for (length, headers, has_md5, sums) in [
            (9, &[][..], true, &[][..]),
            (MD5_BYTES_MAX, &[], true, &[]),
            (long, &[content_md5], true, &[]),
            (long, &[], false, &["crc64nvme"]),
            (long, &[crc32], false, &["crc32"]),
        ] {
            let found = digests(length, headers);
            assert_eq!(found.etag() == md5, has_md5, "{length} {headers:?}");
            assert_eq!(found.etag().ends_with("-1"), !has_md5, "{length} {headers:?}");
            assert_eq!(names(&found), sums, "{length} {headers:?}");
        }
        // 0xae8b14860a799888, the check value of CRC-64/NVME in the catalogue of CRC algorithms.
        assert_eq!(digests(long, &[]).sums["crc64nvme"], crc64);
        assert_eq!(digests(long, &[]).etag(), digests(long, &[crc32]).etag(), "of the content");
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
