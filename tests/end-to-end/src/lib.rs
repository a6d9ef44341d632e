//! Tests of the whole server through its doors; all of them are in `tests/it`.
