//! The variables of OpenTelemetry, which have the same names in every program. What is not here the
//! SDK reads by itself: headers, timeouts, the sampler, batches, the resource.

use stowage_runtime::telemetry::{Collector, Otlp};
use stowage_types::{SystemClock, SystemRandom, new_id};

use super::Environment;

/// What a signal goes by, and how it is switched off.
struct Signal {
    exporter: &'static str,
    endpoint: &'static str,
    protocol: &'static str,
    certificate: &'static str,
}

const TRACES: Signal = Signal {
    exporter: "OTEL_TRACES_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    certificate: "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
};
const METRICS: Signal = Signal {
    exporter: "OTEL_METRICS_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    certificate: "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
};

/// Most spans that wait to be sent, where nothing is said.
const QUEUE_MAX: usize = 2048;

impl Environment {
    /// What goes to a collector of OpenTelemetry, from a process of that name; with what was set
    /// and is not done, for the log.
    #[must_use]
    pub fn otlp(&self, service_name: String) -> (Otlp, Vec<String>) {
        let mut ignored = Vec::new();
        let queue_max = self.get("OTEL_BSP_MAX_QUEUE_SIZE").and_then(|max| max.trim().parse().ok());
        let otlp = Otlp {
            service_name,
            service_version: env!("CARGO_PKG_VERSION"),
            service_instance: new_id(&SystemClock, &SystemRandom).to_string(),
            traces: self.collector(&TRACES, &mut ignored),
            metrics: self.collector(&METRICS, &mut ignored),
            queue_max: queue_max.filter(|max| *max > 0).unwrap_or(QUEUE_MAX),
        };
        (otlp, ignored)
    }

    fn collector(&self, signal: &Signal, ignored: &mut Vec<String>) -> Option<Collector> {
        let is_disabled = self.get("OTEL_SDK_DISABLED").is_some_and(|text| {
            // The specification: anything else counts as false.
            text.trim().eq_ignore_ascii_case("true")
        });
        let endpoint = self.first([signal.endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT"])?.1;
        if is_disabled || self.get(signal.exporter).is_some_and(|by| by.trim() == "none") {
            return None;
        }
        if let Some(by) = self.get(signal.exporter).filter(|by| by.trim() != "otlp") {
            ignored.push(format!("{}: {by:?} is not otlp; nothing is exported", signal.exporter));
            return None;
        }
        if let Some((name, spoken)) = self.first([signal.protocol, "OTEL_EXPORTER_OTLP_PROTOCOL"])
            && spoken.trim() != "grpc"
        {
            ignored.push(format!("{name}: {spoken:?} is not grpc; nothing is exported by it"));
            return None;
        }
        let mut ca = None;
        if let Some((name, path)) =
            self.first([signal.certificate, "OTEL_EXPORTER_OTLP_CERTIFICATE"])
        {
            match std::fs::read(path) {
                Ok(pem) => ca = Some(pem),
                Err(error) => {
                    ignored.push(format!("{name}: {error}; nothing is exported"));
                    return None;
                }
            }
        }
        Some(Collector { endpoint: endpoint.trim().to_owned(), ca })
    }

    /// The first of two variables that is set, and its value.
    fn first(&self, names: [&'static str; 2]) -> Option<(&'static str, &str)> {
        names.into_iter().find_map(|name| Some((name, self.get(name)?)))
    }
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
        assert_eq!((found.queue_max, ignored.len()), (16, 0));
    }
}
