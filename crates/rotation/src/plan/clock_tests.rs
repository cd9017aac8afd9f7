//! The planner asked every ten minutes by a clock that jumps, against brute force: of the slots that the minute walker found,
//! the latest that has come is started, once, and nothing else ever is.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use super::*;
use crate::schedule::walker::{Pattern, minute_of, walk};
use crate::schedule::{Backoff, Schedule};
use jiff::civil::date;
use jiff::tz::TimeZoneDatabase;
use std::time::Duration;

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Santiago",
    "Africa/Casablanca",
    "Asia/Kathmandu",
];

/// What becomes of the clock after some minutes of looking at it.
#[derive(Clone, Copy)]
enum Then {
    /// It is set forward or back by minutes.
    Jumps(i64),
    /// The daemon is down for minutes.
    Down(i64),
}

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

/// Up for some minutes, then this. Daylight saving ends in the north within it, and in the south begins.
const STORY: [(i64, Then); 9] = [
    (3 * DAY, Then::Jumps(90)),
    (2 * DAY, Then::Jumps(-90)),
    (6 * HOUR, Then::Jumps(-2 * DAY)),
    (9 * DAY, Then::Jumps(40 * DAY)),
    (DAY, Then::Jumps(-40 * DAY)),
    (5 * DAY, Then::Down(30 * DAY)),
    (2 * DAY, Then::Jumps(-30)),
    (DAY, Then::Down(7)),
    (20 * DAY, Then::Jumps(0)),
];

/// Every moment at which the planner is asked, in minutes, in the order of asking.
fn minutes(begin: i64) -> Vec<i64> {
    let (mut now, mut asked) = (begin, Vec::new());
    for (up, then) in STORY {
        asked.extend((now..now + up).step_by(10));
        now += up
            + match then {
                Then::Jumps(by) | Then::Down(by) => by,
            };
    }
    asked
}

/// What the planner starts: the minute, and the slot it is for.
fn planned(policy: &Policy, first_seen: Timestamp, asked: &[i64]) -> Vec<(i64, Timestamp)> {
    let mut input = Input {
        name: "one".into(),
        class: "c".into(),
        first_seen,
        last_slot: None,
        last_success: None,
        last_failure: None,
        paused: None,
        stuck: None,
        diverged: None,
        running: false,
        observe: false,
        kind_manual: false,
    };
    let mut starts = Vec::new();
    for minute in asked {
        if let Decision::Due { slot, .. } = decide(Timestamp::from_second(minute * 60).unwrap(), &input, policy) {
            starts.push((*minute, slot.0));
            input.last_slot = Some(slot);
        }
    }
    starts
}

/// The same by brute force, from the walker's list of slots.
fn brute_force(slots: &[Timestamp], first_seen: Timestamp, asked: &[i64]) -> Vec<(i64, Timestamp)> {
    let (mut done, mut starts) = (first_seen, Vec::new());
    for minute in asked {
        let now = Timestamp::from_second(minute * 60).unwrap();
        let latest = slots.iter().rev().find(|slot| **slot <= now);
        if let Some(slot) = latest.filter(|slot| **slot > done) {
            starts.push((*minute, *slot));
            done = *slot;
        }
    }
    starts
}

/// A clock jumped when a laptop woke up, and jobs were lost or ran twice (k3d#523).
#[test]
fn failure_07_over_clock_jumps_and_a_month_of_downtime_the_planner_starts_what_brute_force_says() {
    // Autumn in the north and spring in the south, and the other way round.
    for (begin, from, to) in
        [(date(2026, 10, 1), date(2026, 9, 1), date(2027, 2, 1)), (date(2028, 2, 20), date(2028, 1, 20), date(2028, 6, 20))]
    {
        let begin = minute_of(begin) + 7;
        let (asked, first_seen) = (minutes(begin), Timestamp::from_second(begin * 60).unwrap());
        for zone in ZONES {
            agree(zone, &asked, first_seen, (minute_of(from), minute_of(to)));
        }
    }
}

fn agree(zone: &str, asked: &[i64], first_seen: Timestamp, (from, to): (i64, i64)) {
    let tz = TimeZoneDatabase::bundled().get(zone).unwrap();
    let specs = ["30 2 * * *", "0 2 * * 0", "0 0 1 * *", "0 12 29 2 *"];
    let all = walk(&tz, &specs.map(Pattern::read), from, to);
    for (spec, slots) in specs.iter().zip(all) {
        let policy = Policy {
            schedule: Schedule::parse(spec, Some(zone)).unwrap(),
            jitter: Duration::ZERO,
            window: None,
            catch_up: CatchUp::RunOnce,
            backoff: Backoff { first: Duration::from_mins(1), longest: Duration::from_hours(1) },
            deadline: None,
            concurrency: 1,
        };
        let starts = planned(&policy, first_seen, asked);
        assert_eq!(starts, brute_force(&slots, first_seen, asked), "{spec} in {zone}");
        let mut unique: Vec<Timestamp> = starts.iter().map(|(_, slot)| *slot).collect();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), starts.len(), "{spec} in {zone}: a slot twice");
    }
}
