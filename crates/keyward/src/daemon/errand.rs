//! One piece of work on one secret, in a task of its own: judged once more on a fresh reading of its record, then done.

use super::rotations::{self, Work};
use super::shared::{Live, Shared};
use super::skew;
use crate::assembly::Managed;
use crate::view::{self, Recent};
use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};
use keyward_engine::agenda::{self, Ended, Errand};
use keyward_engine::stored::Stored;
use keyward_engine::{Ask, Outcome, TendReport};
use keyward_rotation::saga::End;

/// Does what one secret calls for, on a fresh reading of its record.
pub async fn run(errand: Errand, shared: &Shared, live: &Live, managed: &Managed) -> Done {
    let mut done =
        Done { secret: managed.spec.name.clone(), ended: Ended::default(), recent: None, looked_at_older: false, still_used: None };
    if let Some((outcome, why)) = objection(errand, shared, live, managed).await {
        tracing::warn!(secret = done.secret, why, "A rotation is held.");
        // A pause is known from here on, and is the planner's own reason.
        if outcome != PAUSED {
            done.refused(outcome, why);
        }
        return done;
    }
    // Read again: this very reading is what the first write is checked against.
    match live.engine.load(&done.secret).await {
        Ok(stored) => act(errand, shared, live, managed, stored, &mut done).await,
        Err(error) => {
            tracing::warn!(secret = done.secret, %error, "The record could not be read.");
            done.refused("refused", error.to_string());
        }
    }
    done
}

/// What holds a rotation whose class was paused.
const PAUSED: &str = "paused";

/// Why nothing may be staged now, whatever the record says: the class was paused, or the clock cannot be relied on.
async fn objection(errand: Errand, shared: &Shared, live: &Live, managed: &Managed) -> Option<(&'static str, String)> {
    let class = &managed.config.class;
    match errand {
        Errand::TakeOver(_) | Errand::Sweep => return None, // what was staged is brought to its end
        Errand::Tend => {}
        Errand::Rotate(_) => match live.engine.class_pause(class).await {
            Ok(pause) => shared.keep_pause(class, pause),
            Err(failure) => return Some(("refused", failure.to_string())),
        },
    }
    match shared.pause_of(class).filter(|_| matches!(errand, Errand::Rotate(_))) {
        Some(pause) => Some((PAUSED, format!("the class {class} was paused by {pause}"))),
        None => skew::objection(live).await.map(|why| ("clock", why)),
    }
}

async fn act(errand: Errand, shared: &Shared, live: &Live, managed: &Managed, stored: Stored, done: &mut Done) {
    match errand {
        Errand::Rotate(slot) => {
            let now = Timestamp::now();
            if !agenda::still_due(&view::input(managed, stored.record.as_ref(), now), &managed.policy, slot, now) {
                return; // somebody rotated it meanwhile
            }
            done.ended(rotations::run(shared, live, managed, stored, Work::Rotate(Ask { slot, ..Ask::default() })).await);
        }
        Errand::TakeOver(version) if agenda::still_silent(&live.engine, &stored, version) => {
            done.ended(rotations::run(shared, live, managed, stored, Work::TakeOver).await);
        }
        Errand::TakeOver(_) => {}
        Errand::Tend => {
            done.looked_at_older = true;
            (done.ended.tended, done.still_used) = tend(shared, live, managed, stored).await;
        }
        Errand::Sweep => match live.engine.sweep(&managed.spec, &stored).await {
            Ok(swept) => done.ended.swept = swept,
            Err(error) => tracing::warn!(secret = done.secret, %error, "Old versions of the record could not be destroyed."),
        },
    }
}

/// How one piece of work left its secret.
pub struct Done {
    /// Which.
    pub secret: String,
    /// For the agenda.
    pub ended: Ended,
    /// What was tried, where the record says nothing of it.
    pub recent: Option<Recent>,
    /// Whether older values were looked at.
    pub looked_at_older: bool,
    /// Why one of them is kept.
    pub still_used: Option<String>,
}

impl Done {
    fn refused(&mut self, outcome: &'static str, why: String) {
        self.ended.refused = true;
        self.recent = Some(Recent { at: Timestamp::now(), outcome, why });
    }

    fn ended(&mut self, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else { return };
        self.ended.refused = outcome.end != End::Rotated;
        self.recent = recent(&outcome);
    }
}

/// What was tried, where the record says nothing of it. It tells of the other ends; of a lost one, somebody else does.
pub fn recent(outcome: &Outcome) -> Option<Recent> {
    let why = outcome.failure.as_ref().map(ToString::to_string).unwrap_or_default();
    match outcome.end {
        End::Refused(_) | End::Suspended => Some(Recent { at: Timestamp::now(), outcome: rotations::outcome_word(outcome.end), why }),
        End::Rotated | End::RolledBack | End::Stuck(_) | End::Lost => None,
    }
}

/// Whether something was changed, and why an older value is kept.
async fn tend(shared: &Shared, live: &Live, managed: &Managed, stored: Stored) -> (bool, Option<String>) {
    let name = &managed.spec.name;
    let report = live.engine.tend(&managed.spec, stored).await;
    let key = format!("retire-waits/{name}");
    let mut still_used = None;
    match &report {
        TendReport::Nothing => {}
        TendReport::Done(_) | TendReport::Published(..) => {
            tracing::info!(secret = name, report = ?report, "An older value was taken care of.");
            shared.alerts.resolve(key, "it was taken care of");
        }
        TendReport::DoneInUse(_, who) => {
            tracing::warn!(secret = name, who, "An older value was made invalid after its grace, though it may still be used.");
            shared.alerts.resolve(key, "it was taken care of");
            shared.alerts.raise(retired_in_use(managed, who));
        }
        TendReport::NotYet(later, why) => {
            let late = later.not_before().checked_add(managed.config.retire_deadline).is_ok_and(|at| at <= Timestamp::now());
            if late {
                shared.alerts.raise(retire_waits(managed, key, why));
            }
            tracing::info!(secret = name, why, "An older value is kept for now.");
            still_used = Some(why.clone());
        }
        TendReport::Failed(_, error) => tracing::warn!(secret = name, %error, "An older value could not be taken care of."),
    }
    (report.changed(), still_used)
}

/// A thing that happened: `retire = "after-grace"` waits for nobody, and says whom it has met.
fn retired_in_use(managed: &Managed, who: &str) -> Alert {
    let name = &managed.spec.name;
    Alert {
        key: format!("retired-in-use/{name}"),
        severity: Severity::Warning,
        title: "an old value was made invalid while it may be in use".into(),
        account: Account {
            happened: format!("The grace of the old value of {name} was over, so it was made invalid: {who}."),
            now: "The new value is published and works. Whoever still holds the old one is refused from now on.".into(),
            next: "Nothing.".into(),
            act: format!("Have its users read {name} again. retire = \"when-unused\" would wait for them."),
        },
        owner: managed.config.owner.clone(),
        secret: Some(name.clone()),
        at: Timestamp::now(),
        passes_after: Some(rotations::PASSES),
    }
}

fn retire_waits(managed: &Managed, key: String, why: &str) -> Alert {
    let name = &managed.spec.name;
    Alert {
        key,
        severity: Severity::Warning,
        title: "an old value is still in use".into(),
        account: Account {
            happened: format!("The old value of {name} should be invalid by now, but {why}."),
            now: "Both the old and the new value work.".into(),
            next: "The old one is kept until nobody uses it; the next rotation waits for that.".into(),
            act: format!(
                "keyward status {name}    lists who it is, as far as can be seen; have them read it again.\n\
                 retire = \"after-grace\" for its class would make it invalid without waiting."
            ),
        },
        owner: managed.config.owner.clone(),
        secret: Some(name.clone()),
        at: Timestamp::now(),
        passes_after: None,
    }
}
