//! Durations as people write them: `90s`, `5m`, `24h`, `5d`, `1h30m`. It never guesses a unit.

use std::fmt::Write;
use std::time::Duration;

/// Longer than any schedule, short enough that adding it to a time never overflows.
const LONGEST: Duration = Duration::from_hours(24 * 3_660);

const UNITS: [(&str, u64); 6] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// A duration above zero, at most ten years; else the end of a sentence on what is wrong.
pub fn parse(text: &str) -> Result<Duration, String> {
    let cure = || format!("must be a duration such as \"90s\", \"5m\", \"24h\" or \"5d\", not \"{text}\"");
    let mut milliseconds: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(cure());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() && !number.is_empty() {
            return Err(format!("needs a unit: \"{number}s\", \"{number}m\", \"{number}h\" or \"{number}d\""));
        }
        let number: u64 = number.parse().map_err(|_| cure())?;
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(cure)?;
        milliseconds = number.checked_mul(*size).and_then(|part| milliseconds.checked_add(part)).ok_or_else(cure)?;
        rest = tail;
    }
    match Duration::from_millis(milliseconds) {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        long if long > LONGEST => Err("must be at most ten years".to_owned()),
        duration => Ok(duration),
    }
}

/// As people write it: the largest units first, nothing lost down to milliseconds.
pub fn show(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    // Weeks are read but not written: people compare days.
    for (unit, size) in UNITS.iter().rev().filter(|(unit, _)| *unit != "w") {
        if left >= *size {
            let _ = write!(text, "{}{unit}", left / size); // a String takes everything
            left %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_written_back() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("24h", 86_400), ("5d", 432_000), ("1w", 604_800), ("1h30m", 5_400)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        for (text, shown) in [("90s", "1m30s"), ("24h", "1d"), ("8d", "8d"), ("1w", "7d"), ("1500ms", "1s500ms")] {
            assert_eq!(parse(text).map(show), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for bad in ["", "5", "h", "5y", "-5m", "5 m", "1.5h", "0s", "99999999999999999999s", "4000d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
