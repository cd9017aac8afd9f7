//! The times of entries, as the servers write them. Never a zone, never a clock.

use jiff::Timestamp;

/// Days before each month of a year that is no leap year.
const DAYS_BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// Reads `2026-11-23T19:14:14.905208966Z`, with no fraction or one of up to nine digits. Whatever is written otherwise is left to `jiff`.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    usual(text.as_bytes()).or_else(|| text.parse().ok())
}

fn usual(text: &[u8]) -> Option<Timestamp> {
    let (whole, fraction) = text.strip_suffix(b"Z")?.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2] = *whole else { return None };
    let year = number(&[y1, y2, y3, y4])?;
    let [month, day, hour, minute, second] = [[m1, m2], [d1, d2], [h1, h2], [n1, n2], [s1, s2]].map(|digits| number(&digits));
    let (month, day, hour, minute, second) = (month?, day?, hour?, minute?, second?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let index = usize::try_from(month).ok()?;
    let before = *DAYS_BEFORE.get(index.checked_sub(1)?)?;
    let days_in_month = DAYS_BEFORE.get(index)? - before + i64::from(leap && month == 2);
    if year < 1970 || !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let years = year - 1;
    let days = 365 * year + years / 4 - years / 100 + years / 400 + before + i64::from(leap && month > 2) + day - 1;
    let seconds = (((days - DAYS_TO_1970) * 24 + hour) * 60 + minute) * 60 + second;
    Timestamp::new(seconds, nanoseconds(fraction)?).ok()
}

/// Days of the years before 1970, counted as above.
const DAYS_TO_1970: i64 = 365 * 1970 + 1969 / 4 - 1969 / 100 + 1969 / 400;

fn nanoseconds(fraction: &[u8]) -> Option<i32> {
    let digits = match fraction {
        [] => return Some(0),
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => digits,
        _ => return None,
    };
    let missing = u32::try_from(9 - digits.len()).ok()?;
    i32::try_from(number(digits)? * 10_i64.pow(missing)).ok()
}

fn number(digits: &[u8]) -> Option<i64> {
    let mut number = 0;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        number = number * 10 + i64::from(value);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_reads_what_the_servers_write() {
        for text in ["2026-11-23T19:14:14.905208966Z", "1970-01-01T00:00:00Z", "2000-02-29T23:59:59.1Z", "9999-12-30T22:00:00.000000001Z"] {
            assert_eq!(usual(text.as_bytes()), text.parse().ok(), "{text}");
            assert!(usual(text.as_bytes()).is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_never_reads_anything_else_than_jiff(
            text in "[12][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?(Z|z|\\+01:00|)"
        ) {
            if let Some(time) = usual(text.as_bytes()) {
                prop_assert_eq!(Some(time), text.parse().ok());
            }
        }

        #[test]
        fn it_reads_every_time_since_1970(seconds in 0..253_370_000_000_i64, nanoseconds in 0..1_000_000_000_i32) {
            let time = Timestamp::new(seconds, nanoseconds).unwrap_or_default();
            prop_assert_eq!(usual(time.to_string().as_bytes()), Some(time));
        }
    }
}
