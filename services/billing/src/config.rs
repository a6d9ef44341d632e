//! Settings of the billing role.

use std::time::Duration;

use serde::Deserialize;

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
    /// How customers of the ledger pay for whom nothing else is set: `invoiced`, by the day an
    /// invoice is due, or `prepaid`, so that an order needs credit. Default `invoiced`.
    pub payment_terms: PaymentTerms,
    /// Who issues invoices, as the page of one shows it: name and address, several lines. Default:
    /// nothing; at most 1000 characters.
    pub seller: String,
    /// From the issue of an invoice of the ledger to the day it is due, in days. Default 14; at
    /// most 366.
    pub invoice_due_days: u32,
    /// How many days after an invoice was due its account is suspended, until it is paid. Absent:
    /// never, which is the default; at most 3660.
    pub suspend_after_days: Option<u32>,
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
            payment_terms: PaymentTerms::Invoiced,
            seller: String::new(),
            invoice_due_days: 14,
            suspend_after_days: None,
            close_after_minutes: 90,
            close_interval_ms: 60_000,
            dunning_interval_ms: 60_000,
        }
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
            ("dunning_interval_ms", self.dunning_interval_ms),
            ("close_interval_ms", self.close_interval_ms),
        ] {
            if !(1..=600_000).contains(&value) {
                faults.push(format!("billing.{name} must be from 1 to 600000, it is {value}"));
            }
        }
        for (name, days, max) in [
            ("invoice_due_days", self.invoice_due_days, 366),
            ("suspend_after_days", self.suspend_after_days.unwrap_or(0), 3660),
        ] {
            if days > max {
                faults.push(format!("billing.{name} must be from 0 to {max}, it is {days}"));
            }
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

    pub(crate) fn suspend_after(&self) -> Option<time::Duration> {
        self.suspend_after_days.map(|days| time::Duration::days(days.into()))
    }

    pub(crate) fn dunning_interval(&self) -> Duration {
        Duration::from_millis(self.dunning_interval_ms)
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
        let bad = Config {
            call_timeout_ms: 0,
            provider_timeout_ms: 7,
            mirror_interval_ms: 0,
            payment_terms: PaymentTerms::Prepaid,
            seller: "x".repeat(1001),
            invoice_due_days: 367,
            suspend_after_days: Some(3661),
            close_after_minutes: 10_081,
            close_interval_ms: 0,
            dunning_interval_ms: 0,
        };
        assert_eq!(bad.check().len(), 9, "{:?}", bad.check());
    }
}
