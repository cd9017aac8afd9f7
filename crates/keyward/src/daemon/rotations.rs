//! Runs one secret's rotation in the daemon and tells of it: history, figures, alerts.

use super::shared::{Live, Shared};
use crate::assembly::Managed;
use crate::consumers;
use crate::metrics::families as f;
use crate::view;
use jiff::{SignedDuration, Timestamp};
use keyward_alert::{Account, Alert, Severity};
use keyward_engine::stored::Stored;
use keyward_engine::{Ask, Class, Failure, Outcome, Truth};
use keyward_rotation::plan;
use keyward_rotation::saga::{End, State};
use keyward_rotation::table::Step;
use keyward_store::Rotation;

/// The outcome's word in metrics and history.
pub fn outcome_word(end: End) -> &'static str {
    match end {
        End::Rotated => "rotated",
        End::RolledBack => "rolled_back",
        End::Stuck(_) => "stuck",
        End::Refused(Step::Gate) => "deferred",
        End::Refused(_) => "refused",
        End::Lost => "lost",
        End::Suspended => "suspended",
    }
}

/// Every outcome's word, for series that exist from the start.
pub const OUTCOMES: [&str; 7] = ["rotated", "rolled_back", "stuck", "refused", "deferred", "lost", "suspended"];

/// What is to be done with a secret.
pub enum Work {
    /// Rotate it for this slot.
    Rotate(Ask),
    /// Take up what stands in its record.
    TakeOver,
    /// Let what is stuck or paused go on.
    Resume,
    /// Make it true again; what was found, and who asked.
    Reconcile(Box<Truth>, String),
}

/// Does it, and tells of it. `None`: a paused secret was resumed, and nothing ran.
pub async fn run(shared: &Shared, live: &Live, managed: &Managed, stored: Stored, work: Work) -> Option<Outcome> {
    let started = Timestamp::now();
    let asked_by = match &work {
        Work::Rotate(ask) => ask.person.clone(),
        Work::Reconcile(_, person) => Some(person.clone()),
        Work::TakeOver | Work::Resume => stored.record.as_ref().and_then(|r| r.attempt()).map(|a| a.asked_by.clone()),
    };
    let is_out_of_turn = matches!(&work, Work::Rotate(Ask { person: Some(_), .. })) && {
        let input = view::input(managed, stored.record.as_ref(), started);
        !view::is_tried_again(&plan::decide(started, &input, &managed.policy))
    };
    let slot = if let Work::Rotate(ask) = &work { Some(ask.slot) } else { None };
    let outcome = match work {
        Work::Rotate(ask) => Box::pin(live.engine.rotate(&managed.spec, stored, ask)).await,
        Work::TakeOver => Box::pin(live.engine.take_over(&managed.spec, stored)).await,
        Work::Resume => match Box::pin(live.engine.resume(&managed.spec, stored)).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => return None,
            Err(failure) => not_begun(failure),
        },
        Work::Reconcile(truth, person) => match Box::pin(live.engine.reconcile(&managed.spec, *truth, &person)).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => {
                tracing::info!(secret = managed.spec.name, person, "What is true was written into the record.");
                shared.prove_soon(&managed.spec.name);
                return None;
            }
            Err(failure) => not_begun(failure),
        },
    };
    count(shared, managed, &outcome, started);
    remember(shared, managed, &outcome, started, slot, asked_by).await;
    tell(shared, managed, &outcome, is_out_of_turn);
    if outcome.end == End::Rotated {
        let labels = [managed.spec.name.as_str(), managed.config.class.as_str()];
        if shared.metrics.series(&f::CREDENTIAL_VALID, &labels).get() < 1.0 {
            shared.prove_soon(&managed.spec.name); // it works now: whoever was told that it does not is told so at once
        }
        notify(shared, managed, &outcome).await;
    } else if found_refused(&outcome) {
        hold(live, managed, &outcome).await;
    }
    Some(outcome)
}

fn not_begun(failure: Failure) -> Outcome {
    let end = End::Refused(Step::Preflight);
    Outcome { end, rotation: String::new(), number: 0, failure: Some(failure), failed_at: None, foreign: false }
}

/// A rotation found before its first change that what is published does not log in.
fn found_refused(outcome: &Outcome) -> bool {
    outcome.end == End::Refused(Step::Preflight) && outcome.failure.as_ref().is_some_and(|f| f.class == Class::WrongPassword)
}

/// Rotating would hide which of the two is true: the schedule is held until somebody reconciles, or it works again.
async fn hold(live: &Live, managed: &Managed, outcome: &Outcome) {
    let why = outcome.failure.as_ref().map(|f| f.text.clone()).unwrap_or_default();
    if let Err(error) = live.engine.diverge(&managed.spec, &why).await {
        tracing::warn!(secret = managed.spec.name, %error, "That it diverged could not be written; the proof watch says it again.");
    }
}

/// Tells consumers that there is a new value. A failure here is told, and never rolls back.
async fn notify(shared: &Shared, managed: &Managed, outcome: &Outcome) {
    let Some(failures) = consumers::tell(managed, outcome).await else { return };
    let name = &managed.spec.name;
    let key = format!("notify-failed/{name}");
    if failures.is_empty() {
        shared.alerts.resolve(key, "its consumers were told");
        return;
    }
    shared.alerts.raise(Alert {
        key,
        severity: Severity::Warning,
        title: "consumers were not told of a new value".into(),
        account: Account {
            happened: format!("{name} was rotated and proved, but telling its consumers failed: {}", failures.join("; ")),
            now: "The new value is published and works; a consumer that reads only when told still holds the old one.".into(),
            next: "Nothing; the next rotation tells them again.".into(),
            act: format!("Have its consumers read it again. keyward status {name}"),
        },
        owner: managed.config.owner.clone(),
        secret: Some(name.clone()),
        at: Timestamp::now(),
        passes_after: None,
    });
}

fn count(shared: &Shared, managed: &Managed, outcome: &Outcome, started: Timestamp) {
    let (name, class) = (managed.spec.name.as_str(), managed.config.class.as_str());
    shared.metrics.inc(&f::ROTATIONS, &[name, class, outcome_word(outcome.end)]);
    if outcome.end == End::Rotated {
        let took = Timestamp::now().duration_since(started).as_secs_f64();
        shared.metrics.series(&f::ROTATION_SECONDS, &[class]).add(took);
    }
}

async fn remember(
    shared: &Shared,
    managed: &Managed,
    outcome: &Outcome,
    started: Timestamp,
    slot: Option<Timestamp>,
    asked_by: Option<String>,
) {
    if outcome.rotation.is_empty() {
        return; // refused before it was anything: the log and the metrics say so
    }
    let rotation = Rotation {
        id: outcome.rotation.clone(),
        secret: managed.spec.name.clone(),
        class: managed.config.class.clone(),
        kind: managed.config.kind.name().to_owned(),
        slot,
        number: outcome.number,
        started,
        finished: Some(Timestamp::now()),
        outcome: outcome_word(outcome.end).to_owned(),
        success: outcome.end == End::Rotated,
        failed_step: outcome.failed_at.map(state_name),
        failure_class: outcome.failure.as_ref().map(|f| f.class.name().to_owned()),
        text: outcome.failure.as_ref().map(|f| f.text.clone()),
        asked_by,
    };
    if let Err(error) = shared.store.record_rotation(rotation).await {
        tracing::error!(secret = managed.spec.name, %error, "The rotation could not be written into the history.");
    }
}

/// A state in words fit for a history: the step where there is one.
pub fn state_name(state: State) -> String {
    match state {
        State::Do(step) | State::Probe(step) => step.name().to_owned(),
        State::Undo(step) => format!("undo of {}", step.name()),
        State::Recover => "recovery".into(),
        State::Reread(_) | State::Recheck(_) => "reading again".into(),
        State::Turn | State::Race => "decision to roll back".into(),
        State::Lift(_) => "raising the number".into(),
        State::Close => "closing".into(),
        State::Park(_) => "parking".into(),
        State::Ended(_) => "end".into(),
    }
}

/// Raises or resolves the secret's condition.
fn tell(shared: &Shared, managed: &Managed, outcome: &Outcome, is_out_of_turn: bool) {
    let name = &managed.spec.name;
    let (failed, stuck, deferred) =
        (format!("rotation-failed/{name}"), format!("rotation-stuck/{name}"), format!("rotation-deferred/{name}"));
    match outcome.end {
        End::Rotated => {
            for key in [failed, stuck, deferred] {
                shared.alerts.resolve(key, format!("{name} was rotated and proved (rotation {})", outcome.rotation));
            }
            if outcome.foreign {
                shared.alerts.raise(replaced(managed, outcome));
            }
        }
        End::RolledBack => shared.alerts.raise(alert(managed, failed, Severity::Critical, "rotation failed, rolled back", outcome)),
        End::Stuck(_) => {
            shared.alerts.resolve(failed, format!("rotation {} is stuck now", outcome.rotation));
            shared.alerts.raise(alert(managed, stuck, Severity::Critical, "rotation stuck", outcome));
        }
        End::Refused(step) if is_out_of_turn => {
            let (key, title) =
                if step == Step::Gate { (deferred, "rotation deferred") } else { (failed, "rotation failed, nothing was changed") };
            shared.alerts.raise(out_of_turn(alert(managed, key, Severity::Warning, title, outcome)));
        }
        End::Refused(Step::Gate) => shared.alerts.raise(alert(managed, deferred, Severity::Warning, "rotation deferred", outcome)),
        End::Refused(_) => shared.alerts.raise(alert(managed, failed, Severity::Critical, "rotation failed, nothing was changed", outcome)),
        End::Suspended if left_half_done(outcome) => {
            shared.alerts.raise(alert(managed, failed, Severity::Critical, "rotation waits half done", outcome));
        }
        // Somebody else finishes it, or it is taken up when Vault is back: both are told by what comes of them.
        End::Lost | End::Suspended => {}
    }
}

/// A person asked though nothing was due, and has heard the answer: others are told of it as of a thing that happened.
fn out_of_turn(mut alert: Alert) -> Alert {
    alert.account.next = "Nothing by itself: it was asked for out of turn, and the schedule goes on as it was.".into();
    alert.passes_after = Some(PASSES);
    alert
}

/// It waits for what cannot be reached, on its way back or behind its publication: what consumers read may not work meanwhile.
fn left_half_done(outcome: &Outcome) -> bool {
    matches!(outcome.failed_at, Some(State::Race | State::Undo(_) | State::Do(Step::Confirm)))
}

/// A thing that happened: nobody is overruled in silence.
fn replaced(managed: &Managed, outcome: &Outcome) -> Alert {
    let name = &managed.spec.name;
    Alert {
        key: format!("foreign-value/{name}"),
        severity: Severity::Warning,
        title: "somebody else's value was replaced".into(),
        account: Account {
            happened: format!(
                "What was published for {name} had been put there by somebody else. Rotation {} has replaced it, as was due.",
                outcome.rotation
            ),
            now: "The new value is published and works. The one that was replaced stands in the path's older versions in Vault.".into(),
            next: "Nothing.".into(),
            act: format!("If somebody sets it by hand on purpose, pause it:\nkeyward pause {name} --why \"who, and until when\""),
        },
        owner: managed.config.owner.clone(),
        secret: Some(name.clone()),
        at: Timestamp::now(),
        passes_after: Some(PASSES),
    }
}

/// A notice of a thing that happened is over after a day.
pub const PASSES: SignedDuration = SignedDuration::from_hours(24);

fn alert(managed: &Managed, key: String, severity: Severity, title: &str, outcome: &Outcome) -> Alert {
    Alert {
        key,
        severity,
        title: title.to_owned(),
        account: account(&managed.spec.name, outcome),
        owner: managed.config.owner.clone(),
        secret: Some(managed.spec.name.clone()),
        at: Timestamp::now(),
        passes_after: None,
    }
}

fn account(name: &str, outcome: &Outcome) -> Account {
    let why = outcome.failure.as_ref().map_or_else(|| "no reason was given".to_owned(), ToString::to_string);
    let at = outcome.failed_at.map_or_else(String::new, |state| format!(" at the step {}", state_name(state)));
    let rotation = if outcome.rotation.is_empty() { String::new() } else { format!("Rotation {} of {name} ", outcome.rotation) };
    let subject = if rotation.is_empty() { format!("A rotation of {name} ") } else { rotation };
    let (now, next, act) = match outcome.end {
        End::RolledBack => (
            "The old value is in force: it was put back, and what Vault hands out works as before.".to_owned(),
            "It is tried again after a pause that grows with every failure.".to_owned(),
            format!("keyward status {name}\nkeyward rotate {name}"),
        ),
        End::Stuck(reason) => (
            format!("{}. The new value is kept in Vault; nothing is lost.", capital(reason.says())),
            "Nothing: the schedule of this secret stands still until a person lets it go on.".to_owned(),
            format!(
                "keyward status {name}\nkeyward resume {name}       goes on\nkeyward reconcile {name}    where what is published is not what it should be"
            ),
        ),
        End::Suspended => (
            "What consumers read may be refused until this has ended; both values are kept in Vault.".to_owned(),
            "It goes on by itself as soon as what failed can be reached again; after a day it stands still until a person lets it go on."
                .to_owned(),
            format!("keyward status {name}\nkeyward check"),
        ),
        End::Refused(Step::Gate) => (
            "Nothing was changed; what is published works.".to_owned(),
            "It is looked at again until the idle user is free; meanwhile the secret becomes overdue.".to_owned(),
            format!("keyward status {name}"),
        ),
        _ => (
            "Nothing was changed.".to_owned(),
            "It is tried again after a pause that grows with every failure.".to_owned(),
            format!("keyward check\nkeyward rotate {name}"),
        ),
    };
    Account { happened: format!("{subject}failed{at}: {why}"), now, next, act }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
