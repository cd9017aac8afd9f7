//! Everything that is left to chance comes from one seed.

use keyward_secret::{GeneratorError, Source};
use std::sync::{Mutex, PoisonError};

/// A seeded stream of numbers (SplitMix64, written out because a library may change its stream between versions).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }

    /// True in so many of a thousand cases.
    pub(crate) fn per_mille(&mut self, rate: u32) -> bool {
        rate > 0 && self.next() % 1000 < u64::from(rate)
    }

    /// One of these; there must be one.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = usize::try_from(self.next() % from.len() as u64).unwrap_or(0);
        from[at] // in bounds: a remainder by the length
    }

    /// A stream of its own, so that what one part draws does not shift the others.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

/// The randomness of one process: its candidates are its own, and the same in every replay.
pub(crate) struct Dice(pub(crate) Mutex<Chance>);

impl Source for Dice {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GeneratorError> {
        let mut chance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            let word = chance.next().to_le_bytes();
            for (byte, from) in chunk.iter_mut().zip(word) {
                *byte = from;
            }
        }
        Ok(())
    }
}
