//! What the fuzz target in `tests/fuzz` drives: one request after another, in process, as the
//! endpoint gets them. Its signer also signs what the SDK cannot say in tests.

use std::collections::HashMap;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use s3s::Body;
use stowage_db::args;
use stowage_engine::{AccountSpec, BoxError, Engine, KeyPair, Quota};
use stowage_keyring::Keyring;
use stowage_types::{BucketName, ExposeSecret as _, S3uid, SystemClock, SystemRandom};
use time::OffsetDateTime;

use crate::{Embedded, EmbeddedConfig};

const REGION: &str = "fuzz-1";
const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// Signs a request by version 4 in its headers: over all that it has, and over its body, unless
/// it says itself what is to be taken for the body's digest.
///
/// # Errors
/// When a header is not text.
pub fn sign_request(
    request: &mut Request<Bytes>,
    keys: &KeyPair,
    region: &str,
    now: OffsetDateTime,
) -> Result<(), BoxError> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let secret = keys.secret_key.expose_secret();
    let identity = Credentials::new(&keys.access_key, secret, None, None, "stowage").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(now.into())
        .settings(settings)
        .build()?
        .into();
    let digest = request.headers_mut().remove(CONTENT_SHA256);
    let body = match &digest {
        Some(digest) => SignableBody::Precomputed(digest.to_str()?.to_owned()),
        None => SignableBody::Bytes(request.body()),
    };
    let mut headers = Vec::new();
    for (name, value) in request.headers() {
        headers.push((name.as_str(), value.to_str()?));
    }
    let uri = request.uri().to_string();
    let signable = SignableRequest::new(request.method().as_str(), uri, headers.into_iter(), body)?;
    let (instructions, _) = sign(signable, &params)?.into_parts();
    for (name, value) in instructions.headers() {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        request.headers_mut().insert(name, HeaderValue::from_str(value)?);
    }
    Ok(())
}

/// An engine that has an account with a bucket and an object, and is asked anything.
#[derive(Debug)]
pub struct Target {
    engine: Embedded,
    keys: KeyPair,
}

impl Target {
    /// Opens an engine in an empty folder.
    ///
    /// # Errors
    /// When the folder cannot be used.
    ///
    /// # Panics
    /// As [`Self::answer`].
    pub async fn open(folder: &Path) -> Result<Self, BoxError> {
        let keyring = Arc::new(Keyring::load_or_create(&folder.join("keyring"), &SystemRandom)?);
        let config = EmbeddedConfig::new(folder.join("data"), REGION);
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let engine = Embedded::open(config, keyring, clock, random).await?;
        let uid = S3uid::parse(&"f".repeat(32))?;
        let secret_key = "a-secret-of-forty-characters-for-fuzzing".into();
        let keys = KeyPair { access_key: "STOWAGEFUZZ".to_owned(), secret_key };
        // Bounds, so that a long run does not fill the disk.
        let spec = AccountSpec {
            quota: Quota { bytes: Some(1 << 20), objects: Some(100) },
            bucket_max: Some(10),
            ..AccountSpec::new(uid.clone(), vec![keys.clone()])
        };
        engine.ensure_account(&spec).await?;
        let bucket = BucketName::new("fuzz")?;
        engine.create_bucket(&uid, &bucket).await?;
        let target = Self { engine, keys };
        match target.answer(b"+PUT /fuzz/a\n\ncontent").await {
            Some(StatusCode::OK) => Ok(target),
            other => Err(format!("the object is not stored: {other:?}").into()),
        }
    }

    /// Answers an input: a line `METHOD URI`, lines of headers, an empty line, the body; `+` before
    /// the method has it signed. `None`: the input is no request.
    ///
    /// # Panics
    /// When the answer is a fault of ours (500, 503), when a request that is not signed is answered
    /// well, or when it has changed anything.
    pub async fn answer(&self, input: &[u8]) -> Option<StatusCode> {
        let (mut request, is_signed) = read_input(input)?;
        let now = self.engine.inner.index.clock.now();
        // What cannot be signed goes out as it is.
        let is_signed = is_signed && sign_request(&mut request, &self.keys, REGION, now).is_ok();
        let before = if is_signed { None } else { Some(self.contents().await) };
        let shown = format!("{request:?}");
        let response = crate::serve::answer(&self.engine, request.map(Body::from)).await;
        let status = response.status();
        drain(response).await;
        let is_ours =
            [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
        assert!(!is_ours, "{status} for {shown}");
        if let Some(before) = before {
            assert!(!status.is_success(), "{status} for the unsigned {shown}");
            assert_eq!(before, self.contents().await, "changed by the unsigned {shown}");
        }
        Some(status)
    }

    /// What is stored, by number.
    async fn contents(&self) -> HashMap<&'static str, i64> {
        const COUNTS: [&str; 5] = [
            "SELECT count(*) FROM object",
            "SELECT count(*) FROM upload",
            "SELECT count(*) FROM part",
            "SELECT count(*) FROM bucket",
            "SELECT value FROM sequence WHERE name = 'change'",
        ];
        let mut contents = HashMap::new();
        for sql in COUNTS {
            let row = self.engine.inner.index.db.fetch_one::<(i64,)>(sql, args![]).await;
            contents.insert(sql, row.expect("the index is there").0);
        }
        contents
    }
}

/// Reads the whole body, so that what it is made of is read too.
async fn drain<B: http_body::Body + Unpin>(mut response: Response<B>) {
    while let Some(Ok(_)) = poll_fn(|cx| Pin::new(response.body_mut()).poll_frame(cx)).await {}
}

fn read_input(input: &[u8]) -> Option<(Request<Bytes>, bool)> {
    let mut rest = input;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        line
    };
    let (method, uri) = std::str::from_utf8(line()).ok()?.split_once(' ')?;
    let (method, is_signed) = match method.strip_prefix('+') {
        Some(method) => (method, true),
        None => (method, false),
    };
    let mut headers = Vec::new();
    loop {
        let line = line();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        // A server takes no other.
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.push((name, value));
        }
    }
    let mut request = Request::new(Bytes::copy_from_slice(rest));
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = uri.parse::<Uri>().ok().filter(|uri| uri.path().starts_with('/'))?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    request.headers_mut().insert("content-length", HeaderValue::from(rest.len()));
    for (name, value) in headers {
        request.headers_mut().append(name, value);
    }
    Some((request, is_signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fuzzing begins with, each cut short at every byte and with every byte changed. What
    /// fuzzing found once is among it.
    #[tokio::test]
    async fn what_fuzzing_begins_with_is_answered_however_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::open(folder.path()).await.unwrap();
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../tests/fuzz/seeds/s3_request");
        let (mut count, mut good) = (0, 0);
        for entry in std::fs::read_dir(seeds).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            let status = target.answer(&seed).await.expect("a seed is a request");
            good += u32::from(status.is_success());
            for at in 0..seed.len() {
                let _ = target.answer(&seed[..at]).await;
                let mut damaged = seed.clone();
                damaged[at] = [0, b'\n', b'/', b'%', b'&', b'=', 0x80, 0xff][at % 8];
                let _ = target.answer(&damaged).await;
            }
            count += 1;
        }
        assert!(count >= 10 && good >= 6, "{good} of {count}");
    }
}
