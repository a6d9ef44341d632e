//! Settings of the storage role. The binary reads them; this crate only checks them.

use std::time::Duration;

use serde::Deserialize;
use stowage_types::{Violations, name};

/// Settings of the role itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest time a call may take, in milliseconds, whatever deadline the client sent. Default
    /// 30,000.
    pub call_ms_max: u64,
    /// Pause between two looks at an engine's usage, in milliseconds. Default 1,000.
    pub collect_every_ms: u64,
    /// Longest pause while an engine is away, in milliseconds. Default 60,000.
    pub collect_back_off_ms_max: u64,
    /// Most rows of usage taken in one transaction. Default 500.
    pub collect_rows_max: u32,
    /// Most buckets deleted at once with all that is in them. Default 4.
    pub deletions_max: u32,
    /// Most objects of such a bucket deleted at once. Default 1,000.
    pub deletion_batch_max: u32,
    /// Most accounts moved to other locations at once. Default 2.
    pub moves_max: u32,
    /// Most objects of an account copied at once. Each takes up to two times 16 MiB of memory.
    /// Default 8.
    pub move_copies_max: u32,
    /// Most objects of an account looked at at once while it is moved. Default 1,000.
    pub move_page_max: u32,
    /// How long what was under way is let come to its end once an account that is moved is
    /// read-only, in milliseconds, before it is looked at for the last time. Default 35,000: longer
    /// than a call may take.
    pub move_settle_ms: u64,
    /// Pause between two looks at which locations were added or removed by another process, in
    /// milliseconds. Default 2,000.
    pub locations_every_ms: u64,
    /// How long a location stays once its last account has left, in milliseconds, so that what was
    /// used last is collected before it is removed. Longer than an engine takes to write it and
    /// this role to ask for it. Default 180,000.
    pub removal_settle_ms: u64,
    /// Whether open sagas, running requests and deletions of buckets are taken over whoever holds
    /// them. Right where one process has the database to itself, so that another holder is dead.
    /// Default true.
    pub takes_over: bool,
    /// Bounds of the sagas; not set from files.
    #[serde(skip)]
    pub sagas: stowage_saga::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            call_ms_max: 30_000,
            collect_every_ms: 1_000,
            collect_back_off_ms_max: 60_000,
            collect_rows_max: 500,
            deletions_max: 4,
            deletion_batch_max: 1000,
            moves_max: 2,
            move_copies_max: 8,
            move_page_max: 1000,
            move_settle_ms: 35_000,
            locations_every_ms: 2_000,
            removal_settle_ms: 180_000,
            takes_over: true,
            sagas: stowage_saga::Settings::default(),
        }
    }
}

impl Config {
    /// All faults, each naming its setting; none: the settings are good.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.call_ms_max == 0 {
            faults.push("storage.call_ms_max must be above 0".to_owned());
        }
        if self.collect_every_ms == 0 {
            faults.push("storage.collect_every_ms must be above 0".to_owned());
        }
        if self.collect_back_off_ms_max < self.collect_every_ms {
            faults.push(
                "storage.collect_back_off_ms_max must not be below storage.collect_every_ms"
                    .to_owned(),
            );
        }
        if !(1..=10_000).contains(&self.collect_rows_max) {
            faults.push("storage.collect_rows_max must be from 1 to 10000".to_owned());
        }
        if !(1..=64).contains(&self.deletions_max) {
            faults.push("storage.deletions_max must be from 1 to 64".to_owned());
        }
        if !(1..=1000).contains(&self.deletion_batch_max) {
            faults.push("storage.deletion_batch_max must be from 1 to 1000".to_owned());
        }
        if !(1..=64).contains(&self.moves_max) {
            faults.push("storage.moves_max must be from 1 to 64".to_owned());
        }
        if !(1..=64).contains(&self.move_copies_max) {
            faults.push("storage.move_copies_max must be from 1 to 64".to_owned());
        }
        if !(1..=1000).contains(&self.move_page_max) {
            faults.push("storage.move_page_max must be from 1 to 1000".to_owned());
        }
        if !(1..=600_000).contains(&self.locations_every_ms) {
            faults.push("storage.locations_every_ms must be from 1 to 600000".to_owned());
        }
        if self.removal_settle_ms > 86_400_000 {
            faults.push("storage.removal_settle_ms must not be above 86400000".to_owned());
        }
        faults
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_ms_max)
    }

    pub(crate) fn collect_every(&self) -> Duration {
        Duration::from_millis(self.collect_every_ms)
    }

    pub(crate) fn locations_every(&self) -> Duration {
        Duration::from_millis(self.locations_every_ms)
    }

    pub(crate) fn removal_settle(&self) -> Duration {
        Duration::from_millis(self.removal_settle_ms)
    }

    pub(crate) fn collect_back_off_max(&self) -> Duration {
        Duration::from_millis(self.collect_back_off_ms_max)
    }
}

/// Whether a location takes orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LocationState {
    /// Takes orders.
    #[default]
    Open,
    /// Keeps its accounts and takes no new ones.
    Draining,
}

/// A place with an engine, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocationConfig {
    /// Two to sixteen capital letters, digits and dashes: `NL`.
    pub code: String,
    /// S3 endpoint of its accounts, a URL.
    pub endpoint: String,
    /// Region that S3 clients sign for.
    pub region: String,
    /// Classes of storage it offers; at least one.
    pub storage_types: Vec<String>,
    /// Whether it takes orders. Default open.
    #[serde(default)]
    pub state: LocationState,
}

impl LocationConfig {
    /// All faults, each naming the location and its setting.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let told = |(setting, why)| format!("location {:?}: {setting} {why}", self.code);
        self.violations().iter().map(told).collect()
    }

    /// All faults, by setting.
    pub(crate) fn violations(&self) -> Violations {
        let mut violations = Violations::default();
        violations.check("code", name::check_location_code(&self.code));
        let mut fault = |setting: &str, why: &str| violations.push(setting, why);
        if !["http://", "https://"].iter().any(|scheme| self.endpoint.starts_with(scheme)) {
            fault("endpoint", "must be an http or https URL");
        }
        if self.region.is_empty() {
            fault("region", "must not be empty");
        }
        if self.storage_types.is_empty() || self.storage_types.iter().any(String::is_empty) {
            fault("storage_types", "must name at least one class, none of them empty");
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_good_and_all_faults_are_told_together() {
        assert_eq!(Config::default().check(), Vec::<String>::new());
        let bad = Config {
            call_ms_max: 0,
            collect_every_ms: 0,
            collect_rows_max: 0,
            deletions_max: 0,
            deletion_batch_max: 1001,
            moves_max: 0,
            move_copies_max: 65,
            move_page_max: 0,
            locations_every_ms: 0,
            removal_settle_ms: 86_400_001,
            ..Config::default()
        };
        assert_eq!(bad.check().len(), 10);
    }

    #[test]
    fn faults_of_a_location_name_it() {
        let bad = LocationConfig {
            code: "nl".to_owned(),
            endpoint: "127.0.0.1:9000".to_owned(),
            region: String::new(),
            storage_types: Vec::new(),
            state: LocationState::Open,
        };
        let faults = bad.check();
        assert_eq!(faults.len(), 4);
        assert!(faults.iter().all(|fault| fault.starts_with("location \"nl\": ")), "{faults:?}");
    }
}
