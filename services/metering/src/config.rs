//! The role's settings.

use serde::Deserialize;

/// Settings of the role.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest time a call may take, whatever deadline the client sent. Default 30.
    pub call_timeout_seconds: u64,
    /// Longest time that `AwaitUsage` waits for fresh figures, in milliseconds. Default 5,000.
    pub fresh_wait_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { call_timeout_seconds: 30, fresh_wait_ms_max: 5_000 }
    }
}

impl Config {
    /// All faults together, as sentences without a full stop; empty if there are none.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !(1..=600).contains(&self.call_timeout_seconds) {
            faults.push("metering.call_timeout_seconds must be from 1 to 600".to_owned());
        }
        if self.fresh_wait_ms_max > 60_000 {
            faults.push("metering.fresh_wait_ms_max must be at most 60000".to_owned());
        }
        faults
    }
}
