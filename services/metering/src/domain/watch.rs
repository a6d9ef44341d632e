//! Figures that are told each time they have changed.
//!
//! Rejected: waking watchers when a fact is taken. Another replica may take it, and then a watcher
//! would be the last to know.

use std::time::Duration;

use futures_util::Stream;
use stowage_auth::RequestContext;
use stowage_types::S3uid;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{AccountFigures, Metering};
use crate::error::Error;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long somebody watches: then it is looked anew whether he still may.
const WATCH_MAX: Duration = Duration::from_secs(600);

/// Whose figures are watched, and how.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) s3uid: S3uid,
    /// How often they are told; `None`: as often as they change.
    pub(crate) updates_max: Option<u32>,
    /// Ends with the role.
    pub(crate) stop: CancellationToken,
}

/// One who watches.
struct Watcher {
    metering: Metering,
    cx: RequestContext,
    watch: Watch,
    until: Instant,
    told: u32,
    last: Option<AccountFigures>,
    /// Gives his place to the next one.
    _place: OwnedSemaphorePermit,
}

impl Metering {
    /// Figures of an account with its traffic of this month: now, and each time they have changed.
    pub(crate) fn watch(
        &self,
        cx: RequestContext,
        watch: Watch,
    ) -> Result<impl Stream<Item = Result<AccountFigures, Error>> + use<>, Error> {
        let place = std::sync::Arc::clone(&self.watches).try_acquire_owned();
        let place = place.map_err(|_| Error::TooManyWatches)?;
        let until = Instant::now() + WATCH_MAX;
        let metering = self.clone();
        let watcher = Watcher { metering, cx, watch, until, told: 0, last: None, _place: place };
        Ok(futures_util::stream::unfold(Some(watcher), async |watcher| {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(figures) => figures.map(|figures| (Ok(figures), Some(watcher))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

impl Watcher {
    /// Waits for figures that differ from those told last; `None`: it is over.
    async fn next(&mut self) -> Result<Option<AccountFigures>, Error> {
        if self.watch.updates_max.is_some_and(|most| self.told >= most) {
            return Ok(None);
        }
        loop {
            if self.last.is_some() {
                let next = tokio::time::sleep(LOOK_EVERY);
                let stop = &self.watch.stop;
                if stop.run_until_cancelled(next).await.is_none() || Instant::now() > self.until {
                    return Ok(None);
                }
            }
            let figures =
                self.metering.account_figures(&self.cx, &self.watch.s3uid, (None, None)).await?;
            if self.last.as_ref() != Some(&figures) {
                self.last = Some(figures.clone());
                self.told += 1;
                return Ok(Some(figures));
            }
        }
    }
}
