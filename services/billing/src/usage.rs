//! Metering, as billing calls it.

use stowage_auth::RequestContext;
use stowage_proto::metering as pb;
use stowage_proto::metering::usage_service_client::UsageServiceClient;
use stowage_runtime::RoleChannel;
use stowage_types::{S3uid, from_timestamp, timestamp};
use time::OffsetDateTime;

use crate::error::Error;
use crate::rating::Snapshot;

/// Windows of one call; metering takes no more.
const WINDOWS_MAX: usize = 500;

/// Reads what was used.
#[derive(Debug, Clone)]
pub(crate) struct Usage(UsageServiceClient<RoleChannel>);

impl Usage {
    pub(crate) fn new(metering: RoleChannel) -> Self {
        Self(UsageServiceClient::new(metering))
    }

    /// What each account used in its window, in their order.
    ///
    /// # Errors
    /// `MeteringUnavailable`: metering is away, or does not say it in a way that is understood.
    pub(crate) async fn summarize(
        &self,
        windows: Vec<(S3uid, OffsetDateTime, OffsetDateTime)>,
    ) -> Result<Vec<Snapshot>, Error> {
        let mut snapshots = Vec::with_capacity(windows.len());
        for part in windows.chunks(WINDOWS_MAX) {
            let window =
                |(s3uid, from, to): &(S3uid, OffsetDateTime, OffsetDateTime)| pb::AccountWindow {
                    s3uid: s3uid.to_string(),
                    from_time: Some(timestamp(*from)),
                    to_time: Some(timestamp(*to)),
                };
            let request = pb::SummarizeUsageRequest { windows: part.iter().map(window).collect() };
            let cx = RequestContext::background(String::new());
            let answer = self.0.clone().summarize_usage(cx.outgoing(request)).await;
            let summaries = answer.map_err(away)?.into_inner().summaries;
            if summaries.len() != part.len() {
                return Err(away("metering has lost count of windows"));
            }
            for summary in summaries {
                snapshots.push(snapshot_of(summary)?);
            }
        }
        Ok(snapshots)
    }
}

fn snapshot_of(wire: pb::UsageSummary) -> Result<Snapshot, Error> {
    let figures =
        [wire.received_bytes, wire.sent_bytes, wire.stored_bytes_peak, wire.stored_bytes_last];
    if figures.iter().any(|bytes| *bytes < 0) {
        return Err(away("metering has counted less than nothing"));
    }
    Ok(Snapshot {
        received_bytes: wire.received_bytes,
        sent_bytes: wire.sent_bytes,
        stored_peak_bytes: wire.stored_bytes_peak,
        stored_last_bytes: wire.stored_bytes_last,
        stored_byte_seconds: wire.stored_byte_seconds.parse().map_err(away)?,
        as_of: wire.as_of_time.and_then(|time| from_timestamp(&time).ok()),
    })
}

fn away(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::MeteringUnavailable { source: source.into() }
}
