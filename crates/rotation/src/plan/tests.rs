//! Decisions as tables, then the promises under any course of time: never twice, never more than once after a pause,
//! and never never.

#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use super::*;
use crate::schedule::{Schedule, Window};
use jiff::SignedDuration;
use proptest::prelude::*;
use std::time::Duration;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Sundays 02:00 UTC; 29 November 2026 is one.
fn weekly() -> Policy {
    Policy {
        schedule: Schedule::parse("weekly", None).unwrap(),
        jitter: Duration::ZERO,
        window: None,
        catch_up: CatchUp::RunOnce,
        backoff: Backoff { first: Duration::from_mins(5), longest: Duration::from_hours(1) },
        deadline: None,
        concurrency: 2,
    }
}

/// Seen on Wednesday the 4th, rotated at the slot of Sunday the 22nd.
fn secret() -> Input {
    Input {
        name: "backend".to_owned(),
        class: "database".to_owned(),
        first_seen: at("2026-11-04T12:00:00Z"),
        last_slot: Some(Slot(at("2026-11-22T02:00:00Z"))),
        last_success: Some(at("2026-11-22T02:01:00Z")),
        last_failure: None,
        paused: None,
        stuck: None,
        diverged: None,
        running: false,
        observe: false,
        kind_manual: false,
    }
}

fn due(slot: &str, since: &str) -> Decision {
    Decision::Due { slot: Slot(at(slot)), since: at(since) }
}

fn wait(reason: Reason, until: &str) -> Decision {
    Decision::Wait { reason, until: (!until.is_empty()).then(|| at(until)), note: None }
}

const SLOT: &str = "2026-11-29T02:00:00Z";
const NEXT: &str = "2026-12-06T02:00:00Z";

/// One row: what it shows, when, what is changed about the secret and its policy, what must come out.
type Row = (&'static str, &'static str, fn(&mut Input, &mut Policy), Decision);

#[test]
fn decisions() {
    let rows: Vec<Row> = vec![
        ("a second early", "2026-11-29T01:59:59Z", |_, _| (), wait(Reason::NotDue, SLOT)),
        ("on time", SLOT, |_, _| (), due(SLOT, SLOT)),
        ("served", "2026-11-30T00:00:00Z", |s, _| s.last_slot = Some(Slot(at(SLOT))), wait(Reason::NotDue, NEXT)),
        (
            "a person rotated between slots",
            "2026-11-30T00:00:00Z",
            |s, _| s.last_slot = Some(Slot(at("2026-11-29T09:00:00Z"))),
            wait(Reason::NotDue, NEXT),
        ),
        ("a month of slots is one", "2026-12-30T09:00:00Z", |_, _| (), due("2026-12-27T02:00:00Z", "2026-12-27T02:00:00Z")),
        ("new", "2026-11-05T00:00:00Z", |s, _| s.last_slot = None, wait(Reason::FirstSeen, "2026-11-08T02:00:00Z")),
        ("new, first slot", "2026-11-08T02:00:00Z", |s, _| s.last_slot = None, due("2026-11-08T02:00:00Z", "2026-11-08T02:00:00Z")),
        ("seen at the very slot", SLOT, |s, _| (s.last_slot, s.first_seen) = (None, at(SLOT)), wait(Reason::FirstSeen, NEXT)),
        (
            "first seen in the future",
            "2026-11-29T03:00:00Z",
            |s, _| (s.last_slot, s.first_seen) = (None, at("2027-01-01T00:00:00Z")),
            wait(Reason::FirstSeen, "2027-01-03T02:00:00Z"),
        ),
        ("the clock was set back", "2026-11-10T00:00:00Z", |_, _| (), wait(Reason::ClockBehind, SLOT)),
        ("running", SLOT, |s, _| s.running = true, wait(Reason::Running, "")),
        ("needs a person", SLOT, |s, _| s.kind_manual = true, wait(Reason::NeedsPerson, "")),
        ("observed", SLOT, |s, _| s.observe = true, wait(Reason::Observed, "")),
        ("observed, not due", "2026-11-28T02:00:00Z", |s, _| s.observe = true, wait(Reason::NotDue, SLOT)),
        // Catching up: late after an hour without a deadline, after the deadline with one.
        ("late and left", "2026-11-29T03:00:01Z", |_, p| p.catch_up = CatchUp::Wait, wait(Reason::Missed, NEXT)),
        ("late and told", "2026-11-29T03:00:01Z", |_, p| p.catch_up = CatchUp::Alert, wait(Reason::MissedAlert, NEXT)),
        ("not late yet", "2026-11-29T03:00:00Z", |_, p| p.catch_up = CatchUp::Wait, due(SLOT, SLOT)),
        (
            "not late by its deadline",
            "2026-11-29T05:00:00Z",
            |_, p| (p.catch_up, p.deadline) = (CatchUp::Wait, Some(Duration::from_hours(3))),
            due(SLOT, SLOT),
        ),
        // Failures.
        (
            "after a failure",
            "2026-11-29T02:04:59Z",
            |s, _| s.last_failure = Some((at(SLOT), 1)),
            wait(Reason::Backoff, "2026-11-29T02:05:00Z"),
        ),
        ("again", "2026-11-29T02:05:00Z", |s, _| s.last_failure = Some((at(SLOT), 1)), due(SLOT, SLOT)),
        ("a failure in the future holds nothing", SLOT, |s, _| s.last_failure = Some((at("2026-12-29T02:00:00Z"), 9)), due(SLOT, SLOT)),
        (
            "given up",
            "2026-11-30T00:00:00Z",
            |s, p| (s.last_failure, p.deadline) = (Some((at("2026-11-29T05:00:00Z"), 7)), Some(Duration::from_hours(3))),
            wait(Reason::GivenUp, NEXT),
        ),
        (
            "not given up for an earlier slot's failures",
            SLOT,
            |s, p| (s.last_failure, p.deadline) = (Some((at("2026-11-22T05:00:00Z"), 7)), Some(Duration::from_hours(3))),
            due(SLOT, SLOT),
        ),
        // Windows.
        (
            "window not open yet",
            "2026-11-29T02:30:00Z",
            |_, p| p.window = Window::parse("Sat,Sun 04:00-05:00", None).ok(),
            wait(Reason::WindowClosed, "2026-11-29T04:00:00Z"),
        ),
        (
            "window open",
            "2026-11-29T04:00:00Z",
            |_, p| p.window = Window::parse("Sat,Sun 04:00-05:00", None).ok(),
            due(SLOT, "2026-11-29T04:00:00Z"),
        ),
        (
            "window closed again",
            "2026-11-29T05:00:00Z",
            |_, p| p.window = Window::parse("Sat,Sun 04:00-05:00", None).ok(),
            wait(Reason::WindowClosed, "2026-12-05T04:00:00Z"),
        ),
        (
            "late counts from the window",
            "2026-11-29T04:59:00Z",
            |_, p| (p.window, p.catch_up) = (Window::parse("Sun 04:00-07:00", None).ok(), CatchUp::Wait),
            due(SLOT, "2026-11-29T04:00:00Z"),
        ),
    ];
    for (what, now, change, expected) in rows {
        let (mut input, mut policy) = (secret(), weekly());
        change(&mut input, &mut policy);
        assert_eq!(decide(at(now), &input, &policy), expected, "{what}");
    }
}

#[test]
fn holds_carry_their_note_and_the_gravest_speaks_first() {
    let mut input = secret();
    let mut expect = |change: fn(&mut Input), reason: Reason, note: &str| {
        change(&mut input);
        let decision = Decision::Wait { reason, until: None, note: Some(note.to_owned()) };
        assert_eq!(decide(at(SLOT), &input, &weekly()), decision);
    };
    expect(|s| s.paused = Some("freeze until Monday".to_owned()), Reason::Paused, "freeze until Monday");
    expect(|s| s.diverged = Some("database restored".to_owned()), Reason::Diverged, "database restored");
    expect(|s| s.stuck = Some("verify refused".to_owned()), Reason::Stuck, "verify refused");
}

/// A missed window cost a whole cycle, and nothing told of it (Vault's rotation windows, its pull request 22448).
#[test]
fn failure_09_a_missed_window_costs_a_wait_and_is_told_not_a_cycle() {
    let policy = Policy { window: Window::parse("Sun 04:00-05:00", None).ok(), ..weekly() };
    // Down from before the window of the 29th until Monday.
    let monday = at("2026-11-30T08:00:00Z");
    assert_eq!(decide(monday, &secret(), &policy), wait(Reason::WindowClosed, "2026-12-06T04:00:00Z"));
    assert!(overdue(at("2026-12-05T08:00:00Z"), &secret(), &policy).is_some(), "that it is late is told meanwhile");
    let Decision::Due { slot, .. } = decide(at("2026-12-06T04:00:00Z"), &secret(), &policy) else { panic!("it is owed") };
    assert_eq!(slot.0, at("2026-12-06T02:00:00Z"), "once, for the newest slot");
}

#[test]
fn jitter_puts_the_start_off_and_stays_inside_the_window() {
    let (input, mut policy) = (secret(), weekly());
    policy.jitter = Duration::from_hours(3);
    let start = policy.start("backend", Slot(at(SLOT))).unwrap();
    assert!(start > at(SLOT) && start <= at("2026-11-29T05:00:00Z"), "{start}");
    assert_eq!(decide(at(SLOT), &input, &policy), Decision::Wait { reason: Reason::Jitter, until: Some(start), note: None });
    assert_eq!(decide(start, &input, &policy), Decision::Due { slot: Slot(at(SLOT)), since: start });
    assert_eq!(next_due(at(SLOT), &input, &policy), Some(start));

    policy.window = Window::parse("Sun 04:00-04:10", None).ok();
    for name in ["a", "b", "c", "d", "e", "f"] {
        let start = policy.start(name, Slot(at(SLOT))).unwrap();
        assert!((at("2026-11-29T04:00:00Z")..=at("2026-11-29T04:05:00Z")).contains(&start), "{name}: {start}");
    }
}

#[test]
fn next_due_is_the_past_for_what_is_owed_and_the_future_for_the_rest() {
    let (input, policy) = (secret(), weekly());
    assert_eq!(next_due(at("2026-11-25T00:00:00Z"), &input, &policy), Some(at(SLOT)));
    assert_eq!(next_due(at("2026-11-29T09:00:00Z"), &input, &policy), Some(at(SLOT)));
    let served = Input { last_slot: Some(Slot(at(SLOT))), ..input };
    assert_eq!(next_due(at("2026-11-29T09:00:00Z"), &served, &policy), Some(at(NEXT)));
}

#[test]
fn overdue_is_told_from_the_last_proof_alone() {
    let policy = weekly();
    let never = Input { last_success: None, ..secret() };
    let held = Input { paused: Some("freeze".to_owned()), last_slot: Some(Slot(at("2030-01-06T02:00:00Z"))), ..secret() };
    let table = [
        (&secret(), "2026-11-29T03:00:00Z", None),
        (&secret(), "2026-11-29T03:00:01Z", Some(at(SLOT))),
        (&held, "2026-11-29T03:00:01Z", Some(at(SLOT))),
        (&never, "2026-11-08T03:00:00Z", None),
        (&never, "2026-11-08T03:00:01Z", Some(at("2026-11-08T02:00:00Z"))),
    ];
    for (input, now, expected) in table {
        assert_eq!(overdue(at(now), input, &policy), expected, "{input:?} at {now}");
    }
    let patient = Policy { deadline: Some(Duration::from_hours(24)), ..policy };
    assert_eq!(overdue(at("2026-11-30T02:00:00Z"), &secret(), &patient), None);
    assert_eq!(overdue(at("2026-11-30T02:00:01Z"), &secret(), &patient), Some(at(SLOT)));
}

#[test]
fn a_class_never_has_more_than_its_number_in_rotation() {
    let policy = weekly();
    let patient = Policy { window: Window::parse("Sun 03:00-09:00", None).ok(), ..weekly() };
    let named = |name: &str, class: &str| Input { name: name.to_owned(), class: class.to_owned(), ..secret() };
    let busy = Input { running: true, ..named("busy", "database") };
    let inputs = [
        (named("z-since-three", "database"), &patient),
        (named("b", "database"), &policy),
        (busy, &policy),
        (named("a", "database"), &policy),
        (named("other", "jwt"), &policy),
    ];
    let decisions = plan(at("2026-11-29T04:00:00Z"), inputs.iter().map(|(input, policy)| (input, *policy)));
    let names: Vec<&str> = decisions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["z-since-three", "b", "busy", "a", "other"]);
    let due: Vec<&str> = decisions.iter().filter(|(_, d)| matches!(d, Decision::Due { .. })).map(|(name, _)| name.as_str()).collect();
    assert_eq!(due, ["a", "other"], "one of two places is taken, and the longest waiting goes first");
    assert_eq!(decisions[1].1, wait(Reason::Concurrency, ""));
}

#[test]
fn explanations_read_as_a_line() {
    let note = Decision::Wait { reason: Reason::Paused, until: None, note: Some("freeze".to_owned()) };
    let table = [
        (due(SLOT, SLOT), "due since 2026-11-29T02:00:00Z"),
        (due(SLOT, "2026-11-29T02:10:00Z"), "due since 2026-11-29T02:10:00Z, for the slot of 2026-11-29T02:00:00Z"),
        (wait(Reason::NotDue, SLOT), "not due yet; until 2026-11-29T02:00:00Z"),
        (note, "a person paused it; `keyward resume` lets it go on (freeze)"),
    ];
    for (decision, expected) in table {
        assert_eq!(explain(&decision), expected);
    }
}

/// What time does to a secret between two looks of the planner.
#[derive(Clone, Debug)]
enum Step {
    /// The clock goes on, and the planner looks.
    Tick(i64),
    /// The clock is set back.
    Back(i64),
    /// The next rotation fails.
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let hour = 3600_i64;
    let step = prop_oneof![
        8 => (1..6 * hour).prop_map(Step::Tick),
        2 => (1..40 * 24 * hour).prop_map(Step::Tick),
        1 => (1..20 * 24 * hour).prop_map(Step::Back),
        2 => Just(Step::Fail),
    ];
    prop::collection::vec(step, 1..120)
}

fn policies() -> impl Strategy<Value = Policy> {
    let spec = prop::sample::select(vec!["weekly", "30 2 * * *", "*/30 * * * *", "0 9 1 * 1"]);
    let zone = prop::sample::select(vec![None, Some("Europe/Berlin"), Some("America/New_York"), Some("Australia/Lord_Howe")]);
    let window = prop::sample::select(vec![None, Some("Sat,Sun 01:00-05:00"), Some("22:00-04:00")]);
    let catch_up = prop::sample::select(vec![CatchUp::RunOnce, CatchUp::Wait, CatchUp::Alert]);
    (spec, zone, window, catch_up, 0..4_u64, prop::option::of(1..30_u64)).prop_map(|(spec, zone, window, catch_up, jitter, deadline)| {
        Policy {
            schedule: Schedule::parse(spec, zone).unwrap(),
            window: window.map(|spec| Window::parse(spec, zone).unwrap()),
            catch_up,
            jitter: Duration::from_hours(jitter),
            deadline: deadline.map(Duration::from_hours),
            ..weekly()
        }
    })
}

/// Runs the planner through these steps, as the daemon would, and returns when which slot was started and how it ended.
fn live(policy: &Policy, steps: &[Step]) -> Vec<(Timestamp, Slot, bool)> {
    let mut now = at("2026-10-20T12:00:00Z");
    let mut input = Input { first_seen: now, last_slot: None, last_success: None, ..secret() };
    let mut fail = false;
    let mut starts = Vec::new();
    for step in steps {
        match step {
            Step::Fail => fail = true,
            Step::Back(seconds) => now -= SignedDuration::from_secs(*seconds),
            Step::Tick(seconds) => now += SignedDuration::from_secs(*seconds),
        }
        // Asking twice at the same moment must not matter, so it is always done.
        for _ in 0..2 {
            let Decision::Due { slot, .. } = decide(now, &input, policy) else { continue };
            starts.push((now, slot, !fail));
            if fail {
                let attempts = input.last_failure.map_or(0, |(_, attempts)| attempts);
                input.last_failure = Some((now, attempts + 1));
            } else {
                input.last_failure = None;
                input.last_slot = Some(slot);
                input.last_success = Some(now);
            }
            fail = false;
        }
    }
    starts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever the clock, the window and the failures do: slots are rotated in order, each once, never before they come,
    /// never one from before the secret was known, and only inside the window.
    #[test]
    fn never_twice(policy in policies(), steps in steps()) {
        let mut last = at("2026-10-20T12:00:00Z");
        for (now, slot, rotated) in live(&policy, &steps) {
            prop_assert!(slot.0 > last, "{} after {}", slot.0, last);
            prop_assert!(slot.0 <= now);
            prop_assert!(policy.window.as_ref().is_none_or(|window| window.contains(now)));
            if rotated {
                last = slot.0;
            }
        }
    }

    /// A storm after downtime: Vault rotates every overdue role at unseal, Kubernetes refused after a hundred missed runs (kubernetes#42649).
    ///
    /// After any downtime there is at most one rotation until the next slot comes, and it is for the latest slot.
    #[test]
    fn failure_08_one_after_downtime(policy in policies(), hours in 1..3000_i64) {
        let begin = at("2026-10-20T12:00:00Z");
        let now = begin + SignedDuration::from_hours(hours);
        let until = policy.schedule.next_after(now).unwrap();
        let mut steps = vec![Step::Tick(hours * 3600)];
        let minutes = (until.as_second() - now.as_second() - 1) / 60;
        steps.extend((0..minutes.min(400)).map(|_| Step::Tick(60)));
        let starts = live(&policy, &steps);
        prop_assert!(starts.len() <= 1, "{starts:?}");
        prop_assert!(starts.iter().all(|(_, slot, _)| Some(slot.0) == policy.schedule.previous_or_at(now)));
    }

    /// Without failures and holds, a secret that runs missed slots is never owed one for longer than the window makes it wait.
    #[test]
    fn never_never(policy in policies(), days in 1..16_i64) {
        let policy = Policy { catch_up: CatchUp::RunOnce, deadline: Some(Duration::from_hours(1)), ..policy };
        let steps: Vec<Step> = (0..days * 24 * 6).map(|_| Step::Tick(600)).collect();
        let begin = at("2026-10-20T12:00:00Z");
        let end = begin + SignedDuration::from_hours(days * 24);
        let starts = live(&policy, &steps);
        let last = starts.last().map(|(now, ..)| *now);
        let input = Input { first_seen: begin, last_slot: None, last_success: last, ..secret() };
        prop_assert_eq!(overdue(end, &input, &policy), None, "last of {} at {:?}", starts.len(), last);
    }

    /// A whole plan decides as its secrets would alone, except for the limit.
    #[test]
    fn a_plan_is_its_decisions(policy in policies(), hours in 1..3000_i64, count in 1..20_usize) {
        let now = at("2026-10-20T12:00:00Z") + SignedDuration::from_hours(hours);
        let first_seen = at("2026-10-20T12:00:00Z");
        let inputs: Vec<Input> =
            (0..count).map(|n| Input { name: format!("s{n}"), first_seen, last_slot: None, ..secret() }).collect();
        let mut started = 0;
        for ((name, planned), input) in plan(now, inputs.iter().map(|input| (input, &policy))).iter().zip(&inputs) {
            prop_assert_eq!(name, &input.name);
            let alone = decide(now, input, &policy);
            if matches!(planned, Decision::Wait { reason: Reason::Concurrency, .. }) {
                let due = matches!(alone, Decision::Due { .. });
                prop_assert!(due);
            } else {
                prop_assert_eq!(planned, &alone);
            }
            started += usize::from(matches!(planned, Decision::Due { .. }));
        }
        prop_assert!(started <= policy.concurrency);
    }
}
