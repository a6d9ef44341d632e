//! What goes wrong, as told or by chance.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The work is done, and the connection is cut before the answer.
    DropAnswer,
    /// The work is done twice, as by a proxy that repeats; the second answer is given.
    Twice,
    /// The work is done at once, and the answer comes late.
    Slow(Duration),
    /// The work is done so much later, whether or not anybody waits for it still.
    Late(Duration),
    /// The connection is cut before anything is done.
    DropCall,
    /// Nothing is done: the web server answers 502 in HTML.
    BadGateway,
    /// Nothing is done: `Invalid IP`, with 403.
    Forbid,
    /// The work is done, and the answer is cut off in the middle of its text.
    Garble,
}

/// How many calls in a thousand meet a trouble.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chances {
    /// [`Trouble::DropAnswer`]
    pub drop_answer: u32,
    /// [`Trouble::DropCall`]
    pub drop_call: u32,
    /// [`Trouble::Twice`]
    pub twice: u32,
    /// [`Trouble::BadGateway`]
    pub bad_gateway: u32,
    /// [`Trouble::Garble`]
    pub garble: u32,
}

/// What is still to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) next: VecDeque<Option<Trouble>>,
    pub(crate) by_action: Vec<(String, Trouble)>,
    pub(crate) counts: BTreeMap<String, u64>,
    chances: Chances,
    seed: u64,
}

impl Troubles {
    pub(crate) fn set_chances(&mut self, chances: Chances, seed: u64) {
        (self.chances, self.seed) = (chances, seed);
    }

    /// What this call meets.
    pub(crate) fn meet(&mut self, action: &str) -> Option<Trouble> {
        if let Some(at) = self.by_action.iter().position(|(name, _)| name == action) {
            return Some(self.by_action.remove(at).1);
        }
        if let Some(told) = self.next.pop_front() {
            return told;
        }
        let chances = self.chances;
        if chances == Chances::default() {
            return None;
        }
        let mut drawn = self.draw() % 1000;
        for (chance, trouble) in [
            (chances.drop_answer, Trouble::DropAnswer),
            (chances.drop_call, Trouble::DropCall),
            (chances.twice, Trouble::Twice),
            (chances.bad_gateway, Trouble::BadGateway),
            (chances.garble, Trouble::Garble),
        ] {
            if drawn < u64::from(chance) {
                return Some(trouble);
            }
            drawn -= u64::from(chance);
        }
        None
    }

    /// Source: Vigna, "SplitMix64", public domain.
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_come_true_about_as_often_as_they_say() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.meet("getorders"), None);
        let chances = Chances { drop_answer: 300, bad_gateway: 100, ..Chances::default() };
        troubles.set_chances(chances, 1);
        let met: Vec<_> = (0..10_000).map(|_| troubles.meet("getorders")).collect();
        let count = |trouble| met.iter().filter(|met| **met == trouble).count();
        assert!((2_800..3_200).contains(&count(Some(Trouble::DropAnswer))));
        assert!((850..1_150).contains(&count(Some(Trouble::BadGateway))));
        troubles.next.push_back(None);
        troubles.by_action.push(("addorder".to_owned(), Trouble::Twice));
        assert_eq!(troubles.meet("addorder"), Some(Trouble::Twice));
        assert_eq!(troubles.meet("addorder"), None, "told to meet nothing");
    }
}
