//! Proto to domain and back; one file per resource. No rule lives here.

pub(crate) mod account_move;
pub(crate) mod adoption;
pub(crate) mod bucket;
pub(crate) mod bucket_deletion;
pub(crate) mod engine_account;
pub(crate) mod keyring;
pub(crate) mod location;
pub(crate) mod object;
pub(crate) mod saga;
pub(crate) mod upload;
pub(crate) mod usage;

use crate::domain::{Domain, signed};

/// Serves every service of the role.
#[derive(Debug, Clone)]
pub(crate) struct Api(pub(crate) Domain);

/// What a good request is made of, once the violations were looked at.
///
/// # Errors
/// The violations. A field that is absent has one.
fn complete<T>(
    fields: Option<T>,
    violations: stowage_types::Violations,
) -> Result<T, crate::error::Error> {
    violations.finish()?;
    fields.ok_or_else(|| crate::error::Error::Internal {
        source: "a field was refused without a violation".into(),
    })
}
