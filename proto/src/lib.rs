//! The contracts of Stowage's roles: bindings, descriptor set, and who may call what.
//!
//! The `.proto` files beside this crate are the reference; nothing here adds to them but what a
//! program needs to hold them: [`METHODS`] for the access layer, [`DESCRIPTORS`] for reflection.

/// `google.*` packages.
pub mod google {
    /// `google.type`.
    pub mod r#type {
        tonic::include_proto!("google.r#type");
    }
}

/// `stowage.*` packages.
pub mod stowage {
    /// Declares the module of one package's version 1.
    macro_rules! package {
        ($name:ident, $path:literal) => {
            #[doc = concat!("`", $path, "`.")]
            pub mod $name {
                /// Version 1.
                pub mod v1 {
                    tonic::include_proto!($path);
                }
            }
        };
    }
    package!(common, "stowage.common.v1");
    package!(accounts, "stowage.accounts.v1");
    package!(storage, "stowage.storage.v1");
    package!(billing, "stowage.billing.v1");
    package!(metering, "stowage.metering.v1");
}

mod redact;

pub use google::r#type::Money;
pub use stowage::{
    accounts::v1 as accounts, billing::v1 as billing, common::v1 as common,
    metering::v1 as metering, storage::v1 as storage,
};

/// The encoded `FileDescriptorSet` of every package, for reflection and for tests that walk over
/// all methods.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// What a method declares of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodAccess {
    /// `/stowage.accounts.v1.AccountService/CreateAccount`.
    pub path: &'static str,
    /// Values of [`common::PrincipalRole`] that may call it; never empty.
    pub allow: &'static [i32],
    /// Whether it changes anything.
    pub mutates: bool,
    /// Whether its answer carries a secret.
    pub reads_secret: bool,
    /// Name of the request's field that makes it safe to repeat. Empty: it does not mutate, or
    /// is exempt.
    pub repeat_key: &'static str,
    /// Number of that field; 0: there is none.
    pub repeat_field: u32,
    /// Why it needs no `repeat_key` although it mutates; else empty.
    pub repeat_exempt: &'static str,
}

/// A request of a method whose `repeat_key` is `request_id`. Implemented for all of them, and for
/// nothing else.
pub trait Repeatable: prost::Message + Default {
    /// Path of the method, as in [`MethodAccess::path`].
    const METHOD: &'static str;
    /// Whether the answer carries a secret.
    const READS_SECRET: bool;

    /// Takes the request id out, so that what is left is the content alone.
    fn take_request_id(&mut self) -> String;
}

include!(concat!(env!("OUT_DIR"), "/repeatable.rs"));

/// Every method of every role.
pub const METHODS: &[MethodAccess] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// The declaration of the method at `path`, if it is one of ours.
#[must_use]
pub fn method(path: &str) -> Option<&'static MethodAccess> {
    METHODS.iter().find(|method| method.path == path)
}
