//! Rankings of large installations are kept in memory: the roster of meters, figures by months and
//! by stretches of days, and boards made of them.
//!
//! What is asked for is read in the background when it is due, and answered as it is meanwhile;
//! when it is overdue the question waits. How soon a part is due follows from how long reading it
//! took, so that reading never is more than a small share of the work. One part is read at a time.
//! Parts are what the database says, never what this process believes: there may be several.
//!
//! What this process itself changes of a meter is read anew for each answer, until a roster that
//! was begun later is there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stowage_db::Db;
use stowage_types::{Clock, S3uid};
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;

use super::board::{Board, Figures};
use super::part::{Part, Rows, SOON, base_of, parts_of};
use super::roster::{Reading, Roster, key_of};
use super::{Meter, Period, Span};
use crate::error::Error;
use crate::store;

/// Reading takes one part in so many of the time, but nothing rests for longer than this.
const REST: i32 = 20;
const REST_MAX: Duration = Duration::minutes(5);
/// What is so many times as old as it should be is not answered any more.
const OVERDUE: i32 = 3;
/// How soon all meters are read, and not only those that changed.
const ALL_METERS: Duration = Duration::minutes(10);
/// How far clocks and commits of others may lag behind the time that a change has.
const LAG: Duration = Duration::minutes(5);
/// Rows that are read at a time. Each reading waits for its turn among those who ask: with fewer,
/// boards were overdue on SQLite.
const ROWS: i64 = 5_000;
/// Meters that are read at a time: each is a row to the driver.
const METERS: i64 = 1_000;
/// Changes of meters that are read anew for an answer; with more, the roster is read first.
const CHANGES_MAX: usize = 200;
/// How long a change is remembered; no board lives as long.
const CHANGES_KEPT: Duration = Duration::minutes(15);
/// How long pages come from one board.
const PAGES_FOR: Duration = Duration::minutes(1);
/// Who turns pages, at most; and on how many boards.
const READERS_MAX: usize = 64;
const READERS_BOARDS_MAX: usize = 2;

/// When something was read, and how long that took.
#[derive(Debug, Clone, Copy)]
struct Read {
    at: OffsetDateTime,
    took: Duration,
    /// How soon it would be read anew if it took no time.
    base: Duration,
}

impl Read {
    fn rest(self) -> Duration {
        self.base.max((self.took * REST).min(REST_MAX))
    }

    fn is_due_soon(self, now: OffsetDateTime) -> bool {
        // What is nearly due is read with what is due: each makes the boards anew.
        now - self.at >= self.rest() / 2
    }
}

/// Something kept.
#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    read: Read,
    /// Of the places.
    generation: u64,
    /// When it was last asked for, in questions.
    used: u64,
}

/// Who turns pages: a caller with his filters.
#[derive(Debug)]
struct Reader {
    name: u64,
    span: Span,
    board: Arc<Board>,
}

/// Told to those who wait for a board: why there is none.
type Outcome = Option<Result<Arc<Board>, Arc<Error>>>;

#[derive(Debug, Default)]
struct State {
    roster: Option<Kept<Roster>>,
    /// When all meters were read.
    all_read: Option<OffsetDateTime>,
    parts: HashMap<Part, Kept<Figures>>,
    boards: HashMap<Span, (Arc<Board>, u64)>,
    running: HashMap<Span, watch::Receiver<Outcome>>,
    readers: VecDeque<Reader>,
    /// Meters that this process changed: the number of the change, and when.
    changed: HashMap<u128, (u64, OffsetDateTime)>,
    changes: u64,
    questions: u64,
}

/// See above.
#[derive(Debug)]
pub(crate) struct Rankings {
    db: Db,
    clock: Arc<dyn Clock>,
    bytes_max: usize,
    state: Mutex<State>,
    /// One at a time reads the roster, one adds up months, and one days, which take longer.
    turns: [tokio::sync::Mutex<()>; 3],
}

impl Rankings {
    pub(crate) fn new(db: Db, clock: Arc<dyn Clock>, bytes_max: usize) -> Self {
        Self { db, clock, bytes_max, state: Mutex::default(), turns: Default::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many meters are open, if that was read not long ago.
    pub(crate) fn open_count(&self) -> Option<usize> {
        let now = self.clock.now();
        self.state().roster(now).map(|roster| roster.open_count)
    }

    /// Notes that this process has changed a meter.
    pub(crate) fn changed(&self, s3uid: &S3uid) {
        let now = self.clock.now();
        let mut state = self.state();
        state.changes += 1;
        let change = (state.changes, now);
        state.changed.retain(|_, (_, at)| now - *at < CHANGES_KEPT);
        state.changed.insert(key_of(s3uid.as_str()), change);
    }

    /// Meters that this process has changed since a board was made.
    pub(crate) fn changed_since(&self, board: &Board) -> HashSet<u128> {
        let state = self.state();
        let newer = state.changed.iter().filter(|(_, (n, _))| *n > board.roster.changes);
        newer.map(|(key, _)| *key).collect()
    }

    /// The parts of a period of days.
    pub(crate) async fn span(self: &Arc<Self>, days: Period) -> Result<Span, Error> {
        let now = self.clock.now();
        let known = self.state().roster(now).map(|roster| roster.known);
        let known = match known {
            Some(known) => known,
            None => store::month::known(&self.db).await?,
        };
        Ok(Span::cut(days, known, now))
    }

    /// The board of a period. `reader` turns its pages: behind the first one, they come from the
    /// board of the first where that is not too old.
    pub(crate) async fn board(
        self: &Arc<Self>,
        span: &Span,
        reader: u64,
        is_first: bool,
    ) -> Result<Arc<Board>, Error> {
        let now = self.clock.now();
        let begun = if is_first { None } else { self.state().board_of(reader, span, now) };
        if let Some(board) = begun.filter(|board| !self.has_changed_much(board)) {
            return Ok(board);
        }
        let found = self.state().look(span);
        let board = match found {
            Some(board) if now < board.due() => board,
            Some(board) if now < board.overdue() && !self.has_changed_much(&board) => {
                let _waits_for_nothing = self.start(span);
                board
            }
            _ => self.wait(span).await?,
        };
        self.state().turn_to(Reader { name: reader, span: span.clone(), board: board.clone() });
        Ok(board)
    }

    fn has_changed_much(&self, board: &Board) -> bool {
        self.changed_since(board).len() > CHANGES_MAX
    }

    async fn wait(self: &Arc<Self>, span: &Span) -> Result<Arc<Board>, Error> {
        let mut outcome = self.start(span);
        let outcome = outcome.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
        match outcome {
            Some(Ok(board)) => Ok(board),
            Some(Err(error)) => Err(again(&error)),
            None => Err(stowage_db::Error::Unavailable { why: "stopped", source: None }.into()),
        }
    }

    /// Has a board made, unless that is under way. It is made also if nobody waits any more.
    fn start(self: &Arc<Self>, span: &Span) -> watch::Receiver<Outcome> {
        let mut state = self.state();
        // One whose task has broken off tells nothing any more.
        if let Some(running) = state.running.get(span).filter(|of| of.has_changed().is_ok()) {
            return running.clone();
        }
        let (tell, outcome) = watch::channel(None);
        state.running.insert(span.clone(), outcome.clone());
        drop(state);
        let (rankings, span) = (Arc::clone(self), span.clone());
        tokio::spawn(async move {
            let made = rankings.make(&span).await;
            if let Err(error) = &made {
                tracing::warn!(?error, "a ranking could not be made");
            }
            rankings.state().running.remove(&span);
            tell.send_replace(Some(made.map_err(Arc::new)));
        });
        outcome
    }

    async fn make(&self, span: &Span) -> Result<Arc<Board>, Error> {
        let [_, months, days] = &self.turns;
        let turn = if span.days.is_empty() { months } else { days };
        let _turn = turn.lock().await;
        let now = self.clock.now();
        let known = self.state().boards.get(span).map(|(board, _)| Arc::clone(board));
        // Another may have made it since this one was asked for.
        if let Some(board) = known.filter(|of| now < of.due() && !self.has_changed_much(of)) {
            return Ok(board);
        }
        let (roster, read) = self.roster().await?;
        let mut reads = vec![read];
        let mut figures = Vec::new();
        for part in parts_of(span, now) {
            let (part, read) = self.part(part, &roster).await?;
            figures.push(part);
            reads.push(read);
        }
        let end = |times: i32| {
            let ends = reads.iter().map(|read| read.at + read.rest() * times);
            ends.min().unwrap_or(OffsetDateTime::UNIX_EPOCH)
        };
        let times = [self.clock.now(), end(1), end(OVERDUE)];
        let same = {
            let state = self.state();
            let same = state.boards.get(span).map(|(board, _)| Arc::clone(board));
            same.filter(|board| board.is_of(&roster, &figures))
        };
        if let Some(board) = same {
            board.stays_until(times);
            return Ok(board);
        }
        let made = tokio::task::spawn_blocking(move || Board::new(roster, &figures, times)).await;
        let broken = |why: tokio::task::JoinError| stowage_db::Error::Other { source: why.into() };
        let board = Arc::new(made.map_err(broken)?);
        let mut state = self.state();
        let used = state.questions;
        state.boards.insert(span.clone(), (Arc::clone(&board), used));
        state.forget(self.bytes_max, span, now);
        Ok(board)
    }

    /// The roster, read anew if it is due.
    async fn roster(&self) -> Result<(Arc<Roster>, Read), Error> {
        let [turn, ..] = &self.turns;
        let _turn = turn.lock().await;
        let at = self.clock.now();
        let (old, changes, all_read) = {
            let state = self.state();
            let old = state.roster.as_ref().map(|old| (Arc::clone(&old.value), old.read));
            (old, state.changes, state.all_read)
        };
        if let Some((old, read)) = &old
            && old.changes == changes
            && !read.is_due_soon(at)
        {
            return Ok((Arc::clone(old), *read));
        }
        let known = store::month::known(&self.db).await?;
        let is_recent = all_read.is_some_and(|all| at - all < ALL_METERS);
        let gone_on_with = old.as_ref().filter(|(old, _)| is_recent && !old.is_worn());
        let roster = match gone_on_with {
            Some((old, read)) => {
                let mut meters = Vec::new();
                self.meters(Some(read.at - LAG), |page| meters.extend(page)).await?;
                old.with(&meters, known, changes)
            }
            None => {
                let mut reading = Reading::of(old.as_ref().map(|(old, _)| old.clone()), changes);
                let mut add = |page: Vec<Meter>| {
                    page.iter().for_each(|meter| reading.add(&meter.dimensions));
                };
                self.meters(None, &mut add).await?;
                reading.done(known)
            }
        };
        let is_all = gone_on_with.is_none();
        let read = Read { at, took: self.clock.now() - at, base: SOON };
        let value = match old {
            Some((old, _)) if roster.is_same_as(&old) => old,
            _ => Arc::new(roster),
        };
        let (generation, mut state) = (value.generation, self.state());
        let kept = Kept { value: Arc::clone(&value), read, generation, used: state.questions };
        state.parts.retain(|_, part| part.generation == generation);
        state.roster = Some(kept);
        if is_all {
            state.all_read = Some(at);
        }
        Ok((value, read))
    }

    /// Reads the open meters, or all that have changed since a time, page by page.
    async fn meters(
        &self,
        since: Option<OffsetDateTime>,
        mut take: impl FnMut(Vec<Meter>),
    ) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let meters = store::ranking::meters(&self.db, since, &after, METERS).await?;
            let Some(last) = meters.last() else { return Ok(()) };
            after = last.dimensions.s3uid.as_str().to_owned();
            take(meters);
        }
    }

    /// A part, read anew if it is due. One that has not changed stays the one that it was.
    async fn part(&self, part: Part, roster: &Roster) -> Result<(Arc<Figures>, Read), Error> {
        let at = self.clock.now();
        let generation = roster.generation;
        let old = {
            let mut state = self.state();
            let used = state.questions;
            let kept = state.parts.get_mut(&part).filter(|kept| kept.generation == generation);
            kept.map(|kept| {
                kept.used = used;
                (Arc::clone(&kept.value), kept.read)
            })
        };
        if let Some((value, read)) = &old
            && !read.is_due_soon(at)
        {
            return Ok((Arc::clone(value), *read));
        }
        let new = self.read(&part, roster).await?;
        let value = match old {
            Some((old, _)) if *old == new => old,
            _ => Arc::new(new),
        };
        let read = Read { at, took: self.clock.now() - at, base: base_of(&part, at) };
        let mut state = self.state();
        let kept = Kept { value: Arc::clone(&value), read, generation, used: state.questions };
        state.parts.insert(part, kept);
        Ok((value, read))
    }

    async fn read(&self, part: &Part, roster: &Roster) -> Result<Figures, Error> {
        let mut figures = match part {
            Part::Left(_) => Figures::peaks_of(roster.place_count()),
            _ => Figures::none_of(roster.place_count()),
        };
        match part {
            Part::Months(months) => {
                for month in months {
                    self.read_from(Rows::Month(*month), roster, &mut figures).await?;
                }
            }
            Part::Days(days) => self.read_from(Rows::Days(*days), roster, &mut figures).await?,
            Part::Left(from) => self.read_from(Rows::Left(*from), roster, &mut figures).await?,
        }
        Ok(figures)
    }

    async fn read_from(
        &self,
        rows: Rows,
        roster: &Roster,
        figures: &mut Figures,
    ) -> Result<(), Error> {
        let mut place_of = roster.walk();
        let (db, mut after) = (&self.db, String::new());
        loop {
            let page = match rows {
                Rows::Month(month) => store::month::page(db, month, &after, ROWS).await?,
                Rows::Days(days) => store::ranking::days(db, days, &after, ROWS).await?,
                Rows::Left(from) => store::ranking::left(db, from, &after, ROWS).await?,
            };
            for (key, traffic, peak) in page.rows {
                if let Some(place) = place_of(key) {
                    figures.add(place, traffic, peak);
                }
            }
            let Some(last) = page.last else { return Ok(()) };
            after = last;
        }
    }
}

/// The same error for another who waited.
fn again(error: &Error) -> Error {
    use stowage_db::Error as Db;
    Error::Database(match error {
        Error::Database(Db::Full) => Db::Full,
        Error::Database(Db::Unavailable { why, .. }) => Db::Unavailable { why, source: None },
        other => Db::Other { source: other.to_string().into() },
    })
}

impl State {
    /// The roster, if it is not too old.
    fn roster(&self, now: OffsetDateTime) -> Option<&Roster> {
        let kept = self.roster.as_ref()?;
        (now - kept.read.at < kept.read.rest() * OVERDUE).then_some(&*kept.value)
    }

    fn look(&mut self, span: &Span) -> Option<Arc<Board>> {
        self.questions += 1;
        let (board, used) = self.boards.get_mut(span)?;
        *used = self.questions;
        Some(Arc::clone(board))
    }

    /// The board that this reader has begun with.
    fn board_of(&mut self, name: u64, span: &Span, now: OffsetDateTime) -> Option<Arc<Board>> {
        self.readers.retain(|reader| now - reader.board.made() < PAGES_FOR);
        let is_his = |reader: &&Reader| reader.name == name && reader.span == *span;
        self.readers.iter().find(is_his).map(|reader| Arc::clone(&reader.board))
    }

    fn turn_to(&mut self, new: Reader) {
        self.readers.retain(|reader| reader.name != new.name);
        self.readers.push_back(new);
        while self.readers.len() > READERS_MAX || self.boards_of_readers() > READERS_BOARDS_MAX {
            self.readers.pop_front();
        }
    }

    /// How many boards there are for those who turn pages only.
    fn boards_of_readers(&self) -> usize {
        let newest: HashSet<_> =
            self.boards.values().map(|(board, _)| Arc::as_ptr(board)).collect();
        let boards = self.readers.iter().map(|reader| Arc::as_ptr(&reader.board));
        boards.filter(|board| !newest.contains(board)).collect::<HashSet<_>>().len()
    }

    /// Forgets what was not asked for the longest, until the rest takes no more bytes than it may.
    /// What `span` is made of stays.
    fn forget(&mut self, bytes_max: usize, span: &Span, now: OffsetDateTime) {
        let own: HashSet<Part> = parts_of(span, now).collect();
        let roster = self.roster.as_ref().map_or(0, |roster| roster.value.bytes());
        loop {
            let parts = self.parts.values().map(|part| part.value.bytes()).sum::<usize>();
            let boards = self.boards.values().map(|(board, _)| board.bytes()).sum::<usize>();
            if roster + parts + boards <= bytes_max {
                return;
            }
            let others = self.boards.iter().filter(|(of, _)| *of != span);
            let oldest = others.min_by_key(|(_, (_, used))| *used);
            let board = oldest.map(|(of, (_, used))| (of.clone(), *used));
            let parts = self.parts.iter().filter(|(part, _)| !own.contains(part));
            let part =
                parts.min_by_key(|(_, kept)| kept.used).map(|(part, of)| (part.clone(), of.used));
            match (board, part) {
                (Some((of, used)), part)
                    if part.as_ref().is_none_or(|(_, other)| used <= *other) =>
                {
                    self.boards.remove(&of);
                }
                (_, Some((part, _))) => {
                    self.parts.remove(&part);
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
