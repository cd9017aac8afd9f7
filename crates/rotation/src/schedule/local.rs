//! From local time to the one instant at which it happens.
//!
//! Skipped local times happen at the end of the gap, repeated ones the first time. So the function never decreases as
//! local time grows, which is what lets the searches in [`super::cron`] stop at the first hit.

use super::ScheduleError;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

/// The zone of that name, from the rules built into the program; UTC without one.
pub fn zone(name: Option<&str>) -> Result<TimeZone, ScheduleError> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    TimeZoneDatabase::bundled().get(name).map_err(|_| ScheduleError::Zone { zone: name.to_owned() })
}

/// The instant at which this local time happens; `None` outside the years that timestamps cover.
pub fn instant(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            // Read with the offset after the gap, a skipped time lies before the jump; the jump itself is what follows.
            let before_jump = after.to_timestamp(local).ok()?;
            zone.following(before_jump).next().map(|jump| jump.timestamp())
        }
    }
}

/// The latest local time that may already have happened at this instant, in whole seconds: the clock's reading, or,
/// while the clock repeats itself, the end of what it repeats.
pub fn latest_local(zone: &TimeZone, at: Timestamp) -> Option<DateTime> {
    let local = whole_second(zone, at)?;
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Fold { before, after } => local.checked_add(before.duration_since(after)).ok(),
        _ => Some(local),
    }
}

/// The clock's reading at this instant, in whole seconds.
pub fn whole_second(zone: &TimeZone, at: Timestamp) -> Option<DateTime> {
    zone.to_datetime(at).with().subsec_nanosecond(0).build().ok()
}
