//! Who is on an engine without being an account of ours, and becomes one.

use stowage_types::S3uid;

use crate::{AccountAccess, KeyPair, Quota};

/// Who is on an engine and no account of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// What the engine calls it, as [`Engine::adopt`](crate::Engine::adopt) takes it.
    pub name: String,
    /// The only uid that it can have as an account; `None`: any.
    pub uid: Option<S3uid>,
    /// Whose it is, as the engine was told by people; empty: it was not.
    pub display_name: String,
    /// As the engine was told; empty: it was not.
    pub email: String,
    /// Ids of its keys, in order.
    pub access_keys: Vec<String>,
    /// What it may store.
    pub quota: Quota,
    /// Buckets it may have; `None`: no limit.
    pub bucket_max: Option<u32>,
    /// What its keys open.
    pub access: AccountAccess,
    /// Names of its buckets, in order.
    pub buckets: Vec<String>,
    /// Why it cannot be adopted as it is, for people; `None`: it can.
    pub obstacle: Option<String>,
}

/// An account that was somebody else's.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// Its keys, in the order of their ids.
    pub keys: Vec<KeyPair>,
    /// What it may store.
    pub quota: Quota,
    /// Buckets it may have; `None`: no limit.
    pub bucket_max: Option<u32>,
    /// What its keys open.
    pub access: AccountAccess,
}
