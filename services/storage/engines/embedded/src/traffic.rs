//! Traffic: bytes of bodies as they move, and requests, by hour, account and bucket.
//!
//! Bytes are counted when the body is polled, so a transfer that breaks off counts as far as it
//! went. Who pays is known once the signature has been checked; what moved before that waits in
//! the request's [`Meter`]. A request that nobody signed is charged to nobody, and one to another
//! account's bucket to the account that made it, never to the bucket's owner.
//!
//! Counts are gathered in memory and written into the index every quarter of a second and at
//! shutdown. A process that is killed loses at most what was counted since.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use stowage_types::{Clock, S3uid};
use time::{OffsetDateTime, Time};

use crate::error::Error;
use crate::index::{BucketRef, Index};

/// Who pays, and for which hour.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Payer {
    pub(crate) hour: OffsetDateTime,
    pub(crate) uid: S3uid,
    /// The account's own bucket, if the request names one.
    pub(crate) bucket: Option<PaidBucket>,
}

/// The bucket that traffic belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PaidBucket {
    pub(crate) id: i64,
    pub(crate) name: String,
}

/// What moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) read_requests: u64,
    pub(crate) write_requests: u64,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.read_requests += other.read_requests;
        self.write_requests += other.write_requests;
    }
}

/// All that was counted and is not in the index yet.
#[derive(Debug)]
pub(crate) struct Traffic {
    clock: Arc<dyn Clock>,
    counted: Mutex<HashMap<Payer, Totals>>,
    /// One flush at a time: a failed one puts its counts back.
    flushing: tokio::sync::Mutex<()>,
}

impl Traffic {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, counted: Mutex::default(), flushing: tokio::sync::Mutex::default() }
    }

    fn add(&self, account: &Account, totals: Totals) {
        let hour = self.clock.now();
        let start = Time::from_hms(hour.hour(), 0, 0).unwrap_or(Time::MIDNIGHT);
        let (uid, bucket) = account.clone();
        let payer = Payer { hour: hour.replace_time(start), uid, bucket };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.entry(payer).or_default().add(totals);
    }

    /// Writes what was counted into the index.
    pub(crate) async fn flush(&self, index: &Index) -> Result<(), Error> {
        let _guard = self.flushing.lock().await;
        let counted =
            std::mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner));
        let moved: Vec<_> = counted.into_iter().collect();
        let flushed = index.add_traffic(&moved).await;
        if flushed.is_err() {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            for (payer, totals) in moved {
                counted.entry(payer).or_default().add(totals);
            }
        }
        flushed
    }
}

type Account = (S3uid, Option<PaidBucket>);

/// Counts one request.
#[derive(Debug)]
pub(crate) struct Meter {
    traffic: Arc<Traffic>,
    /// Whether the request reads.
    is_read: bool,
    account: OnceLock<Account>,
    /// The access key that signed it.
    signer: OnceLock<String>,
    early_received: AtomicU64,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Received,
    Sent,
}

impl Meter {
    pub(crate) fn new(traffic: Arc<Traffic>, is_read: bool) -> Self {
        let (account, signer) = (OnceLock::new(), OnceLock::new());
        Self { traffic, is_read, account, signer, early_received: AtomicU64::new(0) }
    }

    /// Says which access key signed the request. Only the first call counts.
    pub(crate) fn signed_by(&self, access_key: &str) {
        let _ = self.signer.set(access_key.to_owned());
    }

    /// The access key that signed the request, once that is known.
    pub(crate) fn signer(&self) -> &OnceLock<String> {
        &self.signer
    }

    /// Says who pays. Only the first call counts.
    pub(crate) fn charge(&self, uid: &S3uid, own_bucket: Option<&BucketRef>) {
        let bucket =
            own_bucket.map(|bucket| PaidBucket { id: bucket.id, name: bucket.name.clone() });
        if self.account.set((uid.clone(), bucket)).is_ok() {
            let requests = u64::from(self.is_read);
            let totals = Totals {
                received_bytes: self.early_received.swap(0, Ordering::Relaxed),
                sent_bytes: 0,
                read_requests: requests,
                write_requests: 1 - requests,
            };
            self.count(totals);
        }
    }

    fn count(&self, totals: Totals) {
        if let Some(account) = self.account.get() {
            self.traffic.add(account, totals);
        }
    }

    fn moved(&self, direction: Direction, bytes: u64) {
        match direction {
            Direction::Received if self.account.get().is_none() => {
                self.early_received.fetch_add(bytes, Ordering::Relaxed);
            }
            Direction::Received => {
                self.count(Totals { received_bytes: bytes, ..Totals::default() });
            }
            Direction::Sent => self.count(Totals { sent_bytes: bytes, ..Totals::default() }),
        }
    }
}

/// A body whose bytes are counted as they pass.
#[derive(Debug)]
pub(crate) struct Counted<B> {
    body: Pin<Box<B>>,
    meter: Arc<Meter>,
    direction: Direction,
}

impl<B> Counted<B> {
    pub(crate) fn new(body: B, meter: Arc<Meter>, direction: Direction) -> Self {
        Self { body: Box::pin(body), meter, direction }
    }
}

impl<B: Body<Data = Bytes>> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && !data.is_empty()
        {
            self.meter.moved(self.direction, data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
