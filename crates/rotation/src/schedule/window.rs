//! Maintenance windows: the hours in which rotations may start.
//!
//! A window never stops a rotation that has started; it only keeps one from starting outside it.

use super::{ScheduleError, local};
use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use std::fmt;

/// Far enough to meet every weekday twice: a daylight saving jump may swallow one opening whole.
const DAYS_AHEAD: i32 = 14;

const MINUTES_PER_DAY: i32 = 24 * 60;

/// Hours of some weekdays, in a time zone. One that passes midnight belongs to the day on which it opens.
#[derive(Clone, Debug)]
pub struct Window {
    spec: String,
    /// Whether it opens on each weekday, Monday first.
    days: [bool; 7],
    /// Minutes after the opening day's midnight.
    opens: i32,
    /// Minutes after the same midnight; more than a day's worth where it passes midnight.
    closes: i32,
    zone: TimeZone,
}

impl Window {
    /// Reads `Sat,Sun 01:00-05:00`, `Mon-Fri 22:00-04:00`, or `01:00-05:00` for every day; `24:00` is the day's end.
    /// UTC unless a zone is named. A moment that the clock skips opens or closes it right after, one that it repeats at
    /// the first time.
    pub fn parse(spec: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let fault = |why: String| ScheduleError::Window { spec: spec.to_owned(), why };
        let fields: Vec<&str> = spec.split_whitespace().collect();
        let (days, hours) = match fields.as_slice() {
            [hours] => ([true; 7], *hours),
            [days, hours] => (parse_days(days).map_err(fault)?, *hours),
            _ => return Err(fault(format!("it has {} parts: days and hours are needed", fields.len()))),
        };
        let (opens, closes) = hours.split_once('-').ok_or_else(|| fault(format!("`{hours}` names no end")))?;
        let opens = parse_minute(opens).map_err(fault)?;
        let closes = parse_minute(closes).map_err(fault)?;
        if opens == closes {
            return Err(fault("it closes as it opens (write 00:00-24:00 for the whole day)".to_owned()));
        }
        let closes = if closes < opens { closes + MINUTES_PER_DAY } else { closes };
        Ok(Self { spec: fields.join(" "), days, opens, closes, zone: local::zone(zone)? })
    }

    /// Whether a rotation may start now.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.next_open(at) == Some(at)
    }

    /// The first moment, now or later, at which a rotation may start; `None` only at the end of time.
    pub fn next_open(&self, at: Timestamp) -> Option<Timestamp> {
        self.next_opening(at).map(|(from, _)| from)
    }

    /// What is left of the opening that lasts at this moment, or else the next one: from when, up to but not including when.
    pub fn next_opening(&self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let today = self.zone.to_datetime(at).date();
        // Yesterday's opening may still last.
        (-1..=DAYS_AHEAD).find_map(|days| {
            let (opens, closes) = self.on(today.checked_add(days.days()).ok()?)?;
            (at < closes).then(|| (opens.max(at), closes))
        })
    }

    /// The opening that begins on this day: from when, up to but not including when.
    fn on(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        if !self.days[weekday_index(day.weekday())] {
            return None;
        }
        let at = |minutes: i32| {
            let local = day.to_datetime(Time::midnight()).checked_add(Span::new().minutes(minutes)).ok()?;
            local::instant(&self.zone, local)
        };
        let (opens, closes) = (at(self.opens)?, at(self.closes)?);
        (opens < closes).then_some((opens, closes))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.spec, self.zone.iana_name().unwrap_or("UTC"))
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// Days by English three-letter names: lists and ranges, which may pass Sunday.
fn parse_days(spec: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for part in spec.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_day(first)?, parse_day(last)?);
        let length = (last + 7 - first) % 7;
        (first..=first + length).for_each(|day| days[day % 7] = true);
    }
    Ok(days)
}

fn parse_day(name: &str) -> Result<usize, String> {
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let position = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known));
    position.ok_or_else(|| format!("`{name}` is not a day (Mon, Tue, Wed, Thu, Fri, Sat, Sun)"))
}

fn parse_minute(clock: &str) -> Result<i32, String> {
    let fault = || format!("`{clock}` is not a time from 00:00 to 24:00");
    let (hour, minute) = clock.split_once(':').ok_or_else(fault)?;
    let two_digits = |part: &str| (part.len() == 2).then(|| part.parse::<u8>().ok()).flatten().map(i32::from).ok_or_else(fault);
    let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
    let minutes = hour * 60 + minute;
    if minute > 59 || minutes > MINUTES_PER_DAY { Err(fault()) } else { Ok(minutes) }
}

fn weekday_index(day: Weekday) -> usize {
    usize::from(day.to_monday_zero_offset().unsigned_abs())
}
