//! Traffic: bytes of bodies as they move, and requests, by hour, account and bucket.
//!
//! Bytes are noted when the body is polled, so a transfer that breaks off counts as far as it
//! went. What comes in before a request is let in waits in its [`Meter`]; the request itself is
//! counted when it is answered, or its client has gone. Who pays is known once the signature has
//! been checked. A request that nobody signed is charged to nobody.
//!
//! A request that is refused (403 and the like) is charged to nobody either: it is counted apart,
//! as refused, for the account that made it or, where it meant another account's bucket, for that
//! bucket. What it brought is charged only if it was let in, and refused behind that.
//!
//! Counts are gathered in memory and written into the index every quarter of a second and at
//! shutdown. A process that is killed loses at most what was counted since.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use stowage_types::{Clock, S3uid, hour_of};
use time::OffsetDateTime;

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
    /// Not among those above.
    pub(crate) refused_requests: u64,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.read_requests += other.read_requests;
        self.write_requests += other.write_requests;
        self.refused_requests += other.refused_requests;
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
        let hour = hour_of(self.clock.now());
        let (uid, bucket) = account.clone();
        let payer = Payer { hour, uid, bucket };
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
    /// Whose bucket it meant that is not the caller's.
    meant: OnceLock<Account>,
    /// The access key that signed it.
    signer: OnceLock<String>,
    /// Bytes that came in and are not counted yet.
    received: AtomicU64,
    /// Whether it may do what it asks for.
    is_let_in: AtomicBool,
    /// Whether its client went away while it sent.
    is_broken: AtomicBool,
    /// Whether it was refused, once it is answered.
    refused: OnceLock<bool>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Received,
    Sent,
}

impl Meter {
    pub(crate) fn new(traffic: Arc<Traffic>, is_read: bool) -> Self {
        Self {
            traffic,
            is_read,
            account: OnceLock::new(),
            meant: OnceLock::new(),
            signer: OnceLock::new(),
            received: AtomicU64::new(0),
            is_let_in: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            refused: OnceLock::new(),
        }
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
        let _ = self.account.set((uid.clone(), own_bucket.map(paid)));
    }

    /// Says that the request is let in: what it brings is charged as it comes, whatever becomes of
    /// it.
    pub(crate) fn let_in(&self) {
        self.is_let_in.store(true, Ordering::Relaxed);
        self.count_received();
    }

    /// Says whose bucket the request means, which is not its caller's.
    pub(crate) fn means(&self, bucket: &BucketRef) {
        let _ = self.meant.set((bucket.uid.clone(), Some(paid(bucket))));
    }

    /// Says how the request is answered, before the answer goes out.
    pub(crate) fn answered(&self, status: StatusCode) {
        // Who breaks off is told that his body is bad; he was not refused.
        let is_broken = self.is_broken.load(Ordering::Relaxed);
        let is_refused = is_refusal(status) && !is_broken;
        if self.refused.set(is_refused).is_err() {
            return;
        }
        if !is_refused {
            return self.count_request();
        }
        if let Some(account) = self.meant.get().or_else(|| self.account.get()) {
            self.traffic.add(account, Totals { refused_requests: 1, ..Totals::default() });
        }
    }

    /// Counts the request and what came in with it.
    fn count_request(&self) {
        let requests = u64::from(self.is_read);
        self.count_received();
        self.count(Totals {
            read_requests: requests,
            write_requests: 1 - requests,
            ..Totals::default()
        });
    }

    fn count_received(&self) {
        let received_bytes = self.received.swap(0, Ordering::Relaxed);
        if received_bytes > 0 {
            self.count(Totals { received_bytes, ..Totals::default() });
        }
    }

    fn count(&self, totals: Totals) {
        if let Some(account) = self.account.get() {
            self.traffic.add(account, totals);
        }
    }

    fn moved(&self, direction: Direction, bytes: u64) {
        match (direction, self.refused.get()) {
            (_, Some(true)) => {}
            (Direction::Received, _) => {
                self.received.fetch_add(bytes, Ordering::Relaxed);
                if self.is_let_in.load(Ordering::Relaxed) {
                    self.count_received();
                }
            }
            (Direction::Sent, _) => {
                self.count(Totals { sent_bytes: bytes, ..Totals::default() });
            }
        }
    }
}

/// Whether a request that is answered so was refused. That something is not there, or not as it was
/// asked for, is an answer; a metering front, which sees answers only, draws the same line.
fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 404 | 409 | 412 | 416)
}

impl Drop for Meter {
    /// Whoever has gone before the answer has moved what he has moved.
    fn drop(&mut self) {
        if self.refused.get().is_none() {
            self.count_request();
        }
    }
}

fn paid(bucket: &BucketRef) -> PaidBucket {
    PaidBucket { id: bucket.id, name: bucket.name.clone() }
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
        if let (Some(Err(_)), Direction::Received) = (&frame, self.direction) {
            self.meter.is_broken.store(true, Ordering::Relaxed);
        }
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
