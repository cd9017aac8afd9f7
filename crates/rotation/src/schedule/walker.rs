//! Schedules against brute force: a walker that goes through years minute by minute, with its own reading of the five
//! fields and its own idea of a clock that jumps, and must come to the same instants.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use super::Schedule;
use jiff::civil::{Date, date};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan};

/// One field as the set of its values.
struct Field([bool; 60]);

impl Field {
    /// Numbers, lists, ranges and steps; nothing else is needed here.
    fn read(text: &str, lowest: usize, highest: usize) -> Self {
        let mut values = [false; 60];
        for part in text.split(',') {
            let (range, step) = part.split_once('/').unwrap_or((part, "1"));
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (lowest, highest),
                Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
                None => (range.parse().unwrap(), range.parse().unwrap()),
            };
            (first..=last).step_by(step.parse().unwrap()).for_each(|value| values[value] = true);
        }
        Self(values)
    }

    fn has(&self, value: i8) -> bool {
        self.0[usize::try_from(value).unwrap()]
    }
}

/// A pattern as crontab(5) describes it.
struct Pattern {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
    either: bool,
}

impl Pattern {
    fn read(text: &str) -> Self {
        let fields: Vec<&str> = text.split(' ').collect();
        Self {
            minutes: Field::read(fields[0], 0, 59),
            hours: Field::read(fields[1], 0, 23),
            days: Field::read(fields[2], 1, 31),
            months: Field::read(fields[3], 1, 12),
            weekdays: Field::read(fields[4], 0, 6),
            either: fields[2] != "*" && fields[4] != "*",
        }
    }

    fn has_day(&self, day: Date) -> bool {
        let of_month = self.days.has(day.day());
        let of_week = self.weekdays.has(day.weekday().to_sunday_zero_offset());
        self.months.has(day.month()) && if self.either { of_month || of_week } else { of_month && of_week }
    }
}

/// Which of a day's minutes a pattern has, kept for the day last asked about.
struct Today<'a> {
    pattern: &'a Pattern,
    day: i64,
    has_day: bool,
}

impl Today<'_> {
    /// `minute` counts local minutes from 1 January 1970 as if there were no zones.
    fn has(&mut self, minute: i64) -> bool {
        let day = minute.div_euclid(1440);
        if day != self.day {
            self.day = day;
            self.has_day = self.pattern.has_day(date(1970, 1, 1).checked_add(day.days()).unwrap());
        }
        let minute = minute.rem_euclid(1440);
        self.has_day
            && self.pattern.minutes.has((minute % 60).try_into().unwrap())
            && self.pattern.hours.has((minute / 60).try_into().unwrap())
    }
}

/// Every instant in the range at which the pattern happens, by looking at every minute of it.
fn walk(zone: &TimeZone, pattern: &Pattern, from: i64, to: i64) -> Vec<Timestamp> {
    let mut today = Today { pattern, day: i64::MIN, has_day: false };
    let mut runs = Vec::new();
    let mut offset = 0;
    // The furthest local minute that the clock has shown.
    let mut shown = i64::MAX;
    for minute in from..to {
        // No zone changes its offset between quarters of an hour.
        if minute % 15 == 0 || minute == from {
            offset = i64::from(zone.to_offset(Timestamp::from_second(minute * 60).unwrap()).seconds()) / 60;
        }
        let local = minute + offset;
        // A minute shown for the first time, and those that the clock has just skipped.
        let skipped_or_new = shown.saturating_add(1).min(local)..=local;
        let repeated = shown != i64::MAX && local <= shown;
        if !repeated && skipped_or_new.into_iter().any(|minute| today.has(minute)) {
            runs.push(Timestamp::from_second(minute * 60).unwrap());
        }
        shown = if shown == i64::MAX { local } else { shown.max(local) };
    }
    runs
}

const PATTERNS: &[&str] = &[
    "0 2 * * 0",
    "30 2 * * *",
    "30 1 * * *",
    "15 0 * * *",
    "0 0 1 * *",
    "*/30 0-4,23 * * *",
    "17 */6 * * *",
    "*/20 0-3 * * 0,6",
    "0 2 1 1,4,7,10 *",
    "0 9 1 * 1",
    "0 12 29 2 *",
    "59 23 31 * *",
];

/// Our schedules and the walker come to the same instants between the two days, in both directions.
fn agree(zone: &str, from: Date, to: Date) {
    let tz = TimeZoneDatabase::bundled().get(zone).unwrap();
    let minute = |day: Date| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap().as_second() / 60;
    let (first, end) = (Timestamp::from_second(minute(from) * 60).unwrap(), Timestamp::from_second(minute(to) * 60).unwrap());
    let second = SignedDuration::from_secs(1);
    for text in PATTERNS {
        let expected = walk(&tz, &Pattern::read(text), minute(from), minute(to));
        let schedule = Schedule::parse(text, Some(zone)).unwrap();
        let mut at = first - second;
        let mut seen = Vec::new();
        while let Some(next) = schedule.next_after(at).filter(|next| *next < end) {
            seen.push(next);
            at = next;
        }
        assert_eq!(seen, expected, "{text} in {zone}, forwards");
        for pair in expected.windows(2) {
            assert_eq!(schedule.previous_or_at(pair[0]), Some(pair[0]), "{text} in {zone} at {}", pair[0]);
            assert_eq!(schedule.previous_or_at(pair[1] - second), Some(pair[0]), "{text} in {zone} before {}", pair[1]);
        }
    }
}

#[test]
fn agrees_with_a_minute_walker_in_zones_north() {
    for zone in ["UTC", "Europe/Berlin", "Europe/London", "America/New_York"] {
        agree(zone, date(2023, 12, 20), date(2025, 1, 5));
    }
}

#[test]
fn agrees_with_a_minute_walker_in_zones_with_odd_jumps() {
    // Half an hour of daylight saving; jumps at midnight; a pause of daylight saving in Ramadan; quarters of an hour.
    for zone in ["Australia/Lord_Howe", "Africa/Cairo", "America/Santiago", "Africa/Casablanca", "Asia/Kathmandu"] {
        agree(zone, date(2023, 12, 20), date(2025, 1, 5));
    }
}

#[test]
fn agrees_with_a_minute_walker_where_a_whole_day_was_skipped() {
    agree("Pacific/Apia", date(2011, 12, 1), date(2012, 2, 1));
}

#[test]
fn agrees_with_a_minute_walker_where_a_whole_day_was_repeated() {
    agree("Pacific/Kwajalein", date(1969, 9, 1), date(1969, 11, 1));
}

/// The walker itself must be able to disagree: two schedules that differ by a minute do.
#[test]
fn walker_tells_schedules_apart() {
    let (from, to) = (28_400_000, 28_500_000);
    let ours = walk(&TimeZone::UTC, &Pattern::read("30 2 * * *"), from, to);
    let other = walk(&TimeZone::UTC, &Pattern::read("31 2 * * *"), from, to);
    assert!(ours.len() > 60);
    assert_ne!(ours, other);
}
