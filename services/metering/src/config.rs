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
    /// Accounts that `RankAccounts` ranks by figures of this moment. Where more match, it ranks by
    /// figures kept in memory, which are some seconds old. Default 200.
    pub ranked_at_once_max: u32,
    /// Memory for these figures, in MiB. What one question needs is taken in any case: some 100
    /// bytes for each account, and 16 more for each part of its period. Default 48.
    pub rankings_mib_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            call_timeout_seconds: 30,
            fresh_wait_ms_max: 5_000,
            fact_keep_days: 40,
            watches_max: 1_000,
            ranked_at_once_max: 200,
            rankings_mib_max: 48,
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
        if self.ranked_at_once_max > 10_000 {
            faults.push("metering.ranked_at_once_max must be at most 10000".to_owned());
        }
        if !(1..=1_000_000).contains(&self.rankings_mib_max) {
            faults.push("metering.rankings_mib_max must be from 1 to 1000000".to_owned());
        }
        faults
    }
}
