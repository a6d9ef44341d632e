//! One object, brought from one engine to another, or compared on both.
//!
//! What arrives is checked three times: against the entity tag of the original where that is an
//! MD5, by the engine that stores it with a digest of its own, and against its entity tag there
//! where that is an MD5. Where the two tags differ since the object came in other parts, both are
//! noted, so that a comparison needs not read it again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use md5::{Digest as _, Md5};
use stowage_engine::{Engine, Error, NewObject, ObjectSource, ObjectStream, OpenObject};
use stowage_types::{BucketName, S3uid};

/// Attempts to bring one object, the first included, before the whole page is tried again later.
const ATTEMPTS_MAX: u32 = 5;
/// The first pause between them; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(50);

/// Where an object is and goes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) from: &'a dyn Engine,
    pub(super) to: &'a dyn Engine,
    pub(super) uid: &'a S3uid,
    pub(super) bucket: &'a BucketName,
}

/// What came of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Copied {
    /// So many bytes, with these tags there and here.
    Done { bytes: u64, from_etag: String, to_etag: String },
    /// It was deleted meanwhile.
    Gone,
    /// It cannot be moved, for this reason.
    Faulty(String),
}

/// Whether an entity tag is the MD5 of what was stored.
fn is_md5(etag: &str) -> bool {
    etag.len() == 32 && etag.bytes().all(|b| b.is_ascii_hexdigit())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The original, as it was when it was first opened.
struct Original<'a> {
    way: Way<'a>,
    key: &'a str,
    etag: String,
    /// Of the first opening.
    first: Mutex<Option<ObjectStream>>,
    /// What the last reading came to.
    digest: Arc<Mutex<Option<String>>>,
}

#[async_trait]
impl ObjectSource for Original<'_> {
    async fn open(&self) -> Result<ObjectStream, Error> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let body = match first {
            Some(body) => body,
            None => {
                let Way { from, uid, bucket, .. } = self.way;
                let again = from.read_object(uid, bucket, self.key).await?;
                if again.head.etag != self.etag {
                    return Err(Error::Conflict);
                }
                again.body
            }
        };
        Ok(checked(body, self.etag.clone(), Arc::clone(&self.digest)))
    }
}

/// A body that ends with an error if it is not what its tag says.
fn checked(body: ObjectStream, etag: String, digest: Arc<Mutex<Option<String>>>) -> ObjectStream {
    let state = Some((body, Md5::new()));
    let chunks = futures_util::stream::unfold(state, move |state| {
        let (etag, digest) = (etag.clone(), Arc::clone(&digest));
        async move {
            let (mut body, mut md5) = state?;
            match body.next().await {
                Some(Ok(bytes)) => {
                    md5.update(&bytes);
                    Some((Ok(bytes), Some((body, md5))))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None => {
                    let is = hex(&md5.finalize());
                    let differs = is_md5(&etag) && is != etag;
                    *digest.lock().unwrap_or_else(PoisonError::into_inner) = Some(is);
                    let why = "an object is not what its entity tag says";
                    differs.then(|| (Err(Error::unavailable(why)), None))
                }
            }
        }
    });
    chunks.boxed()
}

impl Way<'_> {
    /// Brings an object, if need be in several attempts.
    pub(super) async fn copy(&self, key: &str) -> Result<Copied, Error> {
        let mut attempts = 1;
        loop {
            match self.try_copy(key).await {
                Err(error) if error.is_transient() && attempts < ATTEMPTS_MAX => {
                    tokio::time::sleep(PAUSE * (1 << (attempts - 1))).await;
                    attempts += 1;
                }
                // By name: what no repeat mends.
                Err(
                    error @ (Error::Invalid { .. }
                    | Error::Unsupported
                    | Error::Denied
                    | Error::AlreadyExists),
                ) => return Ok(Copied::Faulty(error.to_string())),
                copied => return copied,
            }
        }
    }

    async fn try_copy(&self, key: &str) -> Result<Copied, Error> {
        let opened = self.from.read_object(self.uid, self.bucket, key).await;
        let OpenObject { head, body } = match opened {
            Err(Error::NotFound) => return Ok(Copied::Gone),
            opened => opened?,
        };
        let digest = Arc::new(Mutex::new(None));
        let source = Original {
            way: *self,
            key,
            etag: head.etag.clone(),
            first: Mutex::new(Some(body)),
            digest: Arc::clone(&digest),
        };
        let new = NewObject {
            bucket: self.bucket,
            key,
            size_bytes: head.size_bytes,
            meta: &head.meta,
            source: &source,
        };
        let to_etag = match self.to.write_object(self.uid, &new).await {
            // Of the two, it is the source that may go at any time.
            Err(Error::NotFound) => return self.gone_or(key).await,
            stored => stored?,
        };
        let sent = digest.lock().unwrap_or_else(PoisonError::into_inner).take();
        if is_md5(&to_etag) && sent.is_some_and(|sent| sent != to_etag) {
            return Err(Error::unavailable("what was stored is not what was sent"));
        }
        Ok(Copied::Done { bytes: head.size_bytes, from_etag: head.etag, to_etag })
    }

    /// Whether the original was deleted while it was read; else it is to be tried again.
    async fn gone_or(&self, key: &str) -> Result<Copied, Error> {
        match self.from.read_object(self.uid, self.bucket, key).await {
            Err(Error::NotFound) => Ok(Copied::Gone),
            Ok(_) => Err(Error::unavailable("the bucket is not there at the destination")),
            Err(error) => Err(error),
        }
    }

    /// Whether both sides have the same bytes, by reading them.
    pub(super) async fn is_same_content(&self, key: &str) -> Result<bool, Error> {
        let (one, other) = tokio::join!(
            digest_of(self.from, self.uid, (self.bucket, key)),
            digest_of(self.to, self.uid, (self.bucket, key)),
        );
        Ok(one? == other?)
    }
}

/// Size and SHA-256 of an object.
async fn digest_of(
    engine: &dyn Engine,
    uid: &S3uid,
    (bucket, key): (&BucketName, &str),
) -> Result<(u64, String), Error> {
    let OpenObject { head, mut body } = engine.read_object(uid, bucket, key).await?;
    let mut digest = sha2::Sha256::new();
    while let Some(chunk) = body.next().await {
        digest.update(&chunk?);
    }
    Ok((head.size_bytes, hex(&digest.finalize())))
}

#[cfg(test)]
mod tests {
    use stowage_engine::ObjectStream;

    use super::*;

    fn body(text: &'static [u8]) -> ObjectStream {
        futures_util::stream::iter([Ok(text.into())]).boxed()
    }

    #[tokio::test]
    async fn a_body_that_is_not_what_its_tag_says_ends_with_an_error() {
        // MD5 of "abc".
        let tag = "900150983cd24fb0d6963f7d28e17f72";
        for (etag, text, holds) in [
            (tag, &b"abc"[..], true),
            (tag, b"abd", false),
            // Of parts: it says nothing of the bytes.
            ("900150983cd24fb0d6963f7d28e17f72-2", b"abd", true),
        ] {
            let digest = Arc::default();
            let chunks: Vec<_> = checked(body(text), etag.to_owned(), digest).collect().await;
            assert_eq!(chunks.iter().all(Result::is_ok), holds, "{etag} {text:?}");
        }
    }
}
