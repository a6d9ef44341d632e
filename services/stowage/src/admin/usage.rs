//! `stowage admin usage ACCOUNT`: what an account used, in steps.

mod focus;

use clap::{Args, ValueEnum};
use serde::Serialize;
use stowage_proto::metering::usage_service_client::UsageServiceClient;
use stowage_proto::metering::{QueryUsageRequest, UsageStep, UsageWindow};
use stowage_types::timestamp;
use time::OffsetDateTime;

use super::client::Flags;
use super::output::{self, Row};
use super::{Error, Session, amount};

const FLAGS: Flags = &[
    ("s3uid", "ACCOUNT"),
    ("bucket", "--bucket"),
    ("from_time", "--from"),
    ("to_time", "--to"),
    ("step", "--step"),
];

/// Steps of one answer, at most.
const STEPS_MAX: usize = 1000;
const DAY_SECONDS: i64 = 86_400;

const CSV_COLUMNS: [&str; 17] = [
    "account",
    "bucket",
    "start",
    "stored_bytes_average",
    "stored_bytes_peak",
    "stored_bytes_p95",
    "stored_bytes_last",
    "stored_byte_seconds",
    "stored_byte_hours",
    "received_bytes",
    "sent_bytes",
    "read_requests",
    "write_requests",
    "refused_requests",
    "refused_bytes",
    "as_of",
    "source",
];

#[derive(Debug, Args)]
pub(super) struct Usage {
    /// The account, by its s3uid
    account: String,
    /// One bucket of it
    #[arg(long, default_value = "")]
    bucket: String,
    /// Since when, such as 2026-01-01 or 2026-01-01T10:00:00Z [default: the start of this month]
    #[arg(long, value_name = "TIME", value_parser = amount::time)]
    from: Option<OffsetDateTime>,
    /// Until when, not included [default: now]
    #[arg(long, value_name = "TIME", value_parser = amount::time)]
    to: Option<OffsetDateTime>,
    /// Length of a step
    #[arg(long, value_enum, default_value_t = Step::Day)]
    step: Step,
    /// Print it as CSV, all figures
    #[arg(long, conflicts_with = "output")]
    csv: bool,
    /// Print it as CSV in the columns of FOCUS 1.2, a row for each figure that is not 0
    #[arg(long, conflicts_with_all = ["output", "csv"])]
    focus: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    Hour,
    Day,
    Month,
}

impl Step {
    fn wire(self) -> UsageStep {
        match self {
            Self::Hour => UsageStep::Hour,
            Self::Day => UsageStep::Day,
            Self::Month => UsageStep::Month,
        }
    }

    /// Seconds from the start of a step to some moment of the next one.
    fn seconds(self) -> i64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => DAY_SECONDS,
            Self::Month => 32 * DAY_SECONDS,
        }
    }
}

/// Usage in a step.
#[derive(Serialize)]
struct StepRow {
    account: String,
    bucket: String,
    start: Option<String>,
    stored_bytes_average: i64,
    stored_bytes_peak: i64,
    stored_bytes_p95: i64,
    stored_bytes_last: i64,
    stored_byte_seconds: String,
    stored_byte_hours: String,
    received_bytes: i64,
    sent_bytes: i64,
    read_requests: i64,
    write_requests: i64,
    refused_requests: i64,
    refused_bytes: i64,
    as_of: Option<String>,
    source: String,
}

impl StepRow {
    fn of(usage: &Usage, window: UsageWindow, (as_of, source): (Option<String>, &str)) -> Self {
        Self {
            account: usage.account.clone(),
            bucket: usage.bucket.clone(),
            start: output::time(window.start_time),
            stored_bytes_average: window.stored_bytes_average,
            stored_bytes_peak: window.stored_bytes_peak,
            stored_bytes_p95: window.stored_bytes_p95,
            stored_bytes_last: window.stored_bytes_last,
            stored_byte_seconds: window.stored_byte_seconds,
            stored_byte_hours: window.stored_byte_hours,
            received_bytes: window.received_bytes,
            sent_bytes: window.sent_bytes,
            read_requests: window.read_requests,
            write_requests: window.write_requests,
            refused_requests: window.refused_requests,
            refused_bytes: window.refused_bytes,
            as_of,
            source: source.to_owned(),
        }
    }

    /// All of it, in the order of [`CSV_COLUMNS`].
    fn record(&self) -> [String; CSV_COLUMNS.len()] {
        [
            self.account.clone(),
            self.bucket.clone(),
            self.start.clone().unwrap_or_default(),
            self.stored_bytes_average.to_string(),
            self.stored_bytes_peak.to_string(),
            self.stored_bytes_p95.to_string(),
            self.stored_bytes_last.to_string(),
            self.stored_byte_seconds.clone(),
            self.stored_byte_hours.clone(),
            self.received_bytes.to_string(),
            self.sent_bytes.to_string(),
            self.read_requests.to_string(),
            self.write_requests.to_string(),
            self.refused_requests.to_string(),
            self.refused_bytes.to_string(),
            self.as_of.clone().unwrap_or_default(),
            self.source.clone(),
        ]
    }
}

impl Row for StepRow {
    const COLUMNS: &'static [&'static str] = &[
        "START", "AVERAGE", "PEAK", "P95", "LAST", "RECEIVED", "SENT", "READS", "WRITES", "REFUSED",
    ];

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.start.clone().unwrap_or_default()];
        cells.extend(
            [
                self.stored_bytes_average,
                self.stored_bytes_peak,
                self.stored_bytes_p95,
                self.stored_bytes_last,
                self.received_bytes,
                self.sent_bytes,
                self.read_requests,
                self.write_requests,
                self.refused_requests,
            ]
            .map(|figure| figure.to_string()),
        );
        cells
    }
}

pub(super) async fn run(usage: Usage, session: &Session) -> Result<(), Error> {
    let mut metering = UsageServiceClient::new(session.client.api());
    let about = match usage.focus {
        true => Some(focus::About::find(&usage.account, usage.step, session).await?),
        false => None,
    };
    let (mut rows, mut from, mut is_first) = (Vec::new(), usage.from, true);
    loop {
        let request = QueryUsageRequest {
            s3uid: usage.account.clone(),
            bucket: usage.bucket.clone(),
            from_time: from.map(timestamp),
            to_time: usage.to.map(timestamp),
            step: usage.step.wire().into(),
        };
        let answer = metering.query_usage(request).await;
        let answer = answer.map_err(|status| session.client.explain(&status, FLAGS))?.into_inner();
        let source = output::value(answer.source().as_str_name(), "USAGE_SOURCE_");
        let (as_of, count) = (output::time(answer.as_of_time), answer.windows.len());
        let last = answer.windows.last().and_then(|window| window.start_time);
        let starts: Vec<_> = answer.windows.iter().map(|window| window.start_time).collect();
        let read = answer.windows.into_iter();
        rows.extend(read.map(|window| StepRow::of(&usage, window, (as_of.clone(), &source))));
        let bytes = match &about {
            Some(about) => {
                let steps = rows.iter().zip(starts);
                let rows = steps.flat_map(|(step, start)| about.rows(step, start));
                Some(crate::admin::focus::csv_of(rows, is_first))
            }
            None => usage.csv.then(|| csv_of(&rows, is_first)),
        };
        if let Some(bytes) = bytes {
            output::raw(&bytes.map_err(|error| Error::Failed(error.to_string()))?)?;
            rows.clear();
            is_first = false;
        }
        let next = last.and_then(|start| stowage_types::from_timestamp(&start).ok());
        let next = next.map(|start| start + time::Duration::seconds(usage.step.seconds()));
        match next {
            // The last step of a full answer may have been the last one there is.
            Some(next) if count >= STEPS_MAX && usage.to.is_none_or(|to| next < to) => {
                from = Some(next);
            }
            _ => break,
        }
    }
    if usage.csv || usage.focus { Ok(()) } else { output::list(session.output, &rows) }
}

fn csv_of(rows: &[StepRow], with_head: bool) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if with_head {
        writer.write_record(CSV_COLUMNS)?;
    }
    for row in rows {
        writer.write_record(row.record())?;
    }
    writer.flush()?;
    writer.into_inner().map_err(|error| error.into_error().into())
}
