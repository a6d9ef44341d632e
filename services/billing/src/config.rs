//! Settings of the billing role.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::dunning::{Reached, Stage, Step};

/// Which billing system orders are placed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// The built-in one.
    Ledger,
    /// An installation of WHMCS, by its remote API.
    Whmcs,
}

/// An installation of WHMCS. What each setting does is told in the README of its crate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whmcs {
    /// Where it is installed, without `/includes/api.php`.
    pub url: String,
    /// Identifier of the API credential.
    pub identifier: String,
    /// File with its secret; refused if others may read it.
    pub secret_file: PathBuf,
    /// File with `$api_access_key` of its `configuration.php`, where our address is not on its
    /// list. Default: none.
    #[serde(default)]
    pub access_key_file: Option<PathBuf>,
    /// Certificates of the authority that has signed its own, in PEM. Default: those that the
    /// system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// System name of the payment method of orders, invoices and payments: `banktransfer`.
    pub payment_method: String,
    /// Ids of its products by the ids of our plans.
    pub products: BTreeMap<String, i64>,
    /// Whether orders name our price; else the product's own price counts. Default yes.
    #[serde(default = "yes")]
    pub overrides_price: bool,
    /// Whether a service's module is told to terminate it; else its status is set. Default no.
    #[serde(default)]
    pub module_terminate: bool,
    /// Whether planned ends are written to services as their termination date. Default no.
    #[serde(default)]
    pub mirror_ends: bool,
    /// Most calls a second. Default 20.
    #[serde(default = "twenty")]
    pub calls_per_second: u32,
    /// Number of the installation, where there are several: 0, the default, for the first, and 1 to
    /// 999 for others. Ids are told with it, so it never changes.
    #[serde(default)]
    pub number: i64,
    /// Codes of the locations it bills. The first bills all that no other does.
    #[serde(default)]
    pub locations: Vec<String>,
    /// File with the secret that the file in its `includes/hooks` signs messages with, of at least
    /// 32 characters; refused if others may read it. Default: none are taken.
    #[serde(default)]
    pub hook_secret_file: Option<PathBuf>,
}

fn yes() -> bool {
    true
}

fn twenty() -> u32 {
    20
}

/// How customers pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentTerms {
    /// By invoice, until the day it is due.
    Invoiced,
    /// In advance: an order needs credit.
    Prepaid,
}

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
    /// Which billing system orders are placed with: `ledger`, the built-in one, or `whmcs`. What
    /// was sold by another is not billed any more: choose before the first order. Default
    /// `ledger`.
    pub provider: ProviderKind,
    /// The installation of WHMCS, where that is the provider; the first, where there are several.
    pub whmcs: Option<Whmcs>,
    /// Other installations of WHMCS by their names, which subscriptions say they are billed by;
    /// each with its `number` and `locations`.
    pub whmcs_at: BTreeMap<String, Whmcs>,
    /// File with the secret that payment processors sign what they report with, of at least 32
    /// characters; refused if others may read it. Default: nothing that they report is taken.
    pub payment_hook_secret_file: Option<PathBuf>,
    /// How often what the provider has is compared with what is here, in milliseconds; what differs
    /// is told in the log. Default 3600000, an hour; at most 86400000, a day.
    pub reconcile_interval_ms: u64,
    /// How customers of the ledger pay for whom nothing else is set: `invoiced`, by the day an
    /// invoice is due, or `prepaid`, so that an order needs credit. Default `invoiced`.
    pub payment_terms: PaymentTerms,
    /// Who issues invoices, as the page of one shows it: name and address, several lines. Default:
    /// nothing; at most 1000 characters.
    pub seller: String,
    /// From the issue of an invoice of the ledger to the day it is due, in days. Default 14; at
    /// most 366.
    pub invoice_due_days: u32,
    /// How many days after an invoice was due its customer is to be reminded, each time later than
    /// the time before. Default: never; at most 10 times.
    pub reminder_after_days: Vec<u32>,
    /// How many days after an invoice was due its account becomes read-only, until it is paid.
    /// Absent: never, which is the default; at most 3660, as for the two that follow. None of the
    /// four may come before one that is named before it.
    pub read_only_after_days: Option<u32>,
    /// How many days after an invoice was due its account is suspended, until it is paid. Absent:
    /// never, which is the default.
    pub suspend_after_days: Option<u32>,
    /// How many days after an invoice was due the end of its account is scheduled, and the account
    /// suspended, until it is paid. Absent: never, which is the default.
    pub end_after_days: Option<u32>,
    /// How long after the end of a period what was used in it is still waited for, in minutes,
    /// before it is rated and billed. What comes later corrects the next bill. Default 90, which is
    /// longer than an hour's traffic takes to come in; at most 10080, a week.
    pub close_after_minutes: u32,
    /// How often it is looked whether a period is to be closed, in milliseconds. Default 60000.
    pub close_interval_ms: u64,
    /// How often overdue invoices are looked for, in milliseconds. Default 60000.
    pub dunning_interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            call_timeout_ms: 30_000,
            provider_timeout_ms: 20_000,
            mirror_interval_ms: 30_000,
            provider: ProviderKind::Ledger,
            whmcs: None,
            whmcs_at: BTreeMap::new(),
            payment_hook_secret_file: None,
            reconcile_interval_ms: 3_600_000,
            payment_terms: PaymentTerms::Invoiced,
            seller: String::new(),
            invoice_due_days: 14,
            reminder_after_days: Vec::new(),
            read_only_after_days: None,
            suspend_after_days: None,
            end_after_days: None,
            close_after_minutes: 90,
            close_interval_ms: 60_000,
            dunning_interval_ms: 60_000,
        }
    }
}

/// Most reminders of one invoice.
const REMINDERS_MAX: usize = 10;
/// Longest time after an invoice was due, in days.
const OVERDUE_DAYS_MAX: u32 = 3660;

impl Config {
    /// Every fault of the settings, each a sentence that names its setting.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, value) in [
            ("call_timeout_ms", self.call_timeout_ms),
            ("provider_timeout_ms", self.provider_timeout_ms),
            ("mirror_interval_ms", self.mirror_interval_ms),
            ("dunning_interval_ms", self.dunning_interval_ms),
            ("close_interval_ms", self.close_interval_ms),
        ] {
            if !(1..=600_000).contains(&value) {
                faults.push(format!("billing.{name} must be from 1 to 600000, it is {value}"));
            }
        }
        if !(1..=86_400_000).contains(&self.reconcile_interval_ms) {
            let value = self.reconcile_interval_ms;
            faults.push(format!(
                "billing.reconcile_interval_ms must be from 1 to 86400000, it is {value}"
            ));
        }
        if self.invoice_due_days > 366 {
            let days = self.invoice_due_days;
            faults.push(format!("billing.invoice_due_days must be from 0 to 366, it is {days}"));
        }
        if self.close_after_minutes > 10_080 {
            let minutes = self.close_after_minutes;
            faults.push(format!(
                "billing.close_after_minutes must be from 0 to 10080, it is {minutes}"
            ));
        }
        if self.seller.chars().count() > 1000 {
            faults.push("billing.seller must have at most 1000 characters".to_owned());
        }
        self.check_installations(&mut faults);
        self.check_dunning(&mut faults);
        if self.provider_timeout_ms > self.call_timeout_ms {
            faults.push(
                "billing.provider_timeout_ms must not exceed billing.call_timeout_ms".to_owned(),
            );
        }
        faults
    }

    /// What the provider itself looks at, when it is opened, is not looked at here.
    fn check_installations(&self, faults: &mut Vec<String>) {
        if (self.provider == ProviderKind::Whmcs) != self.whmcs.is_some() {
            let fault = "billing.whmcs must be set if, and only if, billing.provider is \"whmcs\"";
            faults.push(fault.to_owned());
        }
        if self.whmcs.is_none() && !self.whmcs_at.is_empty() {
            let fault =
                "billing.whmcs_at names more installations than billing.whmcs: set that too";
            faults.push(fault.to_owned());
        }
        if self.whmcs.as_ref().is_some_and(|first| first.number != 0) {
            faults.push("billing.whmcs.number must be 0: it is the first".to_owned());
        }
        for (name, other) in &self.whmcs_at {
            if other.number == 0 || other.locations.is_empty() {
                faults.push(format!(
                    "billing.whmcs_at.{name} must have a number above 0 and at least one location"
                ));
            }
        }
    }

    fn check_dunning(&self, faults: &mut Vec<String>) {
        let reminders = &self.reminder_after_days;
        if reminders.len() > REMINDERS_MAX {
            let count = reminders.len();
            faults.push(format!(
                "billing.reminder_after_days must have at most {REMINDERS_MAX} entries, it has \
                 {count}"
            ));
        }
        if !reminders.is_sorted_by(|earlier, later| earlier < later) {
            faults.push("billing.reminder_after_days must ascend".to_owned());
        }
        let last = reminders.iter().max().copied();
        // The latest so far.
        let mut before: Option<(&str, u32)> = None;
        for (name, days) in [
            ("reminder_after_days", last),
            ("read_only_after_days", self.read_only_after_days),
            ("suspend_after_days", self.suspend_after_days),
            ("end_after_days", self.end_after_days),
        ] {
            let Some(days) = days else { continue };
            if days > OVERDUE_DAYS_MAX {
                faults.push(format!(
                    "billing.{name} must be from 0 to {OVERDUE_DAYS_MAX}, it is {days}"
                ));
            }
            match before {
                Some((earlier, least)) if days < least => faults.push(format!(
                    "billing.{name} must not be before billing.{earlier}: {days} and {least}"
                )),
                _ => before = Some((name, days)),
            }
        }
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }

    pub(crate) fn provider_timeout(&self) -> Duration {
        Duration::from_millis(self.provider_timeout_ms)
    }

    /// How customers of the ledger pay for whom nothing else is set.
    #[must_use]
    pub fn payment_terms(&self) -> stowage_provider::PaymentTerms {
        match self.payment_terms {
            PaymentTerms::Invoiced => stowage_provider::PaymentTerms::Invoiced,
            PaymentTerms::Prepaid => stowage_provider::PaymentTerms::Prepaid,
        }
    }

    /// From the issue of an invoice of the ledger to the day it is due.
    #[must_use]
    pub fn invoice_due_after(&self) -> time::Duration {
        time::Duration::days(self.invoice_due_days.into())
    }

    pub(crate) fn close_after(&self) -> time::Duration {
        time::Duration::minutes(self.close_after_minutes.into())
    }

    pub(crate) fn close_interval(&self) -> Duration {
        Duration::from_millis(self.close_interval_ms)
    }

    /// What an unpaid invoice comes to, in the order of time.
    pub(crate) fn dunning_steps(&self) -> Vec<Step> {
        let reminders = (1..).zip(&self.reminder_after_days);
        let reminders = reminders.map(|(number, days)| (Reached::reminder(number), Some(*days)));
        let stages = [
            (Reached::stage(Stage::ReadOnly), self.read_only_after_days),
            (Reached::stage(Stage::Suspended), self.suspend_after_days),
            (Reached::stage(Stage::Ended), self.end_after_days),
        ];
        let step = |(reached, days): (Reached, Option<u32>)| {
            Some(Step { reached, after: time::Duration::days(days?.into()) })
        };
        reminders.chain(stages).filter_map(step).collect()
    }

    pub(crate) fn dunning_interval(&self) -> Duration {
        Duration::from_millis(self.dunning_interval_ms)
    }

    pub(crate) fn reconcile_interval(&self) -> Duration {
        Duration::from_millis(self.reconcile_interval_ms)
    }

    pub(crate) fn mirror_interval(&self) -> Duration {
        Duration::from_millis(self.mirror_interval_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> Whmcs {
        Whmcs {
            url: "https://billing.example.org".to_owned(),
            identifier: "stowage".to_owned(),
            secret_file: "secret".into(),
            access_key_file: None,
            ca: None,
            payment_method: "banktransfer".to_owned(),
            products: BTreeMap::new(),
            overrides_price: true,
            module_terminate: false,
            mirror_ends: false,
            calls_per_second: 20,
            number: 0,
            locations: Vec::new(),
            hook_secret_file: None,
        }
    }

    #[test]
    fn the_defaults_are_good_and_every_fault_is_told() {
        assert_eq!(Config::default().check(), Vec::<String>::new());
        let bad = Config {
            call_timeout_ms: 0,
            provider_timeout_ms: 7,
            mirror_interval_ms: 0,
            provider: ProviderKind::Whmcs,
            whmcs: None,
            whmcs_at: BTreeMap::from([("nl".to_owned(), nowhere())]),
            payment_hook_secret_file: None,
            reconcile_interval_ms: 0,
            payment_terms: PaymentTerms::Prepaid,
            seller: "x".repeat(1001),
            invoice_due_days: 367,
            reminder_after_days: (0..12).rev().collect(),
            read_only_after_days: Some(10),
            suspend_after_days: Some(3661),
            end_after_days: Some(3660),
            close_after_minutes: 10_081,
            close_interval_ms: 0,
            dunning_interval_ms: 0,
        };
        assert_eq!(bad.check().len(), 17, "{:?}", bad.check());
    }

    #[test]
    fn a_stage_does_not_come_before_an_earlier_one_and_may_be_left_out() {
        let with = |reminders: &[u32], [read_only, suspend, end]: [Option<u32>; 3]| Config {
            reminder_after_days: reminders.to_vec(),
            read_only_after_days: read_only,
            suspend_after_days: suspend,
            end_after_days: end,
            ..Config::default()
        };
        for (config, faults) in [
            (with(&[], [Some(0), Some(0), Some(0)]), 0),
            (with(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [Some(10), Some(20), Some(30)]), 0),
            (with(&[3], [None, None, Some(3)]), 0),
            (with(&[3, 3], [None; 3]), 1),
            (with(&[9], [Some(8), None, None]), 1),
            (with(&[9], [None, None, Some(8)]), 1),
            (with(&[], [Some(9), None, Some(8)]), 1),
            // Each is compared with the latest before it.
            (with(&[], [Some(9), Some(7), Some(8)]), 2),
            (with(&[3661], [None; 3]), 1),
        ] {
            assert_eq!(config.check().len(), faults, "{config:?} {:?}", config.check());
        }
    }
}
