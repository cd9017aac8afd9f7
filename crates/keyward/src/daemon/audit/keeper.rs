//! What is kept of a log beside the place reached: the evidence's chain, who came from where, gaps, and calls by day.
//!
//! Nothing is given up before it is committed: what a failed commit held goes with the next, within bounds.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use keyward_audit::{Cells, Chain, Operation, Outcome, Pipeline, Place, Tally};
use keyward_store::{AuditState, Calls, Gap, Segment, Sighting, Trail};

/// How many gaps, and how many rows of calls, wait for a commit.
const MAX_WAITING: usize = 10_000;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The keeper of one log's trail.
#[derive(Debug, Default)]
pub struct Keeper {
    chain: Option<Chain>,
    /// Whether lines are taken into it.
    is_chained: bool,
    /// What the next commit takes along.
    waiting: Trail,
    /// The figures up to which calls were taken, by the tally's row.
    taken: Vec<Cells>,
    /// When the day ends that calls are counted for.
    day_ends: Option<Timestamp>,
}

impl Keeper {
    /// Goes on from what was committed. `tally`: what is counted already.
    ///
    /// # Errors
    /// The chain that was committed is none: it must not be taken for a new one.
    pub fn restore(state: Option<&AuditState>, tally: &Tally) -> Result<Self, String> {
        let chain = match state.and_then(|state| state.chain_json.as_deref()) {
            Some(json) => {
                let snapshot = serde_json::from_str(json).map_err(|error| format!("the evidence's chain cannot be read back: {error}"))?;
                Some(Chain::restore(snapshot).ok_or("the evidence's chain that was stored is none")?)
            }
            None => None,
        };
        let taken = tally.rows().iter().map(|row| row.cells).collect();
        Ok(Self { chain, taken, ..Self::default() })
    }

    /// Keeps the chain from now on, or no longer. One that was kept before goes on where it ended.
    pub fn keep_evidence(&mut self, wanted: bool) {
        self.is_chained = wanted;
        if wanted {
            self.chain.get_or_insert_default();
        } else if let Some(chain) = &mut self.chain {
            chain.close();
        }
    }

    /// One line was read.
    #[inline]
    pub fn line(&mut self, line: &[u8], place: Place, now: Timestamp, tally: &Tally) {
        if self.is_chained
            && let Some(chain) = &mut self.chain
        {
            chain.line(line, place, now);
        }
        if let Some(reached) = tally.last_entry()
            && self.day_ends.is_none_or(|ends| reached >= ends)
        {
            self.turn_day(reached, tally);
        }
    }

    /// Lines may be missing.
    pub fn gap(&mut self, gap: Gap) {
        if self.waiting.gaps.len() < MAX_WAITING {
            self.waiting.gaps.push(gap);
        }
    }

    /// Ends a segment here. Says how many lines the chain has, and its value, if there is one.
    pub fn close_segment(&mut self) -> Option<(u64, [u8; 32])> {
        let chain = self.chain.as_mut().filter(|_| self.is_chained)?;
        chain.close();
        Some(chain.end())
    }

    /// What the next commit takes along.
    pub fn trail(&mut self, pipeline: &mut Pipeline) -> Result<Trail, String> {
        self.take_calls(&pipeline.tally);
        let new = pipeline.rules.take_sightings().into_iter().map(|s| Sighting {
            identity: s.identity,
            address: s.address,
            first: s.first,
            last: s.last,
        });
        if self.waiting.sightings.len() < keyward_audit::MAX_PAIRS {
            self.waiting.sightings.extend(new);
        }
        let mut trail = self.waiting.clone();
        if let Some(chain) = &self.chain {
            trail.chain_json = Some(serde_json::to_string(&chain.snapshot()).map_err(|error| error.to_string())?);
            trail.segments = chain.closed().iter().map(segment).collect();
        }
        Ok(trail)
    }

    /// The commit that took it along was carried out.
    pub fn committed(&mut self) {
        self.waiting = Trail::default();
        if let Some(chain) = &mut self.chain {
            chain.forget_closed();
        }
    }

    fn turn_day(&mut self, reached: Timestamp, tally: &Tally) {
        if self.day_ends.is_some() {
            self.take_calls(tally);
        }
        let zoned = reached.to_zoned(TimeZone::UTC).start_of_day().map(|day| day.timestamp());
        self.day_ends = zoned.ok().and_then(|day| day.checked_add(DAY).ok());
    }

    /// The calls since they were last taken, for the day that is counted for.
    fn take_calls(&mut self, tally: &Tally) {
        let Some(day) = self.day_ends.and_then(|ends| ends.checked_sub(DAY).ok()) else { return };
        self.taken.resize(tally.rows().len(), Cells::default());
        for (row, taken) in tally.rows().iter().zip(&mut self.taken).filter(|(row, taken)| row.cells != **taken) {
            for ((operation, counts), taken) in Operation::ALL.into_iter().zip(&row.cells).zip(taken.iter_mut()) {
                for ((outcome, count), taken) in Outcome::ALL.into_iter().zip(counts).zip(taken.iter_mut()).filter(|((_, n), t)| *n > t) {
                    let calls = Calls {
                        day,
                        operation: operation.label().to_owned(),
                        mount: row.mount.clone(),
                        result: outcome.label().to_owned(),
                        count: *count - *taken,
                    };
                    if self.waiting.calls.len() < MAX_WAITING {
                        self.waiting.calls.push(calls);
                    }
                    *taken = *count;
                }
            }
        }
    }
}

fn segment(segment: &keyward_audit::Segment) -> Segment {
    Segment {
        first: segment.first,
        file: segment.place.file,
        offset: segment.place.offset,
        from: segment.from,
        to: segment.to,
        before: segment.before.to_vec(),
        after: segment.after.to_vec(),
        marks: segment.marks.clone(),
    }
}
