//! The provider, fact by fact.
