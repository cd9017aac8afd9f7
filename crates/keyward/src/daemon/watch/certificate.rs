//! How long a node's certificate still serves. It never judges the issuer: the TLS library has done so.

use jiff::{SignedDuration, Timestamp};
use keyward_alert::Severity;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Told from here on, at the latest when a third of its life is left: short-lived certificates are renewed late by design.
const WARNING: SignedDuration = SignedDuration::from_hours(21 * 24);
/// Urgent from here on, at the latest when a tenth of its life is left.
const CRITICAL: SignedDuration = SignedDuration::from_hours(3 * 24);

/// A certificate's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: Timestamp,
    /// Not after.
    pub until: Timestamp,
}

impl Validity {
    /// Reads it from a certificate (DER); `None` for what is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
        Some(Self { from: at(certificate.validity().not_before)?, until: at(certificate.validity().not_after)? })
    }

    /// What is left; negative when it is over.
    pub fn left(&self, now: Timestamp) -> SignedDuration {
        self.until.duration_since(now)
    }

    /// How bad it is; `None` while there is time.
    pub fn alarm(&self, now: Timestamp) -> Option<Severity> {
        let life = self.until.duration_since(self.from);
        let left = self.left(now);
        if left < CRITICAL.min(life / 10) {
            Some(Severity::Critical)
        } else if left < WARNING.min(life / 3) {
            Some(Severity::Warning)
        } else {
            None
        }
    }

    /// What is left, for people.
    pub fn left_words(&self, now: Timestamp) -> String {
        let left = self.left(now);
        if left.is_negative() {
            "it has ended".to_owned()
        } else if left < DAY * 2 {
            format!("{} hours are left", left.as_hours())
        } else {
            format!("{} days are left", left.as_hours() / 24)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_scales_with_a_short_life() {
        let hour = |hours: i64| Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MAX);
        let rows = [
            (365 * 24, 22 * 24, None),
            (365 * 24, 20 * 24, Some(Severity::Warning)),
            (365 * 24, 2 * 24, Some(Severity::Critical)),
            (365 * 24, -1, Some(Severity::Critical)),
            (24, 9, None),
            (24, 7, Some(Severity::Warning)),
            (24, 2, Some(Severity::Critical)),
        ];
        for (life, left, alarm) in rows {
            let validity = Validity { from: hour(0), until: hour(life) };
            assert_eq!(validity.alarm(hour(life - left)), alarm, "{left} of {life} hours");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_life() {
        assert_eq!(Validity::of(b"no certificate"), None);
    }
}
