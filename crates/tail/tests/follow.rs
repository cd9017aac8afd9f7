//! One file action after another against a real folder, and what the follower makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set its scene must fail")]

mod scene;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use keyward_tail::{Checkpoint, Event, Follower, GapReason, Options, Start};
use scene::{Scene, append};

#[test]
fn a_missing_file_is_said_once_and_read_when_it_appears() {
    let mut scene = Scene::new();
    assert!(scene.read().is_empty());
    assert_eq!(scene.events, [Event::Missing]);
    append(&scene.log(), "one\n");
    assert_eq!(scene.read(), ["one"]);
    assert_eq!(scene.follower.counters().missing, 1);
}

#[test]
fn a_line_is_held_until_its_newline() {
    let mut scene = Scene::new();
    append(&scene.log(), "one\ntw");
    assert_eq!(scene.read(), ["one"]);
    assert_eq!(scene.follower.bytes_behind(), 2);
    append(&scene.log(), "o\n");
    assert_eq!(scene.read(), ["two"]);
    assert_eq!(scene.follower.bytes_behind(), 0);
    assert_eq!((scene.follower.counters().lines, scene.follower.counters().bytes), (2, 8));
}

#[test]
fn start_at_the_end_begins_with_the_first_incomplete_line() {
    let mut scene = Scene::with(Options { start: Start::End, ..Options::default() });
    append(&scene.log(), "old\nhal");
    assert!(scene.read().is_empty());
    append(&scene.log(), "f\nnew\n");
    assert_eq!(scene.read(), ["half", "new"]);
}

#[test]
fn a_renamed_file_is_drained_while_its_writer_keeps_it() {
    let mut scene = Scene::new();
    let mut old = append(&scene.log(), "1\n");
    assert_eq!(scene.read(), ["1"]);
    scene.rename("audit.log", "audit.log.1");
    old.write_all(b"2\n").unwrap();
    assert_eq!(scene.read(), ["2"], "the path is missing, the writer goes on");
    append(&scene.log(), "");
    old.write_all(b"3\n").unwrap();
    assert_eq!(scene.read(), ["3"], "an empty new file does not end the old one");
    old.write_all(b"4\n").unwrap();
    append(&scene.log(), "5\n");
    assert_eq!(scene.read(), ["4", "5"]);
    let counters = scene.follower.counters();
    assert_eq!((counters.rotations, counters.gaps, counters.torn), (1, 0, 0));
}

#[test]
fn a_late_line_after_the_new_file_began_still_counts() {
    let mut scene = Scene::new();
    let mut old = append(&scene.log(), "1\n");
    scene.read();
    scene.rename("audit.log", "audit.log.1");
    append(&scene.log(), "3\n");
    let mut lines = Vec::new();
    scene.follower.poll(&mut |line| lines.push(line.bytes.to_vec()));
    assert!(lines.is_empty(), "the old file must be seen quiet first");
    old.write_all(b"2\n").unwrap();
    assert_eq!(scene.read(), ["2", "3"]);
}

#[test]
fn two_rotations_while_behind_are_read_in_order() {
    let mut scene = Scene::new();
    append(&scene.log(), "1\n");
    scene.read();
    append(&scene.log(), "2\n");
    for (n, content) in [("a", "3\n"), ("b", "4\n"), ("c", "5\n")] {
        for (from, to) in [("audit.log.2", "audit.log.3"), ("audit.log.1", "audit.log.2"), ("audit.log", "audit.log.1")] {
            let _absent_at_first = fs::rename(scene.path(from), scene.path(to));
        }
        append(&scene.log(), content);
        assert!(!n.is_empty());
    }
    assert_eq!(scene.read(), ["2", "3", "4", "5"]);
    assert_eq!(scene.follower.counters().rotations, 3);
}

#[test]
fn dated_siblings_are_read_in_order_after_a_restart() {
    let mut scene = Scene::new();
    append(&scene.path("audit.log-20260101"), "before everything\n");
    append(&scene.log(), "1\n");
    scene.read();
    scene.rename("audit.log", "audit.log-20260102");
    append(&scene.path("audit.log-20260102"), "2\n");
    append(&scene.path("audit.log-20260103"), "3\n");
    append(&scene.path("audit.log.bak"), "a stranger\n");
    append(&scene.log(), "4\n");
    scene.restart();
    assert_eq!(scene.read(), ["2", "3", "4"]);
    assert_eq!(scene.follower.counters().gaps, 0);
}

#[test]
fn a_restart_finds_the_renamed_file_though_the_path_is_still_missing() {
    let mut scene = Scene::new();
    append(&scene.log(), "1\n");
    scene.read();
    scene.rename("audit.log", "audit.log.1");
    append(&scene.path("audit.log.1"), "2\n");
    scene.restart();
    assert_eq!(scene.read(), ["2"]);
    append(&scene.log(), "3\n");
    assert_eq!(scene.read(), ["3"]);
}

#[test]
fn a_checkpoint_carries_position_and_counters_together() {
    let mut scene = Scene::new();
    append(&scene.log(), "1\n2\nhalf");
    scene.read();
    let before = *scene.follower.counters();
    scene.restart();
    assert_eq!(*scene.follower.counters(), before);
    append(&scene.log(), "!\n");
    assert_eq!(scene.read(), ["half!"]);
    assert_eq!(scene.follower.counters().lines, 3);
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_its_loss_after_a_restart_is_counted() {
    let mut scene = Scene::new();
    let mut old = append(&scene.log(), "1\n");
    scene.read();
    fs::remove_file(scene.log()).unwrap();
    old.write_all(b"2\n").unwrap();
    assert_eq!(scene.read(), ["2"]);
    assert!(scene.events.contains(&Event::Missing));
    scene.restart();
    assert!(scene.read().is_empty());
    assert_eq!(scene.follower.counters().gaps, 0, "nothing is claimed lost before a new file shows it");
    append(&scene.log(), "3\n");
    assert_eq!(scene.read(), ["3"]);
    assert!(scene.events.contains(&Event::Gap { reason: GapReason::FileGone }));
    assert_eq!(scene.follower.counters().gaps, 1);
}

#[test]
fn another_file_renamed_over_the_path_is_followed() {
    let mut scene = Scene::new();
    append(&scene.log(), "1\n");
    scene.read();
    append(&scene.path("new"), "2\n");
    scene.rename("new", "audit.log");
    assert_eq!(scene.read(), ["2"]);
    append(&scene.log(), "3\n");
    assert_eq!(scene.read(), ["3"]);
}

#[test]
fn a_symlink_that_points_elsewhere_is_followed() {
    let mut scene = Scene::new();
    append(&scene.path("a"), "1\n");
    symlink("a", scene.log()).unwrap();
    assert_eq!(scene.read(), ["1"]);
    scene.restart();
    append(&scene.path("b"), "2\n");
    fs::remove_file(scene.log()).unwrap();
    symlink("b", scene.log()).unwrap();
    assert_eq!(scene.read(), ["2"]);
}

#[test]
fn copytruncate_goes_on_in_the_copy() {
    for restart in [false, true] {
        let mut scene = Scene::new();
        let first = format!("1 {}\n", "x".repeat(100));
        append(&scene.log(), &first);
        scene.read();
        append(&scene.log(), "2\n");
        fs::copy(scene.log(), scene.path("audit.log.1")).unwrap();
        File::options().write(true).open(scene.log()).unwrap().set_len(0).unwrap();
        // Longer than before, so that the length alone does not tell.
        append(&scene.log(), &format!("3 {}\n", "y".repeat(300)));
        if restart {
            scene.restart();
        }
        let lines = scene.read();
        assert_eq!(lines.len(), 2, "restart {restart}: {lines:?} {:?}", scene.events);
        assert!(lines[0] == "2" && lines[1].starts_with("3 y"), "{lines:?}");
        let counters = scene.follower.counters();
        assert_eq!((counters.truncations, counters.gaps), (1, 0), "restart {restart}");
    }
}

#[test]
fn a_truncation_without_a_copy_is_a_gap() {
    for restart in [false, true] {
        let mut scene = Scene::new();
        append(&scene.log(), "1\n2\nhalf");
        scene.read();
        File::options().write(true).open(scene.log()).unwrap().set_len(0).unwrap();
        append(&scene.log(), "3\n");
        if restart {
            scene.restart();
        }
        assert_eq!(scene.read(), ["3"]);
        let counters = scene.follower.counters();
        assert_eq!((counters.truncations, counters.gaps), (1, 1), "restart {restart}");
    }
}

#[test]
fn a_compressed_file_in_between_is_a_gap_that_is_named() {
    let mut scene = Scene::new();
    append(&scene.log(), "1\n");
    scene.read();
    scene.rename("audit.log", "audit.log.2");
    append(&scene.path("audit.log.1.gz"), "not text");
    append(&scene.log(), "3\n");
    scene.restart();
    assert_eq!(scene.read(), ["3"]);
    assert!(scene.events.contains(&Event::Gap { reason: GapReason::Compressed(scene.path("audit.log.1.gz")) }));
}

#[test]
fn a_line_over_the_limit_and_a_torn_end_are_counted() {
    let mut scene = Scene::with(Options { max_line: 5, chunk: 3, ..Options::default() });
    append(&scene.log(), "12345\n123456\n1\ntorn");
    assert_eq!(scene.read(), ["12345", "1"]);
    scene.rename("audit.log", "audit.log.1");
    append(&scene.log(), "2\n");
    assert_eq!(scene.read(), ["2"]);
    assert!(scene.events.contains(&Event::TooLong { offset: 6, bytes: 7 }));
    assert!(scene.events.contains(&Event::Torn { bytes: 4 }));
    let counters = scene.follower.counters();
    assert_eq!((counters.too_long, counters.torn, counters.lines), (1, 1, 3));
}

#[test]
fn a_skipped_line_is_not_counted_twice_over_a_restart() {
    let mut scene = Scene::with(Options { max_line: 5, chunk: 3, ..Options::default() });
    append(&scene.log(), "1\nmuch longer than five");
    assert_eq!(scene.read(), ["1"]);
    scene.restart();
    append(&scene.log(), "!\n2\n");
    assert_eq!(scene.read(), ["2"]);
    assert_eq!(scene.follower.counters().too_long, 1);
}

#[test]
fn a_poll_stops_at_its_budget() {
    let mut scene = Scene::with(Options { chunk: 16, poll_bytes: 64, ..Options::default() });
    append(&scene.log(), &"12345678\n".repeat(100));
    let outcome = scene.follower.poll(&mut |_| {});
    assert!(!outcome.at_end && outcome.bytes <= 64, "{outcome:?}");
    assert_eq!(scene.read().len() as u64 + outcome.lines, 100);
}

#[test]
fn checkpoints_of_a_newer_format_are_refused_by_name() {
    let error = Checkpoint::decode(r#"{"format":"2","somewhere":"else"}"#).unwrap_err();
    assert!(error.to_string().contains("format 2"), "{error}");
    assert!(Checkpoint::decode("{").is_err());
    assert!(Follower::open(Path::new("/"), None, Options::default()).is_err());
}
