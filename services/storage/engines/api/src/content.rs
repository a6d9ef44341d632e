//! Objects as they go from one engine to another: by our own hand, streamed, in nobody's usage.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use stowage_types::BucketName;

use crate::Error;

/// The bytes of an object, some at a time. It ends with its first error.
pub type ObjectStream = BoxStream<'static, Result<Bytes, Error>>;

/// Headers that an object keeps, by their names in lower case.
pub const KEPT_HEADERS: [&str; 6] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
];

/// What is kept of an object beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectMeta {
    /// Those of [`KEPT_HEADERS`] that it was stored with.
    pub headers: BTreeMap<String, String>,
    /// The customer's own, `x-amz-meta-*` without the prefix.
    pub user: BTreeMap<String, String>,
}

/// An object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// Its size.
    pub size_bytes: u64,
    /// Entity tag without quotes.
    pub etag: String,
    /// What else is kept of it.
    pub meta: ObjectMeta,
}

/// An object that is being read.
pub struct OpenObject {
    /// What it is.
    pub head: ObjectHead,
    /// Its bytes.
    pub body: ObjectStream,
}

impl fmt::Debug for OpenObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenObject").field("head", &self.head).finish_non_exhaustive()
    }
}

/// Where the bytes of a new object come from. A call that is repeated opens it again.
#[async_trait]
pub trait ObjectSource: Send + Sync {
    /// Begins with the first byte.
    ///
    /// # Errors
    /// [`Error::Conflict`]: there is something else by now.
    async fn open(&self) -> Result<ObjectStream, Error>;
}

/// An object to be stored.
pub struct NewObject<'a> {
    /// Where.
    pub bucket: &'a BucketName,
    /// Its key.
    pub key: &'a str,
    /// Its size.
    pub size_bytes: u64,
    /// What else is kept of it.
    pub meta: &'a ObjectMeta,
    /// Its bytes.
    pub source: &'a dyn ObjectSource,
}

impl fmt::Debug for NewObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = &self.size_bytes;
        f.debug_struct("NewObject").field("size_bytes", size).finish_non_exhaustive()
    }
}
