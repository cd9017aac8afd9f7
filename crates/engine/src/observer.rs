//! What the engine tells of its work, for logs, metrics, history and alerts.

use crate::failure::Failure;
use keyward_rotation::saga::{End, State};
use std::time::Duration;

/// One thing that happened in a rotation.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// The secret.
    pub secret: &'a str,
    /// The rotation's id.
    pub rotation: &'a str,
    /// What happened.
    pub what: What<'a>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What<'a> {
    /// It began, or was taken up again.
    Began {
        /// Who asked.
        by: &'a str,
        /// Whether it was found in its record.
        recovered: bool,
    },
    /// One state was worked through.
    Went {
        /// Which.
        state: State,
        /// How long it took.
        took: Duration,
        /// What kept it from being done.
        failure: Option<&'a Failure>,
    },
    /// It ended.
    Ended(&'a End),
}

/// Who is told.
pub trait Observer: Send + Sync {
    /// Is told; must not block.
    fn told(&self, told: &Told<'_>);
}

/// Tells nobody.
impl Observer for () {
    fn told(&self, _: &Told<'_>) {}
}
