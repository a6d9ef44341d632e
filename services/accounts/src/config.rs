//! Settings of the role.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use serde::Deserialize;

use crate::webhooks;

/// A receiver of events.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where events are sent: `https://`, or `http://` on this machine.
    pub url: String,
    /// File with the secret that they are signed with; refused if others may read it.
    pub secret_file: PathBuf,
    /// Types of the events that it gets, without `stowage.` and `.v1`, such as
    /// `billing.invoice.overdue`. Default: all that there are.
    #[serde(default)]
    pub events: Vec<String>,
    /// Certificates of the authority that has signed its own, in PEM. Default: those that the
    /// system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

impl Webhook {
    /// What it gets.
    pub(crate) fn events(&self) -> Vec<String> {
        match self.events.is_empty() {
            true => webhooks::short_names().map(str::to_owned).collect(),
            false => self.events.clone(),
        }
    }

    fn check(&self, name: &str, faults: &mut Vec<String>) {
        let mut fault = |text: String| faults.push(format!("webhooks.{name}{text}"));
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=NAME_CHARS_MAX).contains(&name.len()) || !name.chars().all(good) {
            fault(": a name has 1 to 32 of a-z, 0-9 and hyphen".to_owned());
        }
        if !self.url.parse().is_ok_and(|uri| is_safe(&uri)) {
            let url = &self.url;
            fault(format!(".url must be https://, or http:// on this machine, it is {url:?}"));
        }
        let known: Vec<&str> = webhooks::short_names().collect();
        for event in self.events.iter().filter(|event| !known.contains(&event.as_str())) {
            fault(format!(".events: {event:?} is none of {}", known.join(", ")));
        }
    }
}

/// Whether what is sent there cannot be read on the way.
fn is_safe(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => !host.is_empty(),
        Some(scheme) => *scheme == Scheme::HTTP && is_here,
        None => false,
    }
}

/// Settings of accounts. Every duration in whole seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest time a call may take, whatever deadline the client sent. Default 35.
    pub call_timeout_seconds: u64,
    /// How long the caller of an order or a deletion waits; it goes on after that. Default 30.
    pub order_wait_seconds: u64,
    /// How long a token lives when the login does not say. Default 10,800: 3 h.
    pub token_seconds: u32,
    /// How long the data of an account whose subscription has ended is kept, in days. Default 14;
    /// 0: it is deleted at once.
    pub retention_days: u32,
    /// How long an account that is unpaid to the last goes on before it ends, unless it is paid, in
    /// days. Default 14; 0: it ends at once.
    pub unpaid_end_grace_days: u32,
    /// How long an access key works beside the one that replaces it, when the caller does not say,
    /// in hours. Default 48.
    pub key_overlap_hours: u32,
    /// Time between two comparisons of accounts with engines and billing, in minutes. Default 60;
    /// 0: none but those that are asked for.
    pub reconcile_minutes: u32,
    /// Time between two comparisons of engines, metering and bills, in hours. Default 6; 0: none
    /// but those that are asked for.
    pub drift_hours: u32,
    /// From when on a difference between them is a drift, in millionths of the larger figure of an
    /// hour or of the whole window. Default 1: all figures are whole numbers that are counted once.
    pub drift_ppm: u32,
    /// Differences that are none, however small the figures are, in bytes. Default 0.
    pub drift_floor_bytes: u64,
    /// The same in requests. Default 0.
    pub drift_floor_requests: u64,
    /// How long ago an hour must have ended to be compared, in minutes: what is on its way is no
    /// drift. Default 15.
    pub drift_settle_minutes: u32,
    /// Times of these comparisons; not set from files.
    #[serde(skip)]
    pub drift: DriftTimes,
    /// Receivers of events, by name: 1 to 32 of a-z, 0-9 and hyphen. Default: none.
    pub webhooks: BTreeMap<String, Webhook>,
    /// Whether open sagas and running requests are taken over whoever holds them. Right where one
    /// process has the database to itself, so that another holder is dead. Default true.
    pub takes_over: bool,
    /// Bounds of the sagas; not set from files.
    #[serde(skip)]
    pub sagas: stowage_saga::Settings,
}

/// Times within comparisons of engines, metering and bills.
#[derive(Debug, Clone, Copy)]
pub struct DriftTimes {
    /// When a process first compares, at the latest.
    pub first: Duration,
    /// Between two comparisons, where `drift_hours` is too long; nothing if that is 0.
    pub every_max: Duration,
    /// How long what was just collected has to arrive at metering.
    pub arrival: Duration,
}

impl Default for DriftTimes {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(300),
            every_max: Duration::MAX,
            arrival: Duration::from_secs(2),
        }
    }
}

/// Longest name of a webhook, in characters.
const NAME_CHARS_MAX: usize = 32;

impl Default for Config {
    fn default() -> Self {
        Self {
            call_timeout_seconds: 35,
            order_wait_seconds: 30,
            token_seconds: 3 * 3600,
            retention_days: 14,
            unpaid_end_grace_days: 14,
            key_overlap_hours: 48,
            reconcile_minutes: 60,
            drift_hours: 6,
            drift_ppm: 1,
            drift_floor_bytes: 0,
            drift_floor_requests: 0,
            drift_settle_minutes: 15,
            drift: DriftTimes::default(),
            webhooks: BTreeMap::new(),
            takes_over: true,
            sagas: stowage_saga::Settings::default(),
        }
    }
}

impl Config {
    /// All faults, each as a sentence that names the setting.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !(1..=600).contains(&self.order_wait_seconds) {
            faults.push("order_wait_seconds must be 1 to 600".to_owned());
        }
        if !(1..=900).contains(&self.call_timeout_seconds) {
            faults.push("call_timeout_seconds must be 1 to 900".to_owned());
        }
        if self.call_timeout_seconds < self.order_wait_seconds {
            faults.push("call_timeout_seconds must not be below order_wait_seconds".to_owned());
        }
        if !(60..=2_592_000).contains(&self.token_seconds) {
            faults.push("token_seconds must be 60 to 2592000".to_owned());
        }
        if self.retention_days > 3_650 {
            faults.push("retention_days must be 0 to 3650".to_owned());
        }
        if self.unpaid_end_grace_days > 3_650 {
            faults.push("unpaid_end_grace_days must be 0 to 3650".to_owned());
        }
        if self.key_overlap_hours > 720 {
            faults.push("key_overlap_hours must be 0 to 720".to_owned());
        }
        if self.reconcile_minutes > 10_080 {
            faults.push("reconcile_minutes must be 0 to 10080".to_owned());
        }
        if self.drift_hours > 168 {
            faults.push("drift_hours must be 0 to 168".to_owned());
        }
        if self.drift_ppm > 1_000_000 {
            faults.push("drift_ppm must be 0 to 1000000".to_owned());
        }
        if !(1..=1_440).contains(&self.drift_settle_minutes) {
            faults.push("drift_settle_minutes must be 1 to 1440".to_owned());
        }
        for (name, webhook) in &self.webhooks {
            webhook.check(name, &mut faults);
        }
        faults
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_secs(self.call_timeout_seconds)
    }

    pub(crate) fn retention_seconds(&self) -> i64 {
        i64::from(self.retention_days) * 86_400
    }

    pub(crate) fn unpaid_end_grace(&self) -> time::Duration {
        time::Duration::days(self.unpaid_end_grace_days.into())
    }

    pub(crate) fn drift_settle(&self) -> time::Duration {
        time::Duration::minutes(self.drift_settle_minutes.into())
    }

    pub(crate) fn key_overlap(&self) -> Duration {
        Duration::from_secs(u64::from(self.key_overlap_hours) * 3600)
    }

    pub(crate) fn order_wait(&self) -> Duration {
        Duration::from_secs(self.order_wait_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_every_fault_is_told() {
        assert!(Config::default().check().is_empty());
        let bad = Config {
            order_wait_seconds: 0,
            call_timeout_seconds: 0,
            token_seconds: 1,
            retention_days: 10_000,
            unpaid_end_grace_days: 10_000,
            key_overlap_hours: 1_000,
            reconcile_minutes: 20_000,
            drift_hours: 1_000,
            drift_ppm: 2_000_000,
            drift_settle_minutes: 0,
            ..Config::default()
        };
        assert_eq!(bad.check().len(), 10);
    }

    #[test]
    fn webhooks_are_sent_where_nobody_reads_them_on_the_way() {
        for (url, is_good) in [
            ("https://example.org/events", true),
            ("https://example.org:8443/a?b=c", true),
            ("http://127.0.0.1:8000/", true),
            ("http://[::1]:8000/", true),
            ("http://localhost/", true),
            ("http://example.org/", false),
            ("http://10.0.0.1/", false),
            ("ftp://localhost/", false),
            ("example.org", false),
            ("/events", false),
            ("", false),
        ] {
            assert_eq!(url.parse().is_ok_and(|uri| is_safe(&uri)), is_good, "{url:?}");
        }
        let webhook = |events: &[&str]| Webhook {
            url: "https://example.org/".to_owned(),
            secret_file: PathBuf::from("secret"),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            ca: None,
        };
        let of = |name: &str, events: &[&str]| Config {
            webhooks: BTreeMap::from([(name.to_owned(), webhook(events))]),
            ..Config::default()
        };
        assert!(of("mailer", &["billing.invoice.overdue"]).check().is_empty());
        let faults = of("Mailer", &["billing.invoice.lost"]).check();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[1].contains("billing.invoice.settled"), "{faults:?}");
        let all = of("mailer", &[]).webhooks.remove("mailer").map(|webhook| webhook.events());
        assert_eq!(all.map(|events| events.len()), Some(webhooks::KINDS.len()));
    }
}
