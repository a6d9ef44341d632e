//! Settings of the billing role.

use std::time::Duration;

use serde::Deserialize;

/// Settings of the billing role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest time a call may take, whatever deadline the client sent, in milliseconds. Default
    /// 30000.
    pub call_timeout_ms: u64,
    /// Longest time the billing provider may take for one answer, in milliseconds; after it the
    /// answer counts as unclear. Default 20000, so that a call can still say so.
    pub provider_timeout_ms: u64,
    /// How often the provider is told again of scheduled ends it has not taken, in milliseconds.
    /// Default 30000.
    pub mirror_interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { call_timeout_ms: 30_000, provider_timeout_ms: 20_000, mirror_interval_ms: 30_000 }
    }
}

impl Config {
    /// Every fault of the settings, each a sentence that names its setting.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, value) in [
            ("call_timeout_ms", self.call_timeout_ms),
            ("provider_timeout_ms", self.provider_timeout_ms),
            ("mirror_interval_ms", self.mirror_interval_ms),
        ] {
            if !(1..=600_000).contains(&value) {
                faults.push(format!("billing.{name} must be from 1 to 600000, it is {value}"));
            }
        }
        if self.provider_timeout_ms > self.call_timeout_ms {
            faults.push(
                "billing.provider_timeout_ms must not exceed billing.call_timeout_ms".to_owned(),
            );
        }
        faults
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }

    pub(crate) fn provider_timeout(&self) -> Duration {
        Duration::from_millis(self.provider_timeout_ms)
    }

    pub(crate) fn mirror_interval(&self) -> Duration {
        Duration::from_millis(self.mirror_interval_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_every_fault_is_told() {
        assert_eq!(Config::default().check(), Vec::<String>::new());
        let bad = Config { call_timeout_ms: 0, provider_timeout_ms: 7, mirror_interval_ms: 0 };
        assert_eq!(bad.check().len(), 3, "{:?}", bad.check());
    }
}
