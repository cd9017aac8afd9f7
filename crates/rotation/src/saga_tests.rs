//! The driving function explored: every state that any sequence of events can reach, for every table.

use super::*;
use crate::table::{TABLES, VAULT_STATIC_ROLE};
use std::collections::{HashMap, HashSet};

const EVENTS: [Event; 14] = [
    Event::Done,
    Event::NotHappened,
    Event::Failed { again: true },
    Event::Failed { again: false },
    Event::Unknown,
    Event::Conflict,
    Event::Live(Live::Candidate),
    Event::Live(Live::Old),
    Event::Live(Live::Foreign),
    Event::Live(Live::Gone),
    Event::Lost,
    Event::Fenced,
    Event::Stale,
    Event::Unreachable,
];

const SMALL: Limits = Limits { before_pivot: 2, settled: 2, laps: 2, patient: false };

/// Every saga that follows on this one, whatever it is told, and whether or not there is patience left.
fn successors(saga: Saga) -> impl Iterator<Item = (Event, Saga)> {
    let told = EVENTS.into_iter().flat_map(|event| [(event, false), (event, true)]);
    told.filter_map(move |(event, patient)| Some((event, saga.next(event, Limits { patient, ..SMALL }).ok()?)))
}

/// Every saga reachable from `start`, with what was done on one way there.
fn explore(start: Saga) -> HashMap<Saga, Vec<(State, Event)>> {
    let mut seen = HashMap::from([(start, Vec::new())]);
    let mut queue = vec![start];
    while let Some(saga) = queue.pop() {
        let path = seen[&saga].clone();
        for (event, next) in successors(saga) {
            seen.entry(next).or_insert_with(|| {
                queue.push(next);
                let mut path = path.clone();
                path.push((saga.state, event));
                path
            });
        }
    }
    seen
}

fn starts() -> impl Iterator<Item = Saga> {
    TABLES.iter().flat_map(|&t| [Saga::begin(t), Saga::recover(t, Way::Forward), Saga::recover(t, Way::Back)])
}

#[test]
fn nothing_is_undone_unless_the_direction_is_recorded_and_the_race_won() {
    for start in starts() {
        // Which undos can be entered without having just won the race (or come from another undo)?
        for (saga, path) in explore(start) {
            for (event, next) in successors(saga) {
                let entered = matches!(next.state, State::Undo(_) | State::Close) && next.state != saga.state;
                if !entered {
                    continue;
                }
                assert!(next.turned, "undo without a recorded direction: {path:?}");
                let legal =
                    (saga.state, event) == (State::Race, Event::Done) || matches!((saga.state, event), (State::Undo(_), Event::Done));
                assert!(legal, "{:?} entered from {:?} on {event:?}", next.state, saga.state);
            }
        }
    }
}

#[test]
fn a_kind_without_an_undo_never_goes_back_behind_its_pivot() {
    let pivot_done = Saga::begin(&VAULT_STATIC_ROLE).to(State::Do(Step::Verify));
    for (saga, path) in explore(pivot_done) {
        assert!(!matches!(saga.state, State::Turn | State::Undo(_) | State::Close | State::Race), "{path:?}");
    }
}

#[test]
fn every_sequence_of_events_ends() {
    for start in starts() {
        let reached = explore(start);
        // A cycle would be a sequence that never ends: the graph of sagas must have none.
        let mut done: HashSet<Saga> = HashSet::new();
        let mut on_path: HashSet<Saga> = HashSet::new();
        for saga in reached.keys() {
            assert_no_cycle(*saga, &mut done, &mut on_path);
        }
        assert!(reached.keys().any(|s| matches!(s.state, State::Ended(End::Rotated | End::RolledBack))), "{}", start.table.kind);
    }
}

fn assert_no_cycle(saga: Saga, done: &mut HashSet<Saga>, on_path: &mut HashSet<Saga>) {
    if done.contains(&saga) {
        return;
    }
    assert!(on_path.insert(saga), "a rotation may go round for ever through {saga:?}");
    for (_, next) in successors(saga) {
        assert_no_cycle(next, done, on_path);
    }
    on_path.remove(&saga);
    done.insert(saga);
}

#[test]
fn a_lost_record_stops_everything_at_once() {
    for start in starts() {
        for saga in explore(start).into_keys().filter(|s| !matches!(s.state, State::Ended(_))) {
            assert_eq!(saga.next(Event::Lost, SMALL).map(|s| s.state), Ok(State::Ended(End::Lost)));
        }
    }
}

/// Tells a fresh saga of `table` these events and returns every state it passed.
fn story(start: Saga, events: &[Event]) -> Vec<State> {
    let mut saga = start;
    let mut states = vec![saga.state];
    for event in events {
        saga = saga.next(*event, Limits::default()).unwrap_or_else(|e| panic!("{e}"));
        states.push(saga.state);
    }
    states
}

#[test]
fn a_rotation_that_goes_well_follows_its_table() {
    for &table in TABLES {
        let states = story(Saga::begin(table), &vec![Event::Done; table.rows.len()]);
        let mut expected: Vec<State> = table.rows.iter().map(|r| State::Do(r.step)).collect();
        expected.push(State::Ended(End::Rotated));
        assert_eq!(states, expected);
    }
}

#[test]
fn a_failed_verify_rolls_back_through_turn_and_race() {
    use Event::{Done, Failed};
    let table = &crate::table::POSTGRES_PASSWORD;
    let no = Failed { again: false };
    assert_eq!(
        story(Saga::begin(table), &[Done, Done, Done, no, Done, Done, Done, Done])[3..],
        [State::Do(Step::Verify), State::Turn, State::Race, State::Undo(Step::Apply), State::Close, State::Ended(End::RolledBack)]
    );
}

#[test]
fn a_publish_whose_answer_was_lost_is_looked_at_and_never_undone_blindly() {
    use Event::{Done, Live as L, Unknown};
    let table = &crate::table::RANDOM;
    let states = story(Saga::begin(table), &[Done, Done, Unknown, L(Live::Candidate), Done, Done]);
    assert_eq!(states.last(), Some(&State::Ended(End::Rotated)));
    let states = story(Saga::begin(table), &[Done, Done, Unknown, L(Live::Old), Done, Done]);
    assert_eq!(states[4..7], [State::Recheck(Way::Forward), State::Do(Step::Publish), State::Do(Step::Confirm)]);
}

#[test]
fn whoever_takes_over_a_rollback_finishes_what_a_frozen_publisher_published() {
    let table = &crate::table::POSTGRES_PASSWORD;
    let states = story(Saga::recover(table, Way::Back), &[Event::Conflict, Event::Live(Live::Candidate), Event::Done, Event::Done]);
    assert_eq!(states.last(), Some(&State::Ended(End::Rotated)));
}

#[test]
fn an_unknown_rotate_role_is_probed_not_repeated() {
    use Event::{Done, NotHappened, Unknown};
    let states = story(Saga::begin(&VAULT_STATIC_ROLE), &[Done, Done, Unknown, Done]);
    assert_eq!(states[3..5], [State::Probe(Step::Rotate), State::Do(Step::Verify)]);
    let states = story(Saga::begin(&VAULT_STATIC_ROLE), &[Done, Done, Unknown, NotHappened]);
    assert_eq!(states[4], State::Do(Step::Rotate));
}

#[test]
fn a_rollback_that_cannot_reach_its_target_is_left_for_later_until_its_patience_is_over() {
    use Event::{Done, Failed};
    let undoing = Saga::recover(&crate::table::POSTGRES_PASSWORD, Way::Back).next(Done, SMALL).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(undoing.state, State::Undo(Step::Apply));
    for (patient, end) in [(true, State::Ended(End::Suspended)), (false, State::Park(Stuck::UndoFailed))] {
        let limits = Limits { patient, ..SMALL };
        let mut saga = undoing;
        for _ in 0..2 {
            saga = saga.next(Failed { again: true }, limits).unwrap_or_else(|e| panic!("{e}"));
        }
        assert_eq!(saga.state, end);
        let refused = undoing.next(Failed { again: false }, limits).map(|s| s.state);
        assert_eq!(refused, Ok(State::Park(Stuck::UndoFailed)), "where trying again cannot help a person is asked at once");
    }
}
