//! The variables of OpenTelemetry, which have the same names in every program. The headers and the
//! resource the SDK reads by itself, and the sampler, whose values are looked at here.
//!
//! A wrong value is no reason not to serve: the specification says to tell of it and to go on as if
//! it were not set. Where that would send data elsewhere or in the clear nothing is sent.
//!
//! Source: OpenTelemetry, "Environment Variable Specification" and "OpenTelemetry Protocol
//! Exporter".

use std::time::Duration;

use stowage_runtime::telemetry::{Collector, Identity, Otlp, Pace};
use stowage_types::{SystemClock, SystemRandom, new_id};

use super::Environment;

/// What the names of a signal's variables have in the middle.
#[derive(Debug, Clone, Copy)]
enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }
}

/// What cannot be done as it was set, for the log.
type Ignored = Vec<String>;

/// Samplers that take a share of the traces, and those that take none.
const BY_RATIO: [&str; 2] = ["traceidratio", "parentbased_traceidratio"];
const SAMPLERS: [&str; 4] =
    ["always_on", "always_off", "parentbased_always_on", "parentbased_always_off"];

impl Environment {
    /// What goes to a collector of OpenTelemetry, from a process of that name; with what was set
    /// and is not done, for the log.
    #[must_use]
    pub fn otlp(&self, service_name: String) -> (Otlp, Vec<String>) {
        let mut ignored = Ignored::new();
        let traces = self.collector(Signal::Traces, &mut ignored);
        let metrics = self.collector(Signal::Metrics, &mut ignored);
        if traces.is_some() {
            self.check_sampler(&mut ignored);
        }
        let mut number = |name, default| self.number(name, default, &mut ignored);
        let pace = Pace {
            queue_max: number("OTEL_BSP_MAX_QUEUE_SIZE", 2048),
            batch_max: number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
            traces_every: millis(number("OTEL_BSP_SCHEDULE_DELAY", 5000)),
            metrics_every: millis(number("OTEL_METRIC_EXPORT_INTERVAL", 60_000)),
        };
        let is_of_use = traces.is_some() || metrics.is_some();
        let otlp = Otlp {
            service_name,
            service_version: env!("CARGO_PKG_VERSION"),
            service_instance: new_id(&SystemClock, &SystemRandom).to_string(),
            traces,
            metrics,
            pace,
        };
        // Of numbers that nothing goes by there is nothing to say.
        let has_end = |why: &String| is_of_use || !why.contains(NUMBER);
        ignored.retain(has_end);
        (otlp, ignored)
    }

    fn collector(&self, signal: Signal, ignored: &mut Ignored) -> Option<Collector> {
        let is_disabled = self.get("OTEL_SDK_DISABLED").is_some_and(is_true);
        let (_, endpoint) = self.of_signal(signal, "ENDPOINT")?;
        let exporter = format!("OTEL_{}_EXPORTER", signal.name());
        let by = self.get(&exporter).map_or("otlp", str::trim);
        if is_disabled || by == "none" {
            return None;
        }
        if by != "otlp" {
            ignored.push(format!("{exporter}: {by:?} is not otlp; nothing is exported"));
            return None;
        }
        let only = [("PROTOCOL", "grpc"), ("COMPRESSION", "none")];
        for (what, done) in only {
            let set = self.of_signal(signal, what).filter(|(_, set)| set.trim() != done);
            if let Some((name, set)) = set {
                ignored.push(format!("{name}: {set:?} is not {done}; nothing is exported by it"));
                return None;
            }
        }
        match self.files(signal) {
            Ok((ca, identity)) => {
                let endpoint = self.with_scheme(signal, endpoint.trim());
                let timeout = self.timeout(signal, ignored);
                Some(Collector { endpoint, ca, identity, timeout })
            }
            Err(why) => {
                ignored.push(why);
                None
            }
        }
    }

    /// The authority and the identity, by their files.
    fn files(&self, signal: Signal) -> Result<(Option<Vec<u8>>, Option<Identity>), String> {
        let read = |what| {
            let Some((name, path)) = self.of_signal(signal, what) else { return Ok(None) };
            let told = |error| format!("{name}: {error}; nothing is exported");
            std::fs::read(path.trim()).map(Some).map_err(told)
        };
        let ca = read("CERTIFICATE")?;
        let identity = match (read("CLIENT_CERTIFICATE")?, read("CLIENT_KEY")?) {
            (Some(cert), Some(key)) => Some(Identity::new(cert, key)),
            (None, None) => None,
            _ => {
                let name = signal.name();
                return Err(format!(
                    "a client certificate of OTEL_EXPORTER_OTLP or …_{name} lacks its key, or a \
                     key its certificate; nothing is exported"
                ));
            }
        };
        Ok((ca, identity))
    }

    /// An address without a scheme is one of TLS unless it is said to be insecure.
    fn with_scheme(&self, signal: Signal, endpoint: &str) -> String {
        if endpoint.contains("://") {
            return endpoint.to_owned();
        }
        let is_insecure = self.of_signal(signal, "INSECURE").is_some_and(|(_, set)| is_true(set));
        let scheme = if is_insecure { "http" } else { "https" };
        format!("{scheme}://{endpoint}")
    }

    fn timeout(&self, signal: Signal, ignored: &mut Ignored) -> Duration {
        let name = self.of_signal(signal, "TIMEOUT").map_or_else(String::new, |(name, _)| name);
        millis(self.number(&name, 10_000, ignored))
    }

    /// A number above 0, or the default.
    fn number(&self, name: &str, default: usize, ignored: &mut Ignored) -> usize {
        let Some(set) = self.get(name) else { return default };
        let number = set.trim().parse().ok().filter(|number| *number > 0);
        number.unwrap_or_else(|| {
            let why = format!("{name}: {set:?} {NUMBER}; it is {default}");
            // Both signals may go by one variable.
            if !ignored.contains(&why) {
                ignored.push(why);
            }
            default
        })
    }

    fn check_sampler(&self, ignored: &mut Ignored) {
        let Some(sampler) = self.get("OTEL_TRACES_SAMPLER") else { return };
        if SAMPLERS.contains(&sampler) {
            return;
        }
        if !BY_RATIO.contains(&sampler) {
            let all = "it is parentbased_always_on";
            ignored.push(format!("OTEL_TRACES_SAMPLER: {sampler:?} is none of ours; {all}"));
            return;
        }
        let share = self.get("OTEL_TRACES_SAMPLER_ARG").unwrap_or_default();
        if !share.parse().is_ok_and(|share: f64| (0.0..=1.0).contains(&share)) {
            let all = "is no share from 0 to 1; it is 1";
            ignored.push(format!("OTEL_TRACES_SAMPLER_ARG: {share:?} {all}"));
        }
    }

    /// The variable of a signal that is set, or else that of all signals, and its value.
    fn of_signal(&self, signal: Signal, what: &str) -> Option<(String, &str)> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name());
        let of_all = format!("OTEL_EXPORTER_OTLP_{what}");
        [own, of_all].into_iter().find_map(|name| {
            let value = self.get(&name)?;
            Some((name, value))
        })
    }
}

const NUMBER: &str = "is no number above 0";

/// The specification: anything but `true` counts as false.
fn is_true(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("true")
}

fn millis(count: usize) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otlp(variables: &[(&str, &str)]) -> (Otlp, Vec<String>) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        variables.iter().map(own).collect::<Environment>().otlp("stowage".to_owned())
    }

    fn ends(variables: &[(&str, &str)]) -> [Option<String>; 2] {
        let (Otlp { traces, metrics, .. }, _) = otlp(variables);
        [traces, metrics].map(|collector| collector.map(|collector| collector.endpoint))
    }

    const BOTH: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317");

    #[test]
    fn nothing_is_exported_that_nobody_asked_for() {
        assert_eq!(ends(&[]), [None, None]);
        assert_eq!(ends(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), [None, None]);
        assert_eq!(ends(&[BOTH, ("OTEL_SDK_DISABLED", "True")]), [None, None]);
        let only_metrics = ends(&[BOTH, ("OTEL_TRACES_EXPORTER", "none")]);
        assert_eq!(only_metrics, [None, Some("http://a:4317".to_owned())]);
    }

    #[test]
    fn a_signal_may_have_an_end_of_its_own() {
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:4317");
        let [a, b] = ["http://a:4317", "http://b:4317"].map(|url| Some(url.to_owned()));
        assert_eq!(ends(&[BOTH, own]), [b.clone(), a]);
        assert_eq!(ends(&[own]), [b, None]);
    }

    #[test]
    fn what_is_not_done_is_said() {
        let (found, ignored) = otlp(&[BOTH, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]);
        assert!(found.traces.is_none() && found.metrics.is_none());
        assert!(ignored[0].contains("is not grpc"), "{ignored:?}");
        let (_, ignored) = otlp(&[BOTH, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere")]);
        assert_eq!(ignored.len(), 2, "{ignored:?}");
        let (found, ignored) = otlp(&[BOTH, ("OTEL_BSP_MAX_QUEUE_SIZE", "16")]);
        assert_eq!((found.pace.queue_max, ignored.len()), (16, 0));
    }

    #[test]
    fn a_wrong_value_is_said_and_as_if_not_set() {
        for (variable, value, said) in [
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "it is 2048"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1", "it is 5000"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "soon", "it is 60000"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "it is 10000"),
            ("OTEL_TRACES_SAMPLER", "most", "none of ours"),
        ] {
            let (found, ignored) = otlp(&[BOTH, (variable, value)]);
            assert!(found.traces.is_some() && found.metrics.is_some(), "{variable}");
            assert_eq!(ignored.len(), 1, "{variable}: {ignored:?}");
            assert!(ignored[0].starts_with(variable) && ignored[0].contains(said), "{ignored:?}");
            assert_eq!(otlp(&[(variable, value)]).1, [""; 0], "nothing is exported");
        }
        let share = |text| {
            let sampler = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
            otlp(&[BOTH, sampler, ("OTEL_TRACES_SAMPLER_ARG", text)]).1.len()
        };
        assert_eq!(["0.05", "1", "", "2", "NaN"].map(share), [0, 0, 1, 1, 1]);
    }

    #[test]
    fn what_would_go_elsewhere_or_in_the_clear_is_not_sent() {
        let end = |more: &[(&str, &str)]| ends(&[more, &[BARE]].concat())[0].clone();
        const BARE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "a:4317");
        assert_eq!(end(&[]).as_deref(), Some("https://a:4317"));
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
        assert_eq!(end(&[insecure]).as_deref(), Some("http://a:4317"));
        let but_traces = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false");
        assert_eq!(end(&[insecure, but_traces]).as_deref(), Some("https://a:4317"));
        for variable in ["CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            let half = (&*format!("OTEL_EXPORTER_OTLP_{variable}"), "/dev/null");
            assert_eq!(end(&[half]), None, "{variable} alone");
        }
        assert_eq!(end(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]), None);
    }
}
