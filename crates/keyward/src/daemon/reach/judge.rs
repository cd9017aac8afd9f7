//! When a place is tried again, and what is said of it. Pure: how the try went goes in.

use std::time::Duration;

/// So many tries in a row must fail before anybody is told: one lost packet wakes nobody.
pub const FAILED_TRIES: u32 = 2;
/// The pause after a first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause while something is out of reach: so late at most it is seen that it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is to be said after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// Nothing new.
    Nothing,
    /// It is out of reach.
    Raise,
    /// It is reached, for the first time since the start or again.
    Resolve,
}

/// What is remembered of a place. Losing it costs a repeated word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    failures: u32,
    said_well: bool,
}

impl Memory {
    /// Takes in how a try went. `told`: whether its trouble is to be told at all.
    pub fn take(&mut self, reached: bool, told: bool) -> Say {
        if reached {
            // A trouble too short to be told may still have stopped a delivery, which then need not wait.
            let said_well = std::mem::replace(&mut self.said_well, true);
            return if std::mem::take(&mut self.failures) == 0 && said_well { Say::Nothing } else { Say::Resolve };
        }
        self.failures = self.failures.saturating_add(1);
        if !told || self.failures < FAILED_TRIES {
            return Say::Nothing;
        }
        self.said_well = false;
        Say::Raise
    }

    /// The pause until the next try; `usual`: between two looks at what is well.
    pub fn pause(self, usual: Duration) -> Duration {
        match self.failures {
            0 => usual,
            failures => FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(8)).min(LONGEST_PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_is_no_news_and_the_end_of_trouble_is_said_once() {
        let mut memory = Memory::default();
        let tries = [(false, Say::Nothing), (false, Say::Raise), (false, Say::Raise), (true, Say::Resolve), (true, Say::Nothing)];
        for (reached, says) in tries {
            assert_eq!(memory.take(reached, true), says, "{reached}");
        }
        assert_eq!(memory.take(false, true), Say::Nothing);
        assert_eq!(memory.take(true, true), Say::Resolve, "its end is, since a delivery may wait for it");
    }

    #[test]
    fn the_first_success_after_a_start_ends_what_was_told_before_it() {
        assert_eq!(Memory::default().take(true, true), Say::Resolve);
    }

    #[test]
    fn what_others_tell_is_not_told_here() {
        let mut memory = Memory::default();
        assert!((0..5).all(|_| memory.take(false, false) == Say::Nothing));
    }

    #[test]
    fn the_pause_grows_to_a_limit() {
        let usual = Duration::from_mins(1);
        let mut memory = Memory::default();
        assert_eq!(memory.pause(usual), usual);
        let pauses: Vec<u64> = (0..7)
            .map(|_| {
                memory.take(false, true);
                memory.pause(usual).as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert!((0..100).all(|_| memory.take(false, true) == Say::Raise));
        assert_eq!(memory.pause(usual), LONGEST_PAUSE);
    }
}
