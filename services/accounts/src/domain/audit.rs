//! The audit: history as a chain of hashes for each customer, and its verification.
//!
//! # Invariants
//! - [`append`] is the one way into history. It takes the next place of the customer's chain in the
//!   transaction of what the entry tells, and the row of the chain's head is held until its end, so
//!   two entries cannot get one place. Numbers run 1, 2, 3 … without gaps.
//! - Every stored field of an entry is under its hash ([`hash_of`]), and so is the entry before.
//! - What belongs to no customer, such as a plan's change, is in the chain of customer 0.
//! - What cannot be written down is not done: the act is in the same transaction.
//!
//! # What it does not show
//! Who can write to the database and knows the encoding can write a chain anew from some entry to
//! its end, its head included. Heads that are kept elsewhere close that: a chain that was whole up
//! to a known sequence and hash can only grow.
//!
//! # Rejected
//! - One chain for all: a customer could not verify his own without reading those of others.
//! - A keyed hash: the key would lie beside the database, and customers could not verify.
//! - Beginning chains at the first entry after the upgrade: what was written before could be
//!   changed unseen for ever. It is chained once, at the first start ([`chain_what_was_before`]).

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use stowage_auth::{RequestContext, Scope};
use stowage_db::{Db, Error as DbError, Tx};
use stowage_types::CustomerId;
use time::OffsetDateTime;

use super::history::{Cause, Entry, Event, Recorded};
use super::{Domain, Page};
use crate::error::Error;
use crate::store;

/// Length of a hash.
pub(crate) const HASH_BYTES: usize = 32;
/// SHA-256.
pub(crate) type Hash = [u8; HASH_BYTES];

/// What entries are hashed as, today. Others are none of ours.
const ENCODING: i64 = 1;
/// Keeps these hashes apart from any other.
const PURPOSE: &str = "stowage audit";
/// Entries read at once while a chain is verified.
const READ_MAX: i64 = 500;
/// Entries of before that are chained in one transaction.
const BACKFILL_MAX: i64 = 500;

/// Where a chain ends, or a walk along it has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// 0: before the first entry.
    pub(crate) sequence: i64,
    pub(crate) hash: Hash,
}

/// An entry in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chained {
    pub(crate) recorded: Recorded,
    pub(crate) sequence: i64,
    pub(crate) encoding: i64,
    pub(crate) hash: Vec<u8>,
}

impl Chained {
    /// Puts an entry behind another.
    pub(crate) fn after(before: Link, recorded: Recorded) -> Self {
        let sequence = before.sequence.saturating_add(1);
        let mut chained = Self { recorded, sequence, encoding: ENCODING, hash: Vec::new() };
        chained.hash = hash_of(&before.hash, &chained).to_vec();
        chained
    }

    /// What the next entry is put behind.
    pub(crate) fn link(&self) -> Link {
        let hash = self.hash.as_slice().try_into().unwrap_or_default();
        Link { sequence: self.sequence, hash }
    }
}

/// The hash of an entry behind one with hash `before`: SHA-256 over all of its fields, texts with
/// their lengths, so that no two entries share a text. `audit_service.proto` documents it for those
/// who verify elsewhere: another order or form of fields is another [`ENCODING`].
fn hash_of(before: &Hash, chained: &Chained) -> Hash {
    let Recorded { id, create_time, entry } = &chained.recorded;
    let Entry { event, cause, customer_id, plan_id, s3uid, old_json, new_json, minor } = entry;
    let Cause { actor, acted_for, request_id } = cause;
    let mut sha = Sha256::new();
    let bytes = |sha: &mut Sha256, bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_be_bytes());
        sha.update(bytes);
    };
    bytes(&mut sha, PURPOSE.as_bytes());
    sha.update(chained.encoding.to_be_bytes());
    bytes(&mut sha, before);
    for number in [*customer_id, chained.sequence, *id] {
        sha.update(number.to_be_bytes());
    }
    sha.update(create_time.unix_timestamp().to_be_bytes());
    sha.update(i64::from(create_time.nanosecond()).to_be_bytes());
    bytes(&mut sha, event.as_bytes());
    bytes(&mut sha, actor.as_bytes());
    sha.update(acted_for.to_be_bytes());
    sha.update(plan_id.to_be_bytes());
    for text in [s3uid, request_id, old_json, new_json] {
        bytes(&mut sha, text.as_bytes());
    }
    sha.update(i64::from(*minor).to_be_bytes());
    sha.finalize().into()
}

/// Writes an entry at the end of its customer's chain, in the transaction of what it tells.
pub(crate) async fn append(tx: &mut Tx, entry: Entry, now: OffsetDateTime) -> Result<(), DbError> {
    let (id, before) = store::audit::take_place(tx, entry.customer_id).await?;
    store::audit::insert(tx, &Chained::after(before, Recorded { id, create_time: now, entry }));
    Ok(())
}

/// How a chain is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakKind {
    Changed,
    Missing,
    CutOff,
    HeadChanged,
    HeadMissing,
    Stray,
    Unreadable,
}

/// Where a chain is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Break {
    pub(crate) kind: BreakKind,
    /// 0: none.
    pub(crate) sequence: i64,
    /// 0: none.
    pub(crate) entry_id: i64,
    pub(crate) why: String,
}

impl Break {
    fn new(kind: BreakKind, (sequence, entry_id): (i64, i64), why: impl Into<String>) -> Self {
        Self { kind, sequence, entry_id, why: why.into() }
    }
}

/// How far a chain was found whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) last: Link,
}

impl Walk {
    /// Takes the next entry.
    pub(crate) fn step(&mut self, next: &Chained) -> Result<(), Break> {
        let (wanted, id) = (self.last.sequence + 1, next.recorded.id);
        if next.sequence != wanted {
            let why = format!("entry {wanted} is missing; after it comes {}", next.sequence);
            return Err(Break::new(BreakKind::Missing, (wanted, id), why));
        }
        if next.encoding != ENCODING || hash_of(&self.last.hash, next)[..] != next.hash[..] {
            let why = format!("entry {wanted} (id {id}) is not what was written, or not behind it");
            return Err(Break::new(BreakKind::Changed, (wanted, id), why));
        }
        self.last = next.link();
        Ok(())
    }
}

/// What a part of a verification came to.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) customer_id: i64,
    pub(crate) walk: Walk,
    pub(crate) broken: Option<Break>,
    /// Whether there is nothing left to verify.
    pub(crate) is_last: bool,
}

/// Which entries to list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing {
    /// `None`: all that the caller sees.
    pub(crate) customer_id: Option<i64>,
    /// Id of the last entry of the page before.
    pub(crate) after: Option<i64>,
    pub(crate) newest_first: bool,
    pub(crate) size: i64,
}

/// The chain that a caller may look at: his own, if he is or acts for a customer.
fn visible(cx: &RequestContext, wanted: Option<i64>) -> Result<Option<i64>, Error> {
    match cx.principal.scope() {
        Scope::Everything => Ok(wanted),
        // Nobody's scope is 0, which is not the chain of what is nobody's.
        Scope::Customer(CustomerId(own)) if own > 0 && wanted.is_none_or(|id| id == own) => {
            Ok(Some(own))
        }
        Scope::Customer(_) => Err(Error::CustomerNotFound),
    }
}

impl Domain {
    /// Entries by id.
    pub(crate) async fn list_audit(
        &self,
        cx: &RequestContext,
        mut listing: Listing,
    ) -> Result<Page<Chained>, Error> {
        listing.customer_id = visible(cx, listing.customer_id)?;
        let rows = store::audit::list(&self.shared.db, &listing).await?;
        Ok(Page::of(rows, listing.size))
    }

    /// Goes on verifying a chain from where a walk has come to, for about `max` entries.
    pub(crate) async fn verify_audit(
        &self,
        cx: &RequestContext,
        customer_id: Option<i64>,
        (mut walk, max): (Walk, i64),
    ) -> Result<Verified, Error> {
        let customer_id = visible(cx, customer_id)?
            .ok_or_else(|| Error::field("customer", "must say whose chain"))?;
        let db = &self.shared.db;
        if customer_id > 0 {
            let found = store::customer::find(db, CustomerId(customer_id)).await?;
            found.ok_or(Error::CustomerNotFound)?;
        }
        let outcome = verify_part(db, customer_id, &mut walk, max).await?;
        let is_last = outcome != Ok(false);
        Ok(Verified { customer_id, walk, broken: outcome.err(), is_last })
    }
}

/// Verifies a part of a chain; answers whether that was its end.
///
/// The head is read first: entries up to it are there, whoever appends meanwhile.
async fn verify_part(
    db: &Db,
    customer_id: i64,
    walk: &mut Walk,
    max: i64,
) -> Result<Result<bool, Break>, Error> {
    let Some(head) = store::audit::head(db, customer_id).await? else {
        let why = "the chain has no head: it was removed, with or without entries";
        return Ok(Err(Break::new(BreakKind::HeadMissing, (0, 0), why)));
    };
    let until = head.sequence.min(walk.last.sequence.saturating_add(max));
    while walk.last.sequence < until {
        let max = READ_MAX.min(until - walk.last.sequence);
        let span = (walk.last.sequence, head.sequence);
        let rows = match read_some(db, customer_id, span, max).await? {
            Ok(rows) => rows,
            Err(unreadable) => return Ok(Err(unreadable)),
        };
        if rows.is_empty() {
            let missing = walk.last.sequence + 1;
            let why = format!("entry {missing} is missing, and all up to {}", head.sequence);
            return Ok(Err(Break::new(BreakKind::CutOff, (missing, 0), why)));
        }
        for row in &rows {
            if let Err(broken) = walk.step(row) {
                return Ok(Err(broken));
            }
        }
    }
    if walk.last.sequence < head.sequence {
        return Ok(Ok(false));
    }
    if walk.last != head {
        let why = "the head of the chain is not its last entry";
        return Ok(Err(Break::new(BreakKind::HeadChanged, (head.sequence, 0), why)));
    }
    let Some((id, sequence)) = store::audit::find_stray(db, customer_id).await? else {
        return Ok(Ok(true));
    };
    let why = format!("entry with id {id} is not in the chain, or behind its head");
    Ok(Err(Break::new(BreakKind::Stray, (sequence, id), why)))
}

/// The next entries within a span. If one of them cannot be read those before it are.
async fn read_some(
    db: &Db,
    customer_id: i64,
    (after, until): (i64, i64),
    max: i64,
) -> Result<Result<Vec<Chained>, Break>, Error> {
    for max in [max, 1] {
        match store::audit::chain(db, customer_id, (after, until), max).await {
            // A field that holds another kind of value than its own.
            Err(DbError::Other { .. }) => {}
            other => return Ok(Ok(other?)),
        }
    }
    let why = format!("entry {} cannot be read", after + 1);
    Ok(Err(Break::new(BreakKind::Unreadable, (after + 1, 0), why)))
}

/// Chains the entries that were there before chains were, in the order of their ids. Runs before
/// anything can be written, in transactions of a bounded size, and goes on where it was cut off.
pub(crate) async fn chain_what_was_before(db: &Db) -> Result<(), DbError> {
    loop {
        let mut tx = db.begin().await?;
        let Some((done, last)) = store::audit::backfill_span(&mut tx).await? else { return Ok(()) };
        let rows = store::audit::unchained(&mut tx, (done, last), BACKFILL_MAX).await?;
        let Some(done) = rows.last().map(|row| row.id) else {
            store::audit::end_backfill(&mut tx);
            return tx.commit().await;
        };
        let mut heads = HashMap::new();
        for mut row in rows {
            let customer = row.entry.customer_id;
            let before = match heads.get(&customer) {
                Some(before) => *before,
                None => store::audit::head(&mut tx, customer).await?.unwrap_or_default(),
            };
            row.entry.cause = Cause::told(&row.entry.cause.actor, "");
            row.entry.minor = row.entry.event == Event::KeyRead.text();
            let chained = Chained::after(before, row);
            store::audit::put_in_place(&mut tx, &chained);
            heads.insert(customer, chained.link());
        }
        for (customer, head) in heads {
            store::audit::set_head(&mut tx, customer, head);
        }
        store::audit::note_backfill(&mut tx, done);
        tx.commit().await?;
        tracing::info!(done, last, "entries of history are being chained");
    }
}

#[cfg(test)]
mod tests;
