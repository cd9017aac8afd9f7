//! What goes wrong around a log: shut, missing, cut, huge, and inodes and checkpoints that are not what they seem.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set its scene must fail")]

mod scene;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;

use keyward_tail::{Checkpoint, Event, Follower, GapReason, Options};
use scene::{Scene, append, line};

#[test]
fn what_is_no_regular_file_is_unreadable_until_it_is_one() {
    let mut scene = Scene::new();
    fs::create_dir(scene.log()).unwrap();
    assert!(scene.read().is_empty());
    assert!(matches!(scene.events[..], [Event::Unreadable { kind: std::io::ErrorKind::InvalidInput, .. }]));
    fs::remove_dir(scene.log()).unwrap();
    append(&scene.log(), "1\n");
    assert_eq!(scene.read(), ["1"]);
}

/// The superuser reads whatever the mode says, so that these run as somebody else: in a copy of this program, called for one test.
fn as_nobody(test: &str, run: impl FnOnce()) {
    const CALLED: &str = "KEYWARD_TEST_AS_NOBODY";
    let folder = tempfile::tempdir().unwrap();
    let shut = folder.path().join("shut");
    append(&shut, "");
    set_mode(&shut, 0);
    if File::open(&shut).is_err() {
        return run();
    }
    assert!(std::env::var_os(CALLED).is_none(), "nobody reads what is shut");
    let program = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["--exact", test]).env(CALLED, "1").env("TMPDIR", folder.path()).current_dir("/").uid(65534).gid(65534);
    // Whatever another test has just forked holds the copy open for writing until it runs its own program.
    let started = (0..1_000).find_map(|_| match command.output() {
        Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
            std::thread::yield_now();
            None
        }
        other => Some(other),
    });
    let output = started.expect("the copy stays busy").unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn permission_lost_and_regained() {
    as_nobody("permission_lost_and_regained", || {
        let mut scene = Scene::new();
        append(&scene.log(), "1\n");
        set_mode(&scene.log(), 0);
        assert!(scene.read().is_empty());
        assert!(matches!(scene.events[..], [Event::Unreadable { kind: ErrorKind::PermissionDenied, .. }]), "{:?}", scene.events);
        set_mode(&scene.log(), 0o600);
        assert_eq!(scene.read(), ["1"]);
        // What is open stays open; a new start finds it shut, and waits.
        append(&scene.log(), "2\n");
        set_mode(&scene.log(), 0);
        assert_eq!(scene.read(), ["2"]);
        scene.restart();
        assert!(scene.read().is_empty());
        set_mode(&scene.log(), 0o600);
        append(&scene.log(), "3\n");
        assert_eq!(scene.read(), ["3"]);
        let counters = scene.follower.counters();
        assert_eq!((counters.unreadable, counters.gaps, counters.lines), (2, 0, 3));
    });
}

#[test]
fn a_rotated_file_that_is_shut_is_waited_for_and_given_up_at_last() {
    as_nobody("a_rotated_file_that_is_shut_is_waited_for_and_given_up_at_last", || {
        for regained in [true, false] {
            let mut scene = Scene::with(Options { patience: 20, ..Options::default() });
            append(&scene.log(), &line("1"));
            scene.read();
            scene.rename("audit.log", "audit.log.2");
            append(&scene.path("audit.log.2"), &line("2"));
            append(&scene.path("audit.log.1"), &line("3"));
            append(&scene.log(), &line("4"));
            set_mode(&scene.path("audit.log.1"), 0);
            set_mode(&scene.path("audit.log.2"), 0);
            scene.restart();
            assert!(scene.read().is_empty(), "the file of the checkpoint is shut");
            set_mode(&scene.path("audit.log.2"), 0o600);
            assert_eq!(scene.read_numbers(), ["2"], "the next one is shut");
            if regained {
                set_mode(&scene.path("audit.log.1"), 0o600);
                assert_eq!(scene.read_numbers(), ["3", "4"]);
                assert_eq!(scene.follower.counters().gaps, 0);
                continue;
            }
            for _ in 0..30 {
                scene.poll();
            }
            scene.read();
            assert_eq!(scene.numbers(), ["1", "2", "4"]);
            assert!(scene.events.contains(&Event::Gap { reason: GapReason::Unreadable(scene.path("audit.log.1")) }));
            assert_eq!(scene.follower.counters().gaps, 1);
        }
    });
}

#[test]
fn another_file_on_the_same_inode_is_another_file() {
    for longer in [false, true] {
        let mut scene = Scene::new();
        append(&scene.log(), &line("1"));
        scene.read();
        let before = fs::metadata(scene.log()).unwrap();
        let checkpoint = scene.follower.checkpoint().encode().unwrap();
        // Written beside the old file, so that the inode is another one for certain; then the checkpoint says that it is the same.
        append(&scene.path("new"), &line(if longer { "2 that is longer than what was there before" } else { "2" }));
        scene.rename("new", "audit.log");
        let inode = |number: u64| format!("\"inode\":{number}");
        let after = fs::metadata(scene.log()).unwrap();
        assert_ne!(after.ino(), before.ino());
        let reused = checkpoint.replace(&inode(before.ino()), &inode(after.ino()));
        assert_ne!(reused, checkpoint);
        scene.follower = Follower::open(&scene.log(), Some(Checkpoint::decode(&reused).unwrap()), scene.options).unwrap();
        assert_eq!(scene.read_numbers(), ["2"], "longer: {longer}");
        assert_eq!(scene.follower.counters().gaps, 1, "what the old file held at last is unknown");
    }
}

#[test]
fn a_folder_that_is_missing_at_the_start_may_come_later() {
    let mut scene = Scene::new();
    let log = scene.path("later/audit.log");
    scene.follower = Follower::open(&log, None, scene.options).unwrap();
    assert!(scene.read().is_empty());
    assert_eq!(scene.events, [Event::Missing]);
    fs::create_dir(scene.path("later")).unwrap();
    assert!(scene.read().is_empty());
    append(&log, "1\n");
    assert_eq!(scene.read(), ["1"]);
    fs::remove_dir_all(scene.path("later")).unwrap();
    fs::create_dir(scene.path("later")).unwrap();
    append(&log, "2\n");
    assert_eq!(scene.read(), ["2"]);
    assert_eq!(scene.follower.counters().rotations, 1);
}

#[test]
fn two_copytruncates_between_two_looks_lose_nothing() {
    for (restart, first) in [(false, "1".to_owned()), (false, "1".repeat(5000)), (true, "1".repeat(5000))] {
        let mut scene = Scene::new();
        append(&scene.log(), &line(&first));
        scene.read();
        for n in ["2", "3", "4"] {
            append(&scene.log(), &line(n));
            for (from, to) in [("audit.log.2", "audit.log.3"), ("audit.log.1", "audit.log.2")] {
                let _absent_at_first = fs::rename(scene.path(from), scene.path(to));
            }
            fs::copy(scene.log(), scene.path("audit.log.1")).unwrap();
            append(&scene.log(), &line(&format!("{n}+")));
            if n == "2" {
                // A line is read after the copy was made, which is then shorter than what was read.
                scene.read();
            }
            File::options().write(true).open(scene.log()).unwrap().set_len(0).unwrap();
        }
        append(&scene.log(), &line("5"));
        if restart {
            scene.restart();
        }
        scene.read();
        assert_eq!(scene.numbers(), [&first, "2", "2+", "3", "4", "5"], "3+ and 4+ were written between copy and cut");
        assert_eq!(scene.follower.counters().gaps, 0);
    }
}

#[test]
fn lines_of_32_mib_pass() {
    let mut scene = Scene::new();
    let huge = "x".repeat(32 << 20);
    append(&scene.log(), &format!("1\n{huge}\n2\n"));
    let lines = scene.read();
    assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [1, 32 << 20, 1]);
}

#[test]
fn whatever_a_checkpoint_says_following_from_it_neither_fails_nor_repeats_for_ever() {
    let mut scene = Scene::new();
    append(&scene.log(), &line("1"));
    scene.read();
    let good = scene.follower.checkpoint().encode().unwrap();
    let most = u64::MAX.to_string();
    for (from, to) in [("\"offset\":", format!("\"offset\":{most},\"was\":")), ("\"lines\":1", format!("\"lines\":{most}"))] {
        let text = good.replacen(from, &to, 1);
        assert_ne!(text, good);
        scene.follower = Follower::open(&scene.log(), Some(Checkpoint::decode(&text).unwrap()), scene.options).unwrap();
        append(&scene.log(), &line("2"));
        scene.read();
        assert_eq!(scene.numbers().last().unwrap(), "2");
    }
}
