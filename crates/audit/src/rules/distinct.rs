//! How many different things one key touched within a sliding window, as an estimate. Never the things, never the keys: only
//! what their hashes leave in a few registers (HyperLogLog, Flajolet and others 2007).
//!
//! Invariant: at most [`MAX_KEYS`] keys of about 600 bytes each. A key that finds its places taken pushes out the one that has
//! touched least lately, so that a flood of keys that touch one thing each cannot push out the one that touches many.

use jiff::{SignedDuration, Timestamp};

/// How many keys are counted at a time.
pub(crate) const MAX_KEYS: usize = BUCKETS * WAYS;
const BUCKETS: usize = 512;
/// A key has so many places where it may stand.
const WAYS: usize = 8;
/// Registers of a pane; the estimate is off by about 1.04 / √128, which is 9 %.
const REGISTERS: usize = 128;
/// A window slides in quarters.
const PANES: i64 = 4;

/// The counted keys of one rule.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    /// Empty until the first key.
    cells: Vec<Option<Box<Cell>>>,
}

#[derive(Debug)]
struct Cell {
    key: u64,
    slot: i64,
    panes: [[u8; REGISTERS]; 4],
    /// How many registers of each pane saw anything: a cheap measure of how much the key touched.
    touched: [u8; 4],
    /// Slot of the last finding.
    spoke: Option<i64>,
}

impl Distinct {
    /// Takes in that `key` touched `thing` (both as hashes). Says how many different things it touched within the window when that
    /// reaches the threshold, once per window. `concerns` is asked only where the thing would change the estimate; what it turns down
    /// leaves no trace.
    pub(crate) fn observe(
        &mut self,
        (key, thing): (u64, u64),
        time: Timestamp,
        (length, threshold): (SignedDuration, u32),
        concerns: impl FnOnce() -> bool,
    ) -> Option<u64> {
        let slot_length = i64::try_from(length.as_millis() / i128::from(PANES)).unwrap_or(i64::MAX).max(1);
        let slot = time.as_millisecond().div_euclid(slot_length);
        let rank = u8::try_from((thing >> 7).trailing_zeros()).unwrap_or(u8::MAX).min(57) + 1;
        let register = usize::try_from(thing % REGISTERS as u64).unwrap_or(0);
        if let Some(cell) = self.find(key) {
            cell.slide(slot);
            if !cell.raises(register, rank) {
                return None;
            }
        }
        if !concerns() {
            return None;
        }
        let cell = self.place(key, slot)?;
        cell.raise(register, rank);
        cell.judge(threshold)
    }

    fn find(&mut self, key: u64) -> Option<&mut Cell> {
        self.bucket(key)?.iter_mut().flatten().find(|cell| cell.key == key).map(Box::as_mut)
    }

    fn bucket(&mut self, key: u64) -> Option<&mut [Option<Box<Cell>>]> {
        let first = usize::try_from(key % BUCKETS as u64).ok()? * WAYS;
        self.cells.get_mut(first..first + WAYS)
    }

    /// The key's cell; a new one takes an empty place or that of the key which touched least lately.
    fn place(&mut self, key: u64, slot: i64) -> Option<&mut Cell> {
        if self.cells.is_empty() {
            self.cells.resize_with(MAX_KEYS, || None);
        }
        let bucket = self.bucket(key)?;
        let index = bucket.iter().position(|cell| cell.as_ref().is_some_and(|cell| cell.key == key)).or_else(|| {
            let weight = |cell: &Option<Box<Cell>>| cell.as_ref().map_or((false, 0), |cell| (slot - cell.slot < PANES, cell.weight()));
            (0..WAYS).min_by_key(|index| bucket.get(*index).map(weight))
        })?;
        let place = bucket.get_mut(index)?;
        let cell = place.get_or_insert_with(|| Box::new(Cell::new(key, slot)));
        if cell.key != key {
            **cell = Cell::new(key, slot);
        }
        Some(cell)
    }
}

impl Cell {
    fn new(key: u64, slot: i64) -> Self {
        Self { key, slot, panes: [[0; REGISTERS]; 4], touched: [0; 4], spoke: None }
    }

    /// Moves the window on. A little backwards is the log's ordinary disorder; far backwards is another time.
    fn slide(&mut self, slot: i64) {
        let passed = slot - self.slot;
        if passed.unsigned_abs() >= PANES.unsigned_abs() {
            let spoke = self.spoke.filter(|spoke| (slot - spoke).unsigned_abs() < PANES.unsigned_abs());
            *self = Self { spoke, ..Self::new(self.key, slot) };
            return;
        }
        for step in 1..=passed {
            (*self.pane(self.slot + step).0, *self.pane(self.slot + step).1) = ([0; REGISTERS], 0);
        }
        self.slot = self.slot.max(slot);
    }

    /// Whether a thing is more than the window's present pane has seen.
    fn raises(&mut self, register: usize, rank: u8) -> bool {
        self.pane(self.slot).0.get(register).is_some_and(|highest| *highest < rank)
    }

    fn raise(&mut self, register: usize, rank: u8) {
        let (pane, touched) = self.pane(self.slot);
        if let Some(highest) = pane.get_mut(register) {
            *touched += u8::from(*highest == 0);
            *highest = rank.max(*highest);
        }
    }

    fn judge(&mut self, threshold: u32) -> Option<u64> {
        // The estimate costs most: it is not asked for what was said already.
        if self.spoke.is_some_and(|spoke| (self.slot - spoke).unsigned_abs() < PANES.unsigned_abs()) {
            return None;
        }
        let estimate = self.estimate();
        if estimate < u64::from(threshold) {
            return None;
        }
        self.spoke = Some(self.slot);
        Some(estimate)
    }

    fn weight(&self) -> u16 {
        self.touched.iter().copied().map(u16::from).sum()
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate is a small positive number")]
    fn estimate(&self) -> u64 {
        const M: f64 = 128.0;
        const ALPHA: f64 = 0.7213 / (1.0 + 1.079 / M);
        let mut ranks = [0u8; REGISTERS];
        for pane in &self.panes {
            for (highest, rank) in ranks.iter_mut().zip(pane) {
                *highest = (*highest).max(*rank);
            }
        }
        let (mut sum, mut empty) = (0.0, 0u8);
        for rank in ranks {
            // One half to the power of the rank, by its exponent's bits.
            sum += f64::from_bits((1023 - u64::from(rank)) << 52);
            empty += u8::from(rank == 0);
        }
        let empty = f64::from(empty);
        let raw = ALPHA * M * M / sum;
        // Few things are counted better by how many registers they left empty.
        let estimate = if raw <= 2.5 * M && empty > 0.0 { M * (M / empty).ln() } else { raw };
        estimate.round() as u64
    }

    fn pane(&mut self, slot: i64) -> (&mut [u8; REGISTERS], &mut u8) {
        // In bounds: the remainder of a division by the arrays' length.
        let index = usize::try_from(slot.rem_euclid(PANES)).unwrap_or(0);
        (&mut self.panes[index], &mut self.touched[index])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's own numbers")]

    use super::*;
    use foldhash::quality::FixedState;
    use std::hash::BuildHasher;

    fn hash(n: u64) -> u64 {
        FixedState::default().hash_one(n)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    const TEN_MINUTES: SignedDuration = SignedDuration::from_mins(10);

    #[test]
    fn estimates_are_near() {
        for n in [1u64, 10, 50, 100, 200, 300, 500, 1_000, 10_000] {
            let mut distinct = Distinct::default();
            for thing in 0..n {
                distinct.observe((1, hash(thing)), at(0), (TEN_MINUTES, u32::MAX), || true);
            }
            let estimate = distinct.find(1).unwrap().estimate();
            assert!(estimate.abs_diff(n) * 4 <= n.max(4), "{n}: {estimate}");
        }
    }

    #[test]
    fn the_same_few_things_again_and_again_are_not_many() {
        let mut distinct = Distinct::default();
        for n in 0..20_000u64 {
            let time = at(i64::try_from(n / 20).unwrap());
            assert_eq!(distinct.observe((1, hash(n % 50)), time, (TEN_MINUTES, 200), || true), None);
        }
    }

    #[test]
    fn many_within_the_window_are_told_once_per_window_and_a_trickle_never() {
        let mut distinct = Distinct::default();
        let mut told = Vec::new();
        for n in 0..3_000u64 {
            let second = i64::try_from(n).unwrap();
            told.extend(distinct.observe((1, hash(n)), at(second), (TEN_MINUTES, 200), || true).map(|count| (second, count)));
        }
        assert!((4..=7).contains(&told.len()), "{told:?}");
        assert!((170..=230).contains(&told[0].0), "{told:?}");
        for n in 0..3_000u64 {
            let slow = at(i64::try_from(n).unwrap() * 20);
            assert_eq!(distinct.observe((2, hash(n)), slow, (TEN_MINUTES, 200), || true), None);
        }
    }

    #[test]
    fn what_does_not_concern_the_rule_leaves_no_trace() {
        let mut distinct = Distinct::default();
        for n in 0..1_000 {
            assert_eq!(distinct.observe((1, hash(n)), at(0), (TEN_MINUTES, 10), || false), None);
        }
        assert!(distinct.find(1).is_none());
    }

    #[test]
    fn a_flood_of_keys_stays_bounded_and_does_not_hide_the_one_that_reads_much() {
        let mut distinct = Distinct::default();
        let mut found = 0;
        for n in 0..60_000u64 {
            assert_eq!(distinct.observe((hash(n), 1), at(0), (TEN_MINUTES, 200), || true), None);
            if n % 60 == 0 {
                found += usize::from(distinct.observe((hash(u64::MAX), hash(n)), at(0), (TEN_MINUTES, 200), || true).is_some());
            }
        }
        assert_eq!((distinct.cells.len(), found), (MAX_KEYS, 1));
    }
}
