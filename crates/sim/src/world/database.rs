//! A PostgreSQL server with its fence: roles, passwords, replicas that lag behind.

use crate::Millis;
use keyward_engine::ports::{FenceAnswer, FencePhase};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// A row of the fence: (secret, number, phase, rotation).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) secret: String,
    pub(crate) number: u64,
    pub(crate) phase: FencePhase,
    pub(crate) rotation: String,
}

/// A role: its passwords since when, the newest last, and its row of the fence.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    passwords: Vec<(Millis, String)>,
    pub(crate) fence: Option<Fence>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Database {
    roles: BTreeMap<String, Role>,
    /// How far the replica is behind; zero where there is none.
    pub(crate) lag: Millis,
    /// A policy that somebody switched on: a password set through the fence is taken, and then not let in.
    pub(crate) bars_candidates: bool,
}

impl Database {
    /// What there is to be seen. Values that nobody knows are all the same: they let nobody in.
    pub(crate) fn digest(&self, is_known: impl Fn(&str) -> bool, into: &mut impl Hasher) {
        self.bars_candidates.hash(into);
        for (name, role) in &self.roles {
            let password = role.passwords.last().map(|(_, password)| password.as_str()).filter(|password| is_known(password));
            let fence = role.fence.as_ref().map(|f| (&f.secret, f.number, f.phase as u8, &f.rotation));
            (name, password, fence).hash(into);
        }
    }

    pub(crate) fn create(&mut self, role: &str, password: &str) {
        self.roles.insert(role.to_owned(), Role { passwords: vec![(0, password.to_owned())], fence: None });
    }

    pub(crate) fn password(&self, role: &str) -> Option<&str> {
        self.roles.get(role)?.passwords.last().map(|(_, password)| password.as_str())
    }

    pub(crate) fn fence(&self, role: &str) -> Option<&Fence> {
        self.roles.get(role)?.fence.as_ref()
    }

    pub(crate) fn set_password(&mut self, now: Millis, role: &str, password: &str) {
        if let Some(role) = self.roles.get_mut(role) {
            role.passwords.push((now, password.to_owned()));
        }
    }

    /// Whether the primary lets this login in.
    pub(crate) fn lets_in(&self, user: &str, password: &str) -> bool {
        let barred = self.bars_candidates && self.fence(user).is_some_and(|f| f.phase == FencePhase::Apply);
        self.password(user) == Some(password) && !barred
    }

    /// Whether the replica, which knows only what was true a while ago, does.
    pub(crate) fn replica_lets_in(&self, now: Millis, user: &str, password: &str) -> bool {
        let known = now.saturating_sub(self.lag);
        let old = self.roles.get(user).and_then(|r| r.passwords.iter().rev().find(|(since, _)| *since <= known));
        old.is_some_and(|(_, p)| p == password)
    }

    /// The function `keyward.apply`: fence and change in one transaction.
    pub(crate) fn apply(&mut self, now: Millis, role: &str, asked: Fence, password: &str) -> Option<FenceAnswer> {
        let row = self.roles.get_mut(role)?;
        if let Some(held) = &row.fence {
            if held.secret != asked.secret {
                return Some(FenceAnswer::Foreign { secret: held.secret.clone() });
            }
            let passes = (asked.number, asked.phase) > (held.number, held.phase) || asked == *held;
            if !passes {
                return Some(FenceAnswer::Fenced { number: held.number });
            }
        }
        row.fence = Some(asked);
        row.passwords.push((now, password.to_owned()));
        Some(FenceAnswer::Applied)
    }

    /// Forgets the fence's row of a role: what a missing fence amounts to.
    pub(crate) fn lift_fence(&mut self, role: &str) {
        if let Some(role) = self.roles.get_mut(role) {
            role.fence = None;
        }
    }
}
