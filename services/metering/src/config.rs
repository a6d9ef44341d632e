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
    /// How many days facts are kept at least, which rollups can be worked out anew from. Default
    /// 40, at least 36: a fact may be 35 days late.
    pub fact_keep_days: u32,
    /// Callers of `WatchUsage` that a process serves at once. Default 1,000.
    pub watches_max: usize,
    /// Shares of a quota, an allowance or a cap that an alert is raised at, in parts of a hundred.
    /// Default 75, 90 and 100. At most 20, each from 1 to 1,000; none: no alerts.
    pub alert_percents: Vec<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            call_timeout_seconds: 30,
            fresh_wait_ms_max: 5_000,
            fact_keep_days: 40,
            watches_max: 1_000,
            alert_percents: vec![75, 90, 100],
        }
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
        if !(36..=3_660).contains(&self.fact_keep_days) {
            faults.push("metering.fact_keep_days must be from 36 to 3660".to_owned());
        }
        if self.watches_max > 100_000 {
            faults.push("metering.watches_max must be at most 100000".to_owned());
        }
        let is_share = |percent: &u32| (1..=1_000).contains(percent);
        if self.alert_percents.len() > 20 || !self.alert_percents.iter().all(is_share) {
            faults.push("metering.alert_percents must be at most 20, from 1 to 1000".to_owned());
        }
        faults
    }

    /// Shares that an alert is raised at, each once, smallest first.
    pub(crate) fn alert_percents(&self) -> Vec<u32> {
        let mut percents = self.alert_percents.clone();
        percents.sort_unstable();
        percents.dedup();
        percents
    }
}
