//! How times, numbers and texts stand in a row.
//!
//! It never fails: what does not fit is brought to the nearest that does.

use crate::MAX_TEXT;
use jiff::Timestamp;

/// A time as a column: microseconds since 1970.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// A column as a time.
pub(super) fn at(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// A count as a column; SQLite's integers end at 2^63 - 1.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A free text as a column.
pub(super) fn cut(text: &str) -> &str {
    text.char_indices().nth(MAX_TEXT).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
