//! Small worlds explored to the end, and mutants that do not survive it.
#![allow(missing_docs, clippy::print_stdout, reason = "a test, which says what it saw")]

use keyward_sim::{Mutant, Small, explore};

/// A world with more states than this is not small.
const MOST: usize = 20_000_000;

/// One slot, one user, two daemons who may find each other silent once.
const BASE: Small =
    Small { two_users: false, slots: 1, crashes: 0, lost: 0, late: 0, refusals: 0, takeovers: 1, beside: 0, foreign: 0, restores: 0 };
const REFUSED: Small = Small { refusals: 1, ..BASE };
const TWO_USERS: Small = Small { two_users: true, ..BASE };
const RESTORED: Small = Small { restores: 1, takeovers: 0, ..BASE };

/// In the ordinary run: one thing goes wrong, beside freezes of any length.
const ORDINARY: [Small; 7] = [
    BASE,
    REFUSED,
    Small { crashes: 1, ..BASE },
    Small { lost: 1, ..BASE },
    Small { beside: 1, ..BASE },
    TWO_USERS,
    Small { refusals: 1, ..TWO_USERS },
];

/// With `KEYWARD_TEST_FULL`: several things go wrong, and two slots, so that the old user is retired while its turn comes again.
const FULL: [Small; 11] = [
    Small { late: 1, ..BASE },
    Small { crashes: 1, lost: 1, ..BASE },
    Small { refusals: 1, crashes: 1, ..BASE },
    Small { refusals: 1, beside: 1, ..BASE },
    Small { refusals: 1, late: 1, ..BASE },
    Small { refusals: 1, takeovers: 2, ..BASE },
    Small { foreign: 1, ..BASE },
    Small { slots: 2, takeovers: 0, ..TWO_USERS },
    Small { crashes: 1, ..TWO_USERS },
    RESTORED,
    Small { two_users: true, ..RESTORED },
];

#[test]
fn nothing_is_wrong_in_any_small_world() {
    let full = std::env::var_os("KEYWARD_TEST_FULL").is_some_and(|value| value == "1");
    let (mut states, mut worlds) = (0, 0);
    for small in ORDINARY.iter().chain(if full { &FULL[..] } else { &[] }) {
        let seen = explore(*small, None, MOST);
        println!("{} states, {} worlds in {small:?}", seen.states, seen.worlds);
        assert_eq!(seen.broken, None, "{small:?}");
        assert!(seen.is_complete, "{small:?}: more than {MOST} states");
        states += seen.states;
        worlds += seen.worlds;
    }
    println!("{states} states, {worlds} worlds in all");
    assert!(states > 40_000 && worlds > 600, "{states} states and {worlds} worlds: these are too small to show anything");
}

#[test]
fn mutants_do_not_survive_in_small_worlds() {
    use Mutant::{
        DirectionNotRecorded, ErrorShowsThePassword, FreshCandidateOnTakeover, NoFence, NothingStaged, NumberNotRaised,
        PublishBeforeVerify, PublishWithoutCheck, RecordDeletedAtTheEnd, SlotNotRecorded, UndoWithoutItsPhase, UndoWithoutTheFence,
        UndoWithoutTheRace, WholeDocumentWritten,
    };
    let all = [
        (PublishBeforeVerify, BASE),
        (NothingStaged, BASE),
        (NoFence, REFUSED),
        (UndoWithoutTheRace, REFUSED),
        (UndoWithoutItsPhase, REFUSED),
        (UndoWithoutTheFence, REFUSED),
        (NumberNotRaised, REFUSED),
        (RecordDeletedAtTheEnd, BASE),
        (SlotNotRecorded, BASE),
        (FreshCandidateOnTakeover, BASE),
        (PublishWithoutCheck, REFUSED),
        (DirectionNotRecorded, REFUSED),
        (WholeDocumentWritten, BASE),
        (ErrorShowsThePassword, REFUSED),
    ];
    for (mutant, small) in all {
        let seen = explore(small, Some(mutant), MOST);
        let Some(broken) = seen.broken else { panic!("{} survives {} states in {small:?}", mutant.name(), seen.states) };
        println!("{} is caught after {} states: {}", mutant.name(), seen.states, broken.lines().next().unwrap_or_default());
    }
}
