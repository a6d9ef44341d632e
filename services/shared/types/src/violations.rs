//! Collects every bad field of a request, so that all are reported at once.

use std::fmt;

use crate::Malformed;

/// Bad fields by proto path, each with what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<(String, String)>);

const HOLDS_NUL: &str = "holds the character NUL (U+0000), which no text may";

impl Violations {
    /// Adds one. `why` completes "the field …".
    pub fn push(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.0.push((field.into(), why.into()));
    }

    /// Keeps a good value and notes a bad one.
    pub fn check<T>(&mut self, field: &str, value: Result<T, Malformed>) -> Option<T> {
        value.map_err(|bad| self.push(field, bad.why)).ok()
    }

    /// Notes a text above `max` characters, or one that no database keeps.
    pub fn check_length(&mut self, field: &str, text: &str, max: usize) {
        if text.contains('\0') {
            self.push(field, HOLDS_NUL);
        }
        if text.chars().count() > max {
            self.push(field, format!("is longer than {max} characters"));
        }
    }

    /// What a text is that holds NUL and was met where its field's name is not known any more.
    #[must_use]
    pub fn nul() -> Self {
        Self::of("text", HOLDS_NUL)
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields with what is wrong.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(field, why)| (field.as_str(), why.as_str()))
    }

    /// Ends the checks.
    ///
    /// # Errors
    /// Itself, if anything is wrong.
    pub fn finish(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// One bad field.
    #[must_use]
    pub fn of(field: &str, why: impl Into<String>) -> Self {
        Self(vec![(field.to_owned(), why.into())])
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, why)) in self.iter().enumerate() {
            write!(f, "{}{field} {why}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
