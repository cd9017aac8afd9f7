//! The step tables: what a rotation of each kind does, in order, and what undoes it.
//!
//! A table is read from top to bottom. The **pivot** is the step after which only forward is possible; before it a
//! failure rolls back. Steps before [`Step::Stage`] change nothing anywhere.

mod issued;
mod postgres;
mod redis;
mod value;
mod vault;

pub use issued::{APPROLE_SECRET_ID, APPROLE_SECRET_ID_FILE, EXEC, HTTP_API_KEY};
pub use postgres::{POSTGRES_PASSWORD, POSTGRES_TWO_USERS};
pub use redis::REDIS_PASSWORD;
pub use value::{JWT_HMAC, JWT_KEYPAIR, MANUAL, RANDOM, RECONCILE, TEND};
pub use vault::{TRANSIT_KEY, VAULT_DYNAMIC_LEASE, VAULT_ROOT_ROTATE, VAULT_ROOT_SET, VAULT_STATIC_ROLE, VAULT_STATIC_ROLE_COPIED};

/// One step of a rotation. What it means for a kind is said where the kind is implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// See that everything this rotation will need is there and that its proofs can mean something.
    Preflight,
    /// See that what is about to be changed is used by nobody; else the rotation is deferred.
    Gate,
    /// Write the candidate into the record: from here on it cannot be lost, and nobody else may act.
    Stage,
    /// Have the system that makes the value make one, under the label that was staged, and write it into the record.
    Issue,
    /// Make the target accept the candidate.
    Apply,
    /// Have Vault's own engine make a new password for its static role, or a new version of its key.
    Rotate,
    /// Hand the candidate to the one who logs in with it.
    Handover,
    /// Let those who verify know the new value first, and see that they can read it.
    Announce,
    /// Log in with the candidate, over the consumers' own way, and do what they do.
    Verify,
    /// PATCH the named fields of the published secret, with check-and-set on the version seen at stage.
    Publish,
    /// Read back what consumers will read and log in with that.
    Confirm,
    /// Write the outcome into the record and destroy the versions that held values.
    Finish,
}

impl Step {
    /// The name in logs, metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Gate => "gate",
            Self::Stage => "stage",
            Self::Issue => "issue",
            Self::Apply => "apply",
            Self::Rotate => "rotate",
            Self::Handover => "handover",
            Self::Announce => "announce",
            Self::Verify => "verify",
            Self::Publish => "publish",
            Self::Confirm => "confirm",
            Self::Finish => "finish",
        }
    }
}

/// What takes a step back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// The kind has an act that undoes it.
    Action,
    /// It left nothing that would need undoing.
    Nothing,
    /// It cannot be undone: the pivot.
    Impossible,
}

/// One row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is done.
    pub step: Step,
    /// What takes it back.
    pub undo: Undo,
    /// The row in words, for `rotate --dry-run` and the docs.
    pub says: &'static str,
}

const fn row(step: Step, undo: Undo, says: &'static str) -> Row {
    Row { step, undo, says }
}

/// The steps of one kind of rotation.
#[derive(Debug)]
pub struct Table {
    /// The kind's name, as in the configuration.
    pub kind: &'static str,
    /// The steps in order. **Invariant** (tested): one `Stage`, one pivot behind it, `Finish` last.
    pub rows: &'static [Row],
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}
impl Eq for Table {}

impl Table {
    /// The step behind `step`; `None` behind the last, or for a step that the table lacks.
    pub fn after(&self, step: Step) -> Option<Step> {
        let at = self.rows.iter().position(|r| r.step == step)?;
        self.rows.get(at + 1).map(|r| r.step)
    }

    /// The step after which only forward is possible.
    pub fn pivot(&self) -> Option<Step> {
        self.rows.iter().find(|r| r.undo == Undo::Impossible).map(|r| r.step)
    }

    /// Whether `step` stands before `Stage`, so that its failure leaves nothing behind.
    pub fn is_before_stage(&self, step: Step) -> bool {
        self.rows.iter().map(|r| r.step).take_while(|s| *s != Step::Stage).any(|s| s == step)
    }

    /// Whether `step` stands behind the pivot, so that its failure can only be answered by going on.
    pub fn is_past_pivot(&self, step: Step) -> bool {
        self.rows.iter().map(|r| r.step).skip_while(|s| Some(*s) != self.pivot()).skip(1).any(|s| s == step)
    }

    /// The last step with an undo of its own that stands before `before` (before the end when `None`).
    pub fn last_undoable(&self, before: Option<Step>) -> Option<Step> {
        self.rows.iter().take_while(|r| Some(r.step) != before).filter(|r| r.undo == Undo::Action).map(|r| r.step).last()
    }

    /// Whether the decision between forward and back is made by a race on a published path.
    pub fn has_race(&self) -> bool {
        self.pivot() == Some(Step::Publish)
    }
}

/// Every table, for tests, docs and metrics.
pub static TABLES: &[&Table] = &[
    &POSTGRES_PASSWORD,
    &POSTGRES_TWO_USERS,
    &VAULT_STATIC_ROLE,
    &VAULT_STATIC_ROLE_COPIED,
    &VAULT_DYNAMIC_LEASE,
    &VAULT_ROOT_SET,
    &VAULT_ROOT_ROTATE,
    &REDIS_PASSWORD,
    &MANUAL,
    &RANDOM,
    &JWT_HMAC,
    &JWT_KEYPAIR,
    &HTTP_API_KEY,
    &EXEC,
    &APPROLE_SECRET_ID,
    &APPROLE_SECRET_ID_FILE,
    &TRANSIT_KEY,
    &TEND,
    &RECONCILE,
];

#[cfg(test)]
mod tests {
    use super::Step::{Announce, Apply, Finish, Issue, Stage};
    use super::Undo::{Action, Impossible};
    use super::*;

    #[test]
    fn every_table_stages_once_turns_once_and_finishes_last() {
        for table in TABLES {
            let steps: Vec<Step> = table.rows.iter().map(|r| r.step).collect();
            let stage = steps.iter().position(|s| *s == Stage);
            let pivot = steps.iter().position(|s| Some(*s) == table.pivot());
            assert!(stage < pivot && stage.is_some(), "{}", table.kind);
            assert_eq!(steps.last(), Some(&Finish), "{}", table.kind);
            assert_eq!(table.rows.iter().filter(|r| r.undo == Impossible).count(), 1, "{}", table.kind);
            let mut unique = steps.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), steps.len(), "{}: a step twice", table.kind);
            assert!(steps.len() <= 10, "{}", table.kind);
        }
    }

    #[test]
    fn what_touches_a_target_before_the_pivot_can_be_undone() {
        for table in TABLES {
            for r in table.rows.iter().filter(|r| matches!(r.step, Issue | Announce | Apply)) {
                assert!(r.undo == Action || table.pivot() == Some(r.step), "{}", table.kind);
                assert!(!table.is_past_pivot(r.step), "{}", table.kind);
            }
        }
    }
}
