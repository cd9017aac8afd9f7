//! Whether a log is silent although it must not be: Keyward's own calls have to appear in the active node's log.
//!
//! A standby forwards and writes nothing; its log is armed, not silent.

use std::time::{Duration, Instant};

/// What one look at a log came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing new is known.
    Nothing,
    /// A line was read: the log speaks.
    Speaks,
    /// It has been silent for too long.
    Silent,
}

/// The watch over one log.
#[derive(Debug, Default)]
pub struct Silence {
    found: Option<u64>,
    unheard: Option<Instant>,
}

impl Silence {
    /// One look: how many lines, or canaries where they fly, were found so far; whether the node is active and its file readable, and whether Vault answered a call of ours
    /// since the last look; how long such a call may take to appear.
    pub fn look(&mut self, now: Instant, found: u64, (armed, answered): (bool, bool), limit: Duration) -> Heard {
        let spoke = self.found.is_some_and(|before| before != found);
        self.found = Some(found);
        if spoke || !armed {
            self.unheard = None;
        }
        if spoke {
            return Heard::Speaks;
        }
        if answered && armed {
            self.unheard.get_or_insert(now);
        }
        match self.unheard {
            Some(since) if now.duration_since(since) > limit => Heard::Silent,
            _ => Heard::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One look a minute: (lines, armed, answered).
    fn looks(looks: &[(u64, bool, bool)]) -> Vec<Heard> {
        let (mut silence, mut now) = (Silence::default(), Instant::now());
        let mut heard = Vec::new();
        for (lines, armed, answered) in looks {
            heard.push(silence.look(now, *lines, (*armed, *answered), Duration::from_mins(5)));
            now += Duration::from_mins(1);
        }
        heard
    }

    #[test]
    fn an_answered_call_that_never_appears_is_silence() {
        let heard = looks(&[(5, true, true); 8]);
        assert_eq!(heard.iter().position(|h| *h == Heard::Silent), Some(6), "{heard:?}");
    }

    #[test]
    fn a_line_ends_it_and_without_an_answered_call_there_is_none() {
        let mut all = vec![(5, true, true); 8];
        all.extend([(6, true, true), (6, true, true)]);
        assert_eq!(looks(&all)[8..], [Heard::Speaks, Heard::Nothing]);
        assert!(looks(&[(5, true, false); 20]).iter().all(|h| *h == Heard::Nothing));
        assert!(looks(&[(5, false, true); 20]).iter().all(|h| *h == Heard::Nothing), "a standby's log is armed, not silent");
    }
}
