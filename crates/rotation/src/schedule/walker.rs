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
pub(crate) struct Pattern {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
    either: bool,
}

impl Pattern {
    pub(crate) fn read(text: &str) -> Self {
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
    has_day: bool,
    has_minute: Vec<bool>,
}

impl<'a> Today<'a> {
    fn new(pattern: &'a Pattern) -> Self {
        let has = |minute: i8, hour: i8| pattern.minutes.has(minute) && pattern.hours.has(hour);
        let has_minute = (0..24).flat_map(|hour| (0..60).map(move |minute| (minute, hour))).map(|(m, h)| has(m, h)).collect();
        Self { pattern, has_day: false, has_minute }
    }
}

/// Every instant in the range at which each of the patterns happens, by looking at every minute of it.
pub(crate) fn walk(zone: &TimeZone, patterns: &[Pattern], from: i64, to: i64) -> Vec<Vec<Timestamp>> {
    let mut days: Vec<Today<'_>> = patterns.iter().map(Today::new).collect();
    let mut runs = vec![Vec::new(); patterns.len()];
    let (mut offset, mut today) = (0, i64::MIN);
    // The furthest local minute that the clock has shown; `local` counts them from 1 January 1970 as if there were no zones.
    let mut shown = i64::MAX;
    for minute in from..to {
        // No zone changes its offset between quarters of an hour.
        if minute % 15 == 0 || minute == from {
            offset = i64::from(zone.to_offset(Timestamp::from_second(minute * 60).unwrap()).seconds()) / 60;
        }
        let local = minute + offset;
        let repeated = shown != i64::MAX && local <= shown;
        if repeated {
            continue;
        }
        // A minute shown for the first time, and those that the clock has just skipped.
        for minute_of_clock in shown.saturating_add(1).min(local)..=local {
            let (day, minute_of_day) = (minute_of_clock.div_euclid(1440), minute_of_clock.rem_euclid(1440));
            if day != today {
                today = day;
                let date = date(1970, 1, 1).checked_add(day.days()).unwrap();
                for day in &mut days {
                    day.has_day = day.pattern.has_day(date);
                }
            }
            for (day, runs) in days.iter().zip(&mut runs) {
                let now = Timestamp::from_second(minute * 60).unwrap();
                if day.has_day && day.has_minute[usize::try_from(minute_of_day).unwrap()] && runs.last() != Some(&now) {
                    runs.push(now);
                }
            }
        }
        shown = local;
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

/// Minutes since 1970 at this day's beginning in UTC.
pub(crate) fn minute_of(day: Date) -> i64 {
    TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap().as_second() / 60
}

/// Our schedules and the walker come to the same instants between the two days, in both directions.
fn agree(zone: &str, from: Date, to: Date) {
    let tz = TimeZoneDatabase::bundled().get(zone).unwrap();
    let (first, end) = (Timestamp::from_second(minute_of(from) * 60).unwrap(), Timestamp::from_second(minute_of(to) * 60).unwrap());
    let second = SignedDuration::from_secs(1);
    let patterns: Vec<Pattern> = PATTERNS.iter().map(|text| Pattern::read(text)).collect();
    let all = walk(&tz, &patterns, minute_of(from), minute_of(to));
    for (text, expected) in PATTERNS.iter().zip(all) {
        let schedule = Schedule::parse(text, Some(zone)).unwrap();
        let mut at = first - second;
        let mut seen = Vec::new();
        while let Some(next) = schedule.next_after(at).filter(|next| *next < end) {
            seen.push(next);
            at = next;
        }
        assert_eq!(seen, expected, "{text} in {zone}, forwards");
        for (index, pair) in expected.windows(2).enumerate() {
            // Backwards is as slow as forwards: everywhere near a jump of the clock, and a sample of the rest.
            if index % 23 != 0 && !jumps_near(&tz, pair[0]) {
                continue;
            }
            assert_eq!(schedule.previous_or_at(pair[0]), Some(pair[0]), "{text} in {zone} at {}", pair[0]);
            assert_eq!(schedule.previous_or_at(pair[1] - second), Some(pair[0]), "{text} in {zone} before {}", pair[1]);
        }
    }
}

/// Whether the zone changes its offset within two days of this moment.
fn jumps_near(zone: &TimeZone, at: Timestamp) -> bool {
    let around = SignedDuration::from_hours(48);
    zone.to_offset(at - around) != zone.to_offset(at + around)
}

/// Ten years with three leap days (2020, 2024, 2028), and every jump of the zone in them, both ways.
fn agree_for_ten_years(zone: &str) {
    agree(zone, date(2019, 12, 20), date(2029, 12, 31));
}

// One test per zone, so that they run beside each other.

#[test]
fn agrees_with_a_minute_walker_for_ten_years_in_utc() {
    agree_for_ten_years("UTC");
}

#[test]
fn agrees_with_a_minute_walker_for_ten_years_in_berlin() {
    agree_for_ten_years("Europe/Berlin");
}

#[test]
fn agrees_with_a_minute_walker_for_ten_years_in_new_york() {
    agree_for_ten_years("America/New_York");
}

/// Half an hour of daylight saving.
#[test]
fn agrees_with_a_minute_walker_for_ten_years_on_lord_howe() {
    agree_for_ten_years("Australia/Lord_Howe");
}

/// Daylight saving was given up and taken up again; jumps at midnight.
#[test]
fn agrees_with_a_minute_walker_for_ten_years_in_cairo() {
    agree_for_ten_years("Africa/Cairo");
}

/// Jumps at midnight, southern summers.
#[test]
fn agrees_with_a_minute_walker_for_ten_years_in_santiago() {
    agree_for_ten_years("America/Santiago");
}

/// A pause of daylight saving in Ramadan: four jumps a year.
#[test]
fn agrees_with_a_minute_walker_for_ten_years_in_casablanca() {
    agree_for_ten_years("Africa/Casablanca");
}

/// Quarters of an hour, and no jumps.
#[test]
fn agrees_with_a_minute_walker_for_ten_years_in_kathmandu() {
    agree_for_ten_years("Asia/Kathmandu");
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
    let both = walk(&TimeZone::UTC, &[Pattern::read("30 2 * * *"), Pattern::read("31 2 * * *")], from, to);
    assert!(both[0].len() > 60);
    assert_ne!(both[0], both[1]);
}
