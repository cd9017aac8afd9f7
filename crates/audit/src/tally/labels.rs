//! From what a fact names to the row that counts it, without building a label's text for each line.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::fact::Fact;
use crate::label::{LabelBook, OTHER};

/// How many mounts are found without looking their label up; two that share a place take turns.
const PLACES: usize = 256;
/// Longer names are looked up each time.
const MAX_NAMES: usize = 512;

/// What a fact says of its mount, and the row that this leads to.
#[derive(Debug)]
struct Known {
    namespace: String,
    mount_point: String,
    mount_type: String,
    row: usize,
}

/// The labels in use, and rows at hand.
#[derive(Debug)]
pub(super) struct Labels {
    book: LabelBook,
    hasher: RandomState,
    places: Vec<Option<Known>>,
}

impl Default for Labels {
    fn default() -> Self {
        Self { book: LabelBook::default(), hasher: RandomState::default(), places: std::iter::repeat_with(|| None).take(PLACES).collect() }
    }
}

impl Labels {
    /// A mount that the server lists. What was counted under [`OTHER`] before stays there.
    pub(super) fn know(&mut self, mount: &str) {
        self.book.know(mount);
        self.places.fill_with(|| None);
    }

    /// The row of a fact's mount, if it is at hand.
    pub(super) fn find(&self, fact: &Fact<'_>) -> Option<usize> {
        let known = self.places.get(self.place(fact))?.as_ref()?;
        let same = known.mount_point == fact.mount_point && known.mount_type == fact.mount_type && known.namespace == fact.namespace;
        same.then_some(known.row)
    }

    /// Keeps a row at hand.
    pub(super) fn keep(&mut self, fact: &Fact<'_>, row: usize) {
        if fact.namespace.len() + fact.mount_point.len() + fact.mount_type.len() > MAX_NAMES {
            return;
        }
        let place = self.place(fact);
        let [namespace, mount_point, mount_type] = [fact.namespace, fact.mount_point, fact.mount_type].map(str::to_owned);
        if let Some(place) = self.places.get_mut(place) {
            *place = Some(Known { namespace, mount_point, mount_type, row });
        }
    }

    /// The labels of a fact's mount point, which is learnt if it is new, and of its type.
    pub(super) fn of(&mut self, fact: &Fact<'_>) -> (String, &'static str) {
        if self.book.mount_point(fact) == OTHER {
            self.book.learn(fact);
        }
        (self.book.mount_point(fact).to_owned(), LabelBook::mount_type(fact))
    }

    fn place(&self, fact: &Fact<'_>) -> usize {
        let hash = self.hasher.hash_one((fact.mount_point, fact.mount_type, fact.namespace));
        // The remainder is small, so nothing is cut off.
        usize::try_from(hash % PLACES as u64).unwrap_or_default()
    }
}
