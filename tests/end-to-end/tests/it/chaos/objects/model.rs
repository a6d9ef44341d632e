//! What may be in the bucket: kept by the clients as they ask and are answered.
//!
//! Every content is unlike every other, so that what is found tells which write it is from. A write
//! has the moments when it was sent and when its end was known. A value may stand if no write that
//! was acknowledged began after the value's own had ended. What was refused is no value at all.

use std::collections::{BTreeMap, BTreeSet};

/// A piece of a content: its bytes follow from the number, which no other piece has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    pub(super) number: u64,
    pub(super) size: usize,
}

impl Piece {
    /// Begins with the number, so that a reader knows which piece it should be.
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut random = super::super::random::Random::new(self.number);
        let mut bytes = self.number.to_le_bytes().to_vec();
        while bytes.len() < self.size {
            bytes.extend_from_slice(&random.below(u64::MAX).to_le_bytes());
        }
        bytes.truncate(self.size);
        bytes
    }
}

/// What an object holds: the pieces one after the other.
pub(super) type Content = Vec<Piece>;

pub(super) fn bytes_of(content: &Content) -> Vec<u8> {
    content.iter().flat_map(|piece| piece.bytes()).collect()
}

pub(super) fn size_of(content: &Content) -> u64 {
    content.iter().map(|piece| piece.size as u64).sum()
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Acknowledged,
    /// It was cut off.
    Unknown,
}

#[derive(Debug, Clone)]
struct Write {
    begun: u64,
    ended: u64,
    end: End,
    /// `None`: a deletion.
    content: Option<Content>,
}

/// An upload in parts that is not finished, as far as is known.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) key: String,
    /// Parts by number, and whether each is there for certain. No number is sent twice.
    pub(super) parts: BTreeMap<i32, (Piece, Option<String>)>,
    /// Completion or abortion was cut off: it may be gone.
    pub(super) is_ending: bool,
}

/// The bucket.
#[derive(Debug, Default)]
pub(super) struct Model {
    clock: u64,
    next_piece: u64,
    /// What was found when all was quiet.
    settled: BTreeMap<String, Content>,
    /// Writes since then.
    writes: BTreeMap<String, Vec<Write>>,
    pub(super) uploads: BTreeMap<String, Upload>,
    /// Uploads that were begun, and whose id nobody was told.
    pub(super) nameless: u64,
    /// First pieces of all contents that were sent and not refused, and of those refused.
    sent: BTreeMap<u64, Content>,
    refused: BTreeSet<u64>,
}

impl Model {
    pub(super) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(super) fn piece(&mut self, size: usize) -> Piece {
        self.next_piece += 1;
        Piece { number: self.next_piece, size: size.max(8) }
    }

    /// Notes a content before it is sent, so that a reader may find it. Answers the moment.
    pub(super) fn begin(&mut self, content: Option<&Content>) -> u64 {
        if let Some(content) = content
            && let Some(first) = content.first()
        {
            self.sent.insert(first.number, content.clone());
        }
        self.tick()
    }

    /// Notes how a write ended.
    pub(super) fn wrote(&mut self, key: &str, begun: u64, end: End, content: Option<Content>) {
        let ended = self.tick();
        let write = Write { begun, ended, end, content };
        self.writes.entry(key.to_owned()).or_default().push(write);
    }

    /// Notes that a content was refused: it must not be found, ever.
    pub(super) fn refuse(&mut self, content: &Content) {
        self.refused.extend(content.first().map(|piece| piece.number));
    }

    /// Checks what a reader got while others wrote: it is a whole content, and none refused.
    pub(super) fn check_read(&self, key: &str, found: &[u8]) {
        let number = found.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let number = number.unwrap_or_else(|| panic!("{key}: of {} bytes", found.len()));
        assert!(!self.refused.contains(&number), "{key}: what was refused is there");
        let content = self.sent.get(&number);
        let content = content.unwrap_or_else(|| panic!("{key}: nobody has sent {number}"));
        assert!(found == bytes_of(content), "{key}: {number} is not whole");
    }

    /// What an object holds that is settled and that nobody writes.
    pub(super) fn content_of(&self, key: &str) -> Content {
        self.settled.get(key).cloned().unwrap_or_else(|| panic!("{key} is settled"))
    }

    /// Keys that were written since all was quiet last.
    pub(super) fn unsettled(&self) -> Vec<String> {
        self.writes.keys().cloned().collect()
    }

    /// Takes what was found of a key while nobody writes; it must be one of what may stand.
    pub(super) fn settle(&mut self, key: &str, found: Option<&[u8]>) {
        let writes = self.writes.remove(key).unwrap_or_default();
        let before = self.settled.remove(key);
        let first = Write { begun: 0, ended: 0, end: End::Acknowledged, content: before };
        let all: Vec<&Write> = std::iter::once(&first).chain(&writes).collect();
        let overtaken = |write: &Write| {
            let later =
                |other: &&&Write| other.end == End::Acknowledged && other.begun > write.ended;
            all.iter().find(later).is_some()
        };
        let may_stand = all.iter().filter(|write| !overtaken(write));
        let matching = may_stand.clone().find(|write| match (&write.content, found) {
            (None, None) => true,
            (Some(content), Some(found)) => {
                size_of(content) == found.len() as u64 && bytes_of(content) == found
            }
            _ => false,
        });
        let Some(matching) = matching else {
            let number = found.and_then(|found| found.first_chunk().copied());
            let number = number.map(u64::from_le_bytes);
            let is_refused = number.is_some_and(|number| self.refused.contains(&number));
            let found = found.map(<[u8]>::len);
            panic!(
                "{key}: found {number:?} of {found:?} bytes, refused: {is_refused}; \
                 may stand: {:?}; all: {all:?}",
                may_stand.map(|write| &write.content).collect::<Vec<_>>()
            );
        };
        if let Some(content) = &matching.content {
            self.settled.insert(key.to_owned(), content.clone());
        }
    }

    /// All that is there, once every key is settled.
    pub(super) fn settled(&self) -> &BTreeMap<String, Content> {
        assert!(self.writes.is_empty(), "{:?} are not settled", self.unsettled());
        &self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(model: &mut Model) -> Content {
        vec![model.piece(100)]
    }

    /// The model finds what it is there to find.
    #[test]
    fn what_may_not_stand_is_noticed() {
        let fails = |check: &dyn Fn(&mut Model, &Content, &Content)| {
            let mut model = Model::default();
            let (first, second) = (one(&mut model), one(&mut model));
            let checked = std::panic::AssertUnwindSafe(|| check(&mut model, &first, &second));
            std::panic::catch_unwind(checked).is_err()
        };
        let write = |model: &mut Model, content: &Content, end| {
            let begun = model.begin(Some(content));
            model.wrote("k", begun, end, Some(content.clone()));
        };
        let settle = |model: &mut Model, found: &Content| {
            model.settle("k", Some(&bytes_of(found)));
        };
        // Acknowledged and gone; overtaken and there; refused and there; of another's bytes.
        assert!(fails(&|model, first, _| {
            write(model, first, End::Acknowledged);
            model.settle("k", None);
        }));
        assert!(fails(&|model, first, second| {
            write(model, first, End::Unknown);
            write(model, second, End::Acknowledged);
            settle(model, first);
        }));
        assert!(fails(&|model, first, second| {
            write(model, first, End::Acknowledged);
            model.refuse(second);
            settle(model, second);
        }));
        assert!(fails(&|model, first, _| {
            write(model, first, End::Acknowledged);
            let mut found = bytes_of(first);
            found[50] ^= 1;
            model.settle("k", Some(&found));
        }));
        // Either of two at once; what was cut off, or what was before it.
        assert!(!fails(&|model, first, second| {
            let (one, two) = (model.begin(Some(first)), model.begin(Some(second)));
            model.wrote("k", one, End::Acknowledged, Some(first.clone()));
            model.wrote("k", two, End::Acknowledged, Some(second.clone()));
            settle(model, first);
        }));
        for there in [true, false] {
            assert!(!fails(&|model, first, second| {
                write(model, first, End::Acknowledged);
                write(model, second, End::Unknown);
                settle(model, if there { second } else { first });
            }));
        }
    }
}
