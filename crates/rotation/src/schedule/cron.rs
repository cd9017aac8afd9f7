//! The schedule itself: five-field cron, or one of six words.
//!
//! Cron's arithmetic on local times is croner's; from local time to the instant it is ours ([`super::local`]), because
//! croner lets half-hourly patterns run twice in the autumn fold and drops them in the spring gap.

use super::{ScheduleError, local};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;
use std::fmt;
use std::time::Duration;

/// The words, what they stand for, and how they are told to people.
const WORDS: &[(&str, &str, &str)] = &[
    ("hourly", "0 * * * *", "every hour"),
    ("daily", "0 2 * * *", "every day at 02:00"),
    ("weekly", "0 2 * * 0", "Sunday 02:00"),
    ("monthly", "0 2 1 * *", "the 1st of each month, 02:00"),
    ("quarterly", "0 2 1 1,4,7,10 *", "1 January, April, July and October, 02:00"),
    ("annually", "0 2 1 1 *", "1 January 02:00"),
];

/// No zone repeats more than a day's worth of minutes at once, so no search meets more hits in the wrong direction.
const REPEATED: usize = 24 * 60 + 1;

/// How many occurrences are looked at for the shortest interval.
const SAMPLE: usize = 400;

/// The due times of a class, in a time zone.
#[derive(Clone)]
pub struct Schedule {
    spec: String,
    words: String,
    cron: Cron,
    zone: TimeZone,
    shortest: Duration,
}

impl Schedule {
    /// Reads `hourly`, `daily`, `weekly` (Sunday 02:00), `monthly` (the 1st, 02:00), `quarterly` (1 January, April,
    /// July, October, 02:00), `annually` (1 January 02:00), or five fields as crontab(5) has them: names of
    /// months and days, lists, ranges, steps, Sunday as 0 or 7; also `L` (last day), `MON#1` (first Monday), `15W`
    /// (nearest working day). A day of month together with a day of week means either. UTC unless a zone is named.
    pub fn parse(spec: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let spec = spec.trim();
        let zone = local::zone(zone)?;
        let word = WORDS.iter().find(|(word, ..)| *word == spec);
        let pattern = word.map_or(spec, |(_, pattern, _)| *pattern);
        let cron = parse_fields(pattern)?;
        let shortest = shortest(&cron).ok_or_else(|| ScheduleError::Never { spec: spec.to_owned() })?;
        let words = match word {
            Some((word, _, when)) => format!("{word} ({when})"),
            None => format!("`{spec}` ({})", cron.describe().trim_end_matches('.')),
        };
        Ok(Self { spec: spec.to_owned(), words, cron, zone, shortest })
    }

    /// The first due time after this one; `None` only at the end of time.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut local = local::whole_second(&self.zone, after)?;
        for _ in 0..REPEATED {
            local = self.cron.find_next_occurrence(&local, false).ok()?;
            let instant = local::instant(&self.zone, local)?;
            if instant > after {
                return Some(instant);
            }
        }
        None
    }

    /// The last due time that is not after this one; `None` only before the beginning of time.
    pub fn previous_or_at(&self, at: Timestamp) -> Option<Timestamp> {
        let mut local = local::latest_local(&self.zone, at)?;
        let mut inclusive = true;
        for _ in 0..REPEATED {
            local = self.cron.find_previous_occurrence(&local, inclusive).ok()?;
            inclusive = false;
            let instant = local::instant(&self.zone, local)?;
            if instant <= at {
                return Some(instant);
            }
        }
        None
    }

    /// The shortest time between two due times, seen over the first few hundred of them on a clock that never jumps.
    pub fn shortest_interval(&self) -> Duration {
        self.shortest
    }

    /// What was written.
    pub fn spec(&self) -> &str {
        &self.spec
    }

    /// The zone's name.
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.words, self.zone())
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec && self.zone() == other.zone()
    }
}

fn parse_fields(spec: &str) -> Result<Cron, ScheduleError> {
    let fields: Vec<&str> = spec.split_whitespace().collect();
    let &[_, _, day, _, weekday] = fields.as_slice() else {
        return Err(ScheduleError::Shape { spec: spec.to_owned(), fields: fields.len() });
    };
    let field = |why: String| ScheduleError::Field { spec: spec.to_owned(), why };
    // croner's own additions, whose meaning differs from cron to cron.
    if let Some(sign) = spec.chars().find(|sign| matches!(sign, '?' | '+' | '@')) {
        return Err(field(format!("`{sign}` has no meaning here")));
    }
    let stepped = |field: &str| field.starts_with('*') && field != "*";
    if (stepped(day) && weekday != "*") || (stepped(weekday) && day != "*") {
        return Err(ScheduleError::TwoReadings { spec: spec.to_owned() });
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(spec).map_err(|error| field(error.to_string()))
}

/// The shortest interval between occurrences; `None` if there are not even two, which means that there are none.
fn shortest(cron: &Cron) -> Option<Duration> {
    let mut last: DateTime = date(2024, 1, 1).at(0, 0, 0, 0);
    last = cron.find_next_occurrence(&last, true).ok()?;
    let mut shortest: Option<Duration> = None;
    for _ in 0..SAMPLE {
        let Ok(next) = cron.find_next_occurrence(&last, false) else { break };
        let between = next.duration_since(last).unsigned_abs();
        shortest = Some(shortest.map_or(between, |known| known.min(between)));
        last = next;
    }
    shortest
}
