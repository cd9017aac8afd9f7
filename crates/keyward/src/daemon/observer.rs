//! Hears what the engine does: one log line and the figures per step. Never blocks, never sees a value.

use super::rotations::state_name;
use crate::metrics::{Metrics, families as f};
use keyward_engine::{Observer, Told, What};
use keyward_rotation::saga::State;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

/// A step as a person who waits sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The rotation's id; empty before the stage.
    pub rotation: String,
    /// The step, in words.
    pub step: String,
    /// How long it took.
    pub seconds: f64,
    /// What kept it from being done.
    pub failure: Option<String>,
}

/// The daemon's observer: logs, counts, and passes progress on to whoever waits for a secret.
#[derive(Default)]
pub struct Ear {
    metrics: Metrics,
    waiting: Mutex<HashMap<String, mpsc::Sender<Progress>>>,
}

/// More steps than this unread are dropped for whoever waits: progress is a comfort, not a record.
const UNREAD: usize = 64;

impl Ear {
    /// An observer that counts into these figures.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, waiting: Mutex::default() }
    }

    /// From now on the progress of this secret arrives here.
    pub fn listen(&self, secret: &str) -> mpsc::Receiver<Progress> {
        let (sender, receiver) = mpsc::channel(UNREAD);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned(), sender);
        receiver
    }

    /// Nobody waits for this secret any more.
    pub fn hang_up(&self, secret: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(secret);
    }

    fn pass_on(&self, told: &Told<'_>, progress: Progress) {
        if let Some(listener) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).get(told.secret) {
            let _ = listener.try_send(progress);
        }
    }
}

/// The step that a state counts as in `keyward_rotation_step_seconds`.
fn counted(state: State) -> Option<&'static str> {
    match state {
        State::Do(step) => Some(step.name()),
        State::Undo(_) => Some("undo"),
        _ => None,
    }
}

impl Observer for Ear {
    fn told(&self, told: &Told<'_>) {
        let (secret, rotation) = (told.secret, told.rotation);
        match &told.what {
            What::Began { by, recovered: false } => tracing::info!(secret, by, "Rotation begins."),
            What::Began { recovered: true, .. } => tracing::info!(secret, rotation, "Rotation is taken up again."),
            What::Ended(end) => tracing::info!(secret, rotation, end = ?end, "Rotation ended."),
            What::Went { state, took, failure } => {
                if let Some(step) = counted(*state) {
                    self.metrics.series(&f::STEP_SECONDS, &[step]).add(took.as_secs_f64());
                    if let Some(failure) = failure {
                        self.metrics.inc(&f::FAILURES, &[step, failure.class.name()]);
                    }
                }
                let step = state_name(*state);
                if let Some(failure) = failure {
                    tracing::warn!(secret, rotation, step, error = %failure, "A step was not done.");
                } else {
                    tracing::info!(secret, rotation, step, "Step done.");
                }
                let failure = failure.map(ToString::to_string);
                self.pass_on(told, Progress { rotation: rotation.to_owned(), step, seconds: took.as_secs_f64(), failure });
            }
        }
    }
}
