//! All that was counted and is not written yet.
//!
//! A request is counted by its key, without asking anybody. [`Counts::settle`] finds out whose the
//! keys are; what the engine does not say is held until it does. What is settled is handed out as
//! batches: one at a time, the same one until it is written, so that a writer who does not know
//! whether he has written a batch writes it again under the same number.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use stowage_engine::Engine;
use stowage_types::{Clock, Random, S3uid, hour_of, new_id};
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::owners::{Owners, Payer};

/// Keys with their buckets that are held at once; beyond that no bucket is told apart,
/// and at twice as many what moved is lost.
const HELD_MAX: usize = 100_000;
/// Rows of a batch.
const BATCH_ROWS: usize = 500;
/// Keys that are asked about at once.
const ASKED_AT_ONCE: usize = 8;

/// How often whoever waits for all to be written looks whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Bytes that nobody is charged for since too much was held, by location.
const LOST_BYTES: &str = "stowage_storage_front_lost_bytes";
/// Bytes of requests that an engine took though it knows no account of ours by their key.
const STRANGERS_BYTES: &str = "stowage_storage_front_strangers_bytes";
/// Keys with their buckets that wait for the engine to say whose they are, by location.
const HELD: &str = "stowage_storage_front_held_rows";

/// What moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes of request bodies.
    pub received_bytes: u64,
    /// Bytes of answer bodies.
    pub sent_bytes: u64,
    /// Requests that read: GET, HEAD.
    pub read_requests: u64,
    /// Requests that write: all others.
    pub write_requests: u64,
}

impl Moved {
    fn add(&mut self, other: Self) {
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.read_requests += other.read_requests;
        self.write_requests += other.write_requests;
    }

    fn bytes(self) -> u64 {
        self.received_bytes.saturating_add(self.sent_bytes)
    }
}

/// What moved in an hour, for an account and a bucket. An increment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Account that is charged.
    pub uid: S3uid,
    /// Name of its bucket; empty for requests that name none of its own.
    pub bucket: String,
    /// Start of the hour, UTC.
    pub hour: OffsetDateTime,
    /// What moved.
    pub moved: Moved,
}

/// Rows that are written together, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Names the counts of this process and location: whatever is written under it before a
    /// number is not written again.
    pub process: Uuid,
    /// From 1 up, without gaps.
    pub sequence: i64,
    /// In order of account, bucket and hour, each once.
    pub rows: Vec<Row>,
}

/// The key that a request names, and the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Signer {
    pub(crate) access_key: String,
    pub(crate) bucket: Option<String>,
}

type Settled = (S3uid, String, OffsetDateTime);

#[derive(Debug, Default)]
struct State {
    /// By hour, of which there are few.
    held: HashMap<Arc<Signer>, BTreeMap<OffsetDateTime, Moved>>,
    settled: BTreeMap<Settled, Moved>,
    writing: Option<Arc<Batch>>,
    sequence: i64,
}

/// The counts of one location's front in this process.
#[derive(Debug)]
pub struct Counts {
    location: Arc<str>,
    process: Uuid,
    clock: Arc<dyn Clock>,
    owners: Owners,
    state: Mutex<State>,
    /// Woken when somebody waits for all to be written.
    wanted: Notify,
    is_hurried: AtomicBool,
    /// Woken after each batch.
    written: Notify,
}

impl Counts {
    /// Nothing yet, of the location's `engine`.
    #[must_use]
    pub fn new(
        location: &str,
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
    ) -> Self {
        Self {
            location: location.into(),
            process: new_id(&*clock, random),
            clock,
            owners: Owners::new(engine),
            state: Mutex::default(),
            wanted: Notify::new(),
            is_hurried: AtomicBool::new(false),
            written: Notify::new(),
        }
    }

    /// Code of the location.
    #[must_use]
    pub fn location(&self) -> &Arc<str> {
        &self.location
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what moved in the present hour.
    pub(crate) fn add(&self, signer: &Arc<Signer>, moved: Moved) {
        let hour = hour_of(self.clock.now());
        let mut state = self.state();
        if let Some(hours) = state.held.get_mut(signer) {
            return hours.entry(hour).or_default().add(moved);
        }
        let mut signer = Arc::clone(signer);
        if state.held.len() >= HELD_MAX && signer.bucket.is_some() {
            signer = Arc::new(Signer { bucket: None, ..Signer::clone(&signer) });
        }
        if state.held.len() < 2 * HELD_MAX || state.held.contains_key(&signer) {
            state.held.entry(signer).or_default().entry(hour).or_default().add(moved);
        } else {
            let location = Arc::clone(&self.location);
            metrics::counter!(LOST_BYTES, "location" => location).increment(moved.bytes());
        }
    }

    /// Finds out whose what is held is, as far as the engine says.
    pub async fn settle(&self) {
        let signers: Vec<Arc<Signer>> = self.state().held.keys().cloned().collect();
        // Buckets of one key one after the other: they are in one list.
        let mut by_key: HashMap<String, Vec<Arc<Signer>>> = HashMap::new();
        for signer in signers {
            by_key.entry(signer.access_key.clone()).or_default().push(signer);
        }
        let is_away = AtomicBool::new(false);
        futures_util::stream::iter(by_key.into_values())
            .for_each_concurrent(ASKED_AT_ONCE, |signers| self.settle_key(signers, &is_away))
            .await;
        let held = self.state().held.len();
        let location = Arc::clone(&self.location);
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        metrics::gauge!(HELD, "location" => location).set(f64::from(held));
    }

    async fn settle_key(&self, signers: Vec<Arc<Signer>>, is_away: &AtomicBool) {
        let hurry = self.is_hurried.load(Ordering::Relaxed);
        for signer in signers {
            // An engine that does not answer one question is not asked the others now.
            if is_away.load(Ordering::Relaxed) {
                return;
            }
            let bucket = signer.bucket.as_deref();
            match self.owners.payer(&signer.access_key, bucket, hurry).await {
                Ok(Payer::NotYet) => {}
                Ok(payer) => self.move_to(&signer, &payer),
                Err(error) => {
                    let location = &*self.location;
                    tracing::warn!(%error, location, "it is not known who pays; counts wait");
                    is_away.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    fn move_to(&self, signer: &Arc<Signer>, payer: &Payer) {
        let mut state = self.state();
        for (hour, moved) in state.held.remove(signer).unwrap_or_default() {
            if let Payer::Account(uid, bucket) = payer {
                let place = (uid.clone(), bucket.clone(), hour);
                state.settled.entry(place).or_default().add(moved);
            } else {
                let location = Arc::clone(&self.location);
                metrics::counter!(STRANGERS_BYTES, "location" => location).increment(moved.bytes());
            }
        }
    }

    /// What is to be written next: the same until it is [`Self::written`].
    #[must_use]
    pub fn next(&self) -> Option<Arc<Batch>> {
        let mut state = self.state();
        if state.writing.is_none() && !state.settled.is_empty() {
            state.sequence += 1;
            let mut rows = Vec::new();
            while let Some(((uid, bucket, hour), moved)) =
                (rows.len() < BATCH_ROWS).then(|| state.settled.pop_first()).flatten()
            {
                rows.push(Row { uid, bucket, hour, moved });
            }
            let batch = Batch { process: self.process, sequence: state.sequence, rows };
            state.writing = Some(Arc::new(batch));
        }
        state.writing.clone()
    }

    /// A batch is written.
    pub fn written(&self, batch: &Batch) {
        let mut state = self.state();
        if state.writing.as_ref().is_some_and(|writing| writing.sequence == batch.sequence) {
            state.writing = None;
        }
        drop(state);
        self.written.notify_waiters();
    }

    /// Waits until it is time to write: after `every`, or when somebody waits for it.
    pub async fn due(&self, every: Duration) {
        let _: Result<(), _> = tokio::time::timeout(every, self.wanted.notified()).await;
    }

    /// Whether all that was counted is written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        let state = self.state();
        state.held.is_empty() && state.settled.is_empty() && state.writing.is_none()
    }

    /// Waits until all that was counted is written by whoever writes it; false: it is not, within
    /// `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.is_hurried.store(true, Ordering::Relaxed);
        let drained = async {
            while !self.is_written() {
                let written = self.written.notified();
                self.wanted.notify_one();
                // A round may settle counts without writing any, if nobody pays.
                let _: Result<(), _> = tokio::time::timeout(LOOK_EVERY, written).await;
            }
        };
        let is_drained = tokio::time::timeout(limit, drained).await.is_ok();
        self.is_hurried.store(false, Ordering::Relaxed);
        is_drained
    }
}
