//! How many events of one key fell into a sliding window. Never the keys themselves: only their hashes are kept.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use jiff::{SignedDuration, Timestamp};

/// How many keys one rule counts apart; when all are taken by fresh ones, further keys are counted together.
pub(crate) const MAX_KEYS: usize = 4096;
/// A window slides in eighths.
const SLOTS: i64 = 8;
/// The key of all that have no place of their own.
const CROWD: u64 = 0;

/// Counts per key for one rule.
#[derive(Debug, Default)]
pub(crate) struct Window {
    cells: HashMap<u64, Cell>,
    swept: i64,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Cell {
    slot: i64,
    counts: [u32; 8],
    /// Slot of the last finding.
    spoke: Option<i64>,
    /// Events since then that would have made a finding.
    kept_quiet: u64,
}

/// A threshold was reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) count: u64,
    /// The key had no place of its own.
    pub(crate) crowd: bool,
}

impl Window {
    /// Counts one event. Says when the threshold is reached, once per window and key.
    pub(crate) fn observe(&mut self, key: &str, time: Timestamp, length: SignedDuration, threshold: u32) -> Option<Reached> {
        let slot_length = i64::try_from(length.as_millis() / i128::from(SLOTS)).unwrap_or(i64::MAX).max(1);
        let slot = time.as_millisecond().div_euclid(slot_length);
        let mut key = self.hasher.hash_one(key).max(CROWD + 1);
        if !self.cells.contains_key(&key) && self.cells.len() >= MAX_KEYS {
            self.sweep(slot);
            if self.cells.len() >= MAX_KEYS {
                key = CROWD;
            }
        }
        let cell = self.cells.entry(key).or_default();
        let count = cell.count(slot, threshold)?;
        Some(Reached { count, crowd: key == CROWD })
    }

    /// Drops what has left the window; at most once per slot, so that a flood of keys costs one pass each.
    fn sweep(&mut self, slot: i64) {
        if self.swept != slot {
            self.swept = slot;
            self.cells.retain(|_, cell| (slot - cell.slot).unsigned_abs() <= SLOTS.unsigned_abs());
        }
    }
}

impl Cell {
    fn count(&mut self, slot: i64, threshold: u32) -> Option<u64> {
        // A little backwards is the log's ordinary disorder; far backwards, or a window onwards, is another time.
        let passed = slot - self.slot;
        if passed.unsigned_abs() >= SLOTS.unsigned_abs() {
            let spoke = self.spoke.filter(|spoke| (slot - spoke).unsigned_abs() < SLOTS.unsigned_abs());
            *self = Self { slot, spoke, kept_quiet: self.kept_quiet, ..Self::default() };
        }
        for step in 1..=passed.clamp(0, SLOTS) {
            *self.place(self.slot + step) = 0;
        }
        self.slot = self.slot.max(slot);
        let place = self.place(self.slot);
        *place = place.saturating_add(1);
        let sum: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        if sum < u64::from(threshold) {
            return None;
        }
        if self.spoke.is_some_and(|spoke| (self.slot - spoke).unsigned_abs() < SLOTS.unsigned_abs()) {
            self.kept_quiet += 1;
            return None;
        }
        self.spoke = Some(self.slot);
        Some(sum.max(std::mem::take(&mut self.kept_quiet) + 1))
    }

    fn place(&mut self, slot: i64) -> &mut u32 {
        // In bounds: the remainder of a division by the array's length.
        &mut self.counts[usize::try_from(slot.rem_euclid(SLOTS)).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's own numbers")]

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    const MINUTE: SignedDuration = SignedDuration::from_secs(60);

    #[test]
    fn speaks_at_the_threshold_then_once_per_window() {
        let mut window = Window::default();
        let mut spoken = Vec::new();
        for second in 0..200 {
            if let Some(reached) = window.observe("k", at(second), MINUTE, 10) {
                spoken.push((second, reached.count));
            }
        }
        assert_eq!(spoken.len(), 4, "{spoken:?}");
        assert_eq!(spoken[0], (9, 10));
        assert!(spoken.windows(2).all(|pair| (52..=60).contains(&(pair[1].0 - pair[0].0)) && pair[1].1 >= 52), "{spoken:?}");
    }

    #[test]
    fn a_trickle_never_reaches_it_and_keys_do_not_mix() {
        let mut window = Window::default();
        for second in 0..1000 {
            let key = if second % 2 == 0 { "a" } else { "b" };
            assert_eq!(window.observe(key, at(second * 7), MINUTE, 10), None);
        }
    }

    #[test]
    fn a_clock_that_was_wrong_once_does_not_silence_the_rule() {
        let mut window = Window::default();
        assert!(window.observe("k", at(1_000_000), MINUTE, 1).is_some());
        assert!(window.observe("k", at(0), MINUTE, 1).is_some());
    }

    #[test]
    fn a_million_keys_stay_bounded_and_are_still_seen() {
        let mut window = Window::default();
        let mut crowd = 0;
        for n in 0..1_000_000 {
            let reached = window.observe(&n.to_string(), at(n / 100_000), MINUTE, 20);
            crowd += reached.map_or(0, |reached| u64::from(reached.crowd));
        }
        assert!(window.cells.len() <= MAX_KEYS + 1);
        assert_eq!(crowd, 1);
    }
}
