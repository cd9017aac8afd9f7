//! When to log in, renew and look again. Pure: what happened and how long things last go in, waits and verdicts come out.

use keyward_vault::{Kind, TokenInfo};
use std::time::Duration;

/// Between two looks at our own token. Each leaves a line of ours in the audit log, so that silence there means something.
pub const LOOK: Duration = Duration::from_mins(1);
/// No renewal or login follows another sooner, however short a token's life.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest wait for a Vault that does not answer.
const LONGEST_ABSENCE: Duration = Duration::from_secs(15);
/// After a refused login. Vault locks an AppRole after five refusals, each within 15 minutes of the one before; growing fourfold from
/// here, the waits are longer than that before the fifth.
const FIRST_REFUSAL: Duration = Duration::from_mins(1);
const LONGEST_REFUSAL: Duration = Duration::from_mins(30);

/// Why a login or renewal did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Vault cannot answer now; its nodes' watch tells of that.
    Absent,
    /// The token's or ids' place holds none, or Vault answered something that a person has to look at.
    Wrong,
    /// Vault refused.
    Refused,
}

impl Trouble {
    /// Of a failed call.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Denied | Kind::Invalid => Self::Refused,
            Kind::NotFound | Kind::Conflict => Self::Wrong,
            Kind::Unreachable
            | Kind::Timeout
            | Kind::Sealed
            | Kind::Uninitialised
            | Kind::Standby
            | Kind::RateLimited
            | Kind::Tls
            | Kind::Internal => Self::Absent,
        }
    }

    /// How long to wait after the `attempts`-th failure in a row (from 1). A token that is only looked up locks nothing, so its place is
    /// looked at every minute.
    pub fn pause(self, attempts: u32, approle: bool) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        match self {
            Self::Absent | Self::Wrong => (SHORTEST * 2_u32.pow(doublings)).min(LONGEST_ABSENCE),
            Self::Refused if approle => (FIRST_REFUSAL * 4_u32.pow(doublings.min(8))).min(LONGEST_REFUSAL),
            Self::Refused => FIRST_REFUSAL,
        }
    }
}

/// A token's life as last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// What was left then; `None`: it never ends.
    pub left: Option<Duration>,
    /// What a fresh one has.
    pub full: Duration,
    /// Whether renewal can prolong it.
    pub renewable: bool,
}

impl Life {
    /// As Vault tells it.
    pub fn of(info: &TokenInfo) -> Self {
        let left = (!info.never_expires()).then_some(info.ttl);
        Self { left, full: info.period.unwrap_or(info.creation_ttl).max(info.ttl), renewable: info.renewable }
    }

    /// When to renew it, or to replace it where it cannot be renewed: at two thirds of what is left.
    pub fn renew_after(&self) -> Option<Duration> {
        self.left.map(|left| crate::session::renew_after(left).unwrap_or_default().max(SHORTEST))
    }

    /// Whether so much being left is little: less than a third of a fresh one's life.
    pub fn is_short(&self, left: Duration) -> bool {
        left < self.full / 3
    }

    /// Whether renewals come to their end: the last one gave less than half of a fresh token's life.
    pub fn is_worn(&self) -> bool {
        self.left.is_some_and(|left| left < self.full / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_that_is_away_is_asked_soon_and_one_that_refuses_is_left_alone() {
        let waits = |trouble: Trouble, approle| (1..=6).map(|n| trouble.pause(n, approle).as_secs()).collect::<Vec<_>>();
        assert_eq!(waits(Trouble::Absent, true), [1, 2, 4, 8, 15, 15]);
        assert_eq!(waits(Trouble::Wrong, false), [1, 2, 4, 8, 15, 15]);
        assert_eq!(waits(Trouble::Refused, true), [60, 240, 960, 1800, 1800, 1800]);
        assert_eq!(waits(Trouble::Refused, false), [60; 6]);
        assert_eq!(Trouble::Refused.pause(u32::MAX, true), LONGEST_REFUSAL);
    }

    #[test]
    fn refused_logins_never_lock_a_role() {
        // Vault: five refusals lock; a quiet quarter of an hour forgets them.
        let (mut counted, mut most) = (0, 0);
        for attempt in 1..=50 {
            counted += 1;
            most = most.max(counted);
            if Trouble::Refused.pause(attempt, true) > Duration::from_mins(15) {
                counted = 0;
            }
        }
        assert!(most < 5, "{most}");
    }

    #[test]
    fn a_life_is_renewed_at_two_thirds_and_judged_by_thirds() {
        let seconds = Duration::from_secs;
        let fresh = Life { left: Some(seconds(90)), full: seconds(90), renewable: true };
        assert_eq!(fresh.renew_after(), Some(seconds(60)));
        assert!(!fresh.is_worn() && !fresh.is_short(seconds(30)) && fresh.is_short(seconds(29)));
        assert!(Life { left: Some(seconds(44)), ..fresh }.is_worn());
        assert_eq!(Life { left: Some(Duration::ZERO), ..fresh }.renew_after(), Some(SHORTEST));
        let endless = Life { left: None, full: Duration::ZERO, renewable: false };
        assert!(endless.renew_after().is_none() && !endless.is_worn());
    }
}
