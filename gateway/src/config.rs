//! Settings of the gateway.

use std::time::Duration;

use serde::Deserialize;

use crate::ForwardedHeader;
use crate::limits::{LoginRules, Rate};
use crate::peer::{Network, Trust};

/// Highest rate and burst that can be set.
const CALLS_MAX: u32 = 1_000_000;

/// Settings of the gateway. The address it listens on is not among them: the listener is handed in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest request body of the facade, in bytes. Default 1 MiB.
    pub body_bytes_max: usize,
    /// Origins that browsers may call from: `https://console.example`. Default none: CORS is off.
    pub cors_origins: Vec<String>,
    /// Whether a token in the query string is refused. Default `false`: clients in the field send
    /// it there.
    pub refuse_tokens_in_urls: bool,
    /// Addresses and networks (`10.0.0.2`, `10.0.0.0/8`) of proxies whose word on the caller's
    /// address is taken. Default none.
    pub trusted_proxies: Vec<String>,
    /// The header in which they say it: `x-forwarded-for` or `forwarded`. Default
    /// `x-forwarded-for`.
    pub forwarded_header: ForwardedHeader,
    /// Whether `get_buckets_rmq` leaves `secret_key` out. Default `false`.
    pub hide_secret_in_rmq: bool,
    /// How long a resolved token is remembered, in milliseconds. Default 5,000; 0: not at all.
    pub token_cache_ms: u64,
    /// How many tokens are remembered at most. Default 10,000.
    pub token_cache_max: usize,
    /// Longest time a call of the facade may take, in milliseconds. Default 30,000.
    pub call_ms_max: u64,
    /// Longest time a connection may be idle, or take to send the head of a request, in
    /// milliseconds. Default 60,000.
    pub header_read_ms_max: u64,
    /// Most connections at once; further ones wait to be accepted. Default 4,096.
    pub connections_max: usize,
    /// Longest time that calls in flight get when the gateway stops, in milliseconds. Default
    /// 10,000.
    pub stop_ms_max: u64,
    /// Calls a second with one token. Default 500; 0: no limit.
    pub token_calls_per_second: u32,
    /// Calls at once with one token, after a rest. Default 5,000.
    pub token_calls_burst: u32,
    /// Calls a second from one address, or IPv6 network of 64 bits. Default 1,000; 0: no limit.
    pub address_calls_per_second: u32,
    /// Calls at once from one address, after a rest. Default 10,000.
    pub address_calls_burst: u32,
    /// How many tokens, addresses and API keys are counted at most, each. Default 65,536.
    pub limited_max: usize,
    /// Most calls at once; further ones are refused. Default 1,024.
    pub calls_in_flight_max: usize,
    /// Most of them from one address. Default 512; 0: no limit of its own.
    pub address_calls_in_flight_max: usize,
    /// Failed logins with one API key before the first wait. Default 5; 0: no limit.
    pub login_failures_max: u32,
    /// Failed logins from one address before the first wait. Default 20; 0: no limit.
    pub login_address_failures_max: u32,
    /// Time without a failed login after which earlier ones are forgotten, in milliseconds.
    /// Default 300,000.
    pub login_window_ms: u64,
    /// Longest wait after a failed login, in milliseconds. Default 60,000.
    pub login_wait_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes_max: 1024 * 1024,
            cors_origins: Vec::new(),
            refuse_tokens_in_urls: false,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            hide_secret_in_rmq: false,
            token_cache_ms: 5_000,
            token_cache_max: 10_000,
            call_ms_max: 30_000,
            header_read_ms_max: 60_000,
            connections_max: 4_096,
            stop_ms_max: 10_000,
            token_calls_per_second: 500,
            token_calls_burst: 5_000,
            address_calls_per_second: 1_000,
            address_calls_burst: 10_000,
            limited_max: 65_536,
            calls_in_flight_max: 1_024,
            address_calls_in_flight_max: 512,
            login_failures_max: 5,
            login_address_failures_max: 20,
            login_window_ms: 300_000,
            login_wait_ms_max: 60_000,
        }
    }
}

impl Config {
    /// Names every fault at once; empty if there is none.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut at_least_one = |name: &str, good: bool| {
            if !good {
                faults.push(format!("gateway.{name} must be at least 1"));
            }
        };
        at_least_one("body_bytes_max", self.body_bytes_max > 0);
        at_least_one("call_ms_max", self.call_ms_max > 0);
        at_least_one("header_read_ms_max", self.header_read_ms_max > 0);
        at_least_one("connections_max", self.connections_max > 0);
        if self.token_cache_ms > 30_000 {
            // An assertion lives for a minute; half of that is left for the call it is sent with.
            faults.push("gateway.token_cache_ms must be at most 30000".to_owned());
        }
        for origin in &self.cors_origins {
            let good = origin.split_once("://").is_some_and(|(scheme, host)| {
                matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains('/')
            });
            if !good {
                faults.push(format!("gateway.cors_origins: {origin:?} is not an origin"));
            }
        }
        for proxy in &self.trusted_proxies {
            if let Err(why) = Network::parse(proxy) {
                faults.push(format!("gateway.trusted_proxies: {proxy:?} {why}"));
            }
        }
        self.check_limits(&mut faults);
        faults
    }

    fn check_limits(&self, faults: &mut Vec<String>) {
        for (what, per_second, burst) in [
            ("token", self.token_calls_per_second, self.token_calls_burst),
            ("address", self.address_calls_per_second, self.address_calls_burst),
        ] {
            if per_second > CALLS_MAX {
                let name = format!("{what}_calls_per_second");
                faults.push(format!("gateway.{name} must be 0 (no limit) to {CALLS_MAX}"));
            }
            if per_second > 0 && !(1..=CALLS_MAX).contains(&burst) {
                faults.push(format!("gateway.{what}_calls_burst must be 1 to {CALLS_MAX}"));
            }
        }
        let mut within = |name: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                faults.push(format!("gateway.{name} must be {least} to {most}"));
            }
        };
        within("limited_max", self.limited_max as u64, 100, 10_000_000);
        within("calls_in_flight_max", self.calls_in_flight_max as u64, 1, 1_000_000);
        if self.login_failures_max > 0 || self.login_address_failures_max > 0 {
            within("login_window_ms", self.login_window_ms, 1_000, 86_400_000);
            // Nobody is to be kept out for long by what somebody else does.
            within("login_wait_ms_max", self.login_wait_ms_max, 1_000, 3_600_000);
        }
    }

    /// Whose word on a client's address is taken. What is no network is nobody.
    pub(crate) fn trust(&self) -> Trust {
        let proxies = self.trusted_proxies.iter().filter_map(|text| Network::parse(text).ok());
        Trust { proxies: proxies.collect(), header: self.forwarded_header }
    }

    pub(crate) fn token_rate(&self) -> Rate {
        Rate { calls_per_second: self.token_calls_per_second, burst: self.token_calls_burst }
    }

    pub(crate) fn address_rate(&self) -> Rate {
        Rate { calls_per_second: self.address_calls_per_second, burst: self.address_calls_burst }
    }

    pub(crate) fn login_rules(&self) -> LoginRules {
        LoginRules {
            failures_max: self.login_failures_max,
            address_failures_max: self.login_address_failures_max,
            window: Duration::from_millis(self.login_window_ms),
            wait_max: Duration::from_millis(self.login_wait_ms_max),
        }
    }

    pub(crate) fn call_time(&self) -> Duration {
        Duration::from_millis(self.call_ms_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_fault() {
        assert_eq!(Config::default().check(), Vec::<String>::new());
    }

    #[test]
    fn every_fault_is_named() {
        let config = Config {
            body_bytes_max: 0,
            connections_max: 0,
            token_cache_ms: 60_000,
            cors_origins: vec!["console.example".into(), "https://good.example".into()],
            ..Config::default()
        };
        assert_eq!(config.check().len(), 4, "{:?}", config.check());
    }

    #[test]
    fn limits_and_proxies_that_make_no_sense_are_faults() {
        let config = Config {
            trusted_proxies: ["10.0.0.0/8", "proxy.example", "0.0.0.0/0", "10.0.0.1/8", "::1"]
                .map(str::to_owned)
                .to_vec(),
            token_calls_per_second: 10,
            token_calls_burst: 0,
            address_calls_per_second: 2_000_000,
            limited_max: 0,
            calls_in_flight_max: 0,
            login_window_ms: 0,
            login_wait_ms_max: 86_400_000,
            ..Config::default()
        };
        let expected = [
            "gateway.trusted_proxies: \"proxy.example\" is not an address or network such as \
             10.0.0.0/8",
            "gateway.trusted_proxies: \"0.0.0.0/0\" trusts everybody, so that anyone could send \
             any address; list the proxies themselves",
            "gateway.trusted_proxies: \"10.0.0.1/8\" has bits of an address behind its prefix of 8",
            "gateway.token_calls_burst must be 1 to 1000000",
            "gateway.address_calls_per_second must be 0 (no limit) to 1000000",
            "gateway.limited_max must be 100 to 10000000",
            "gateway.calls_in_flight_max must be 1 to 1000000",
            "gateway.login_window_ms must be 1000 to 86400000",
            "gateway.login_wait_ms_max must be 1000 to 3600000",
        ];
        assert_eq!(config.check(), expected);
        let off = Config {
            token_calls_per_second: 0,
            token_calls_burst: 0,
            address_calls_per_second: 0,
            address_calls_burst: 0,
            login_failures_max: 0,
            login_address_failures_max: 0,
            login_window_ms: 0,
            login_wait_ms_max: 0,
            ..Config::default()
        };
        assert_eq!(off.check(), Vec::<String>::new());
    }
}
