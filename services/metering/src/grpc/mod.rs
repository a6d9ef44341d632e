//! Proto to domain and back. It holds no rule.

mod dead_letter;
mod fact;
mod limits;
mod meter;
mod metered;
mod usage;

pub(crate) use dead_letter::DeadLetters;
pub(crate) use fact::Facts;
pub(crate) use limits::LimitsGrpc;
pub(crate) use meter::Meters;
pub(crate) use usage::Usage;

use stowage_types::{Violations, from_timestamp};
use time::OffsetDateTime;

/// Reads an optional time and notes a bad one.
fn read_time(
    field: &str,
    wire: Option<&prost_types::Timestamp>,
    violations: &mut Violations,
) -> Option<OffsetDateTime> {
    violations.check(field, from_timestamp(wire?))
}

/// `None` for an empty text, which is a filter left open.
fn given(field: &str, text: String, violations: &mut Violations) -> Option<String> {
    violations.check_length(field, &text, TEXT_MAX);
    (!text.is_empty()).then_some(text)
}

/// Characters of a text in a request, at most.
const TEXT_MAX: usize = 320;
/// Rows of a page by default, and at most.
const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 1000;
