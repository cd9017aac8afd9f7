//! Rotated files that were compressed before anybody read them: `.1`, `.1.gz`, `.2.zst`, after downtime and under our eyes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set its scene must fail")]

mod scene;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use keyward_harness::wait_until;
use keyward_tail::{Checkpoint, Event, Follower, GapReason, Options};
use scene::{Scene, append, gzip, line, zstd};

#[test]
fn what_was_compressed_while_nobody_followed_is_read_in_order() {
    let mut scene = Scene::new();
    append(&scene.log(), &line("1"));
    assert_eq!(scene.read_numbers(), ["1"]);
    scene.rename("audit.log", "audit.log.4");
    append(&scene.path("audit.log.4"), &line("2"));
    append(&scene.path("audit.log.3"), &line("3"));
    append(&scene.path("audit.log.2"), &line("4"));
    append(&scene.path("audit.log.1"), &line("5"));
    append(&scene.log(), &line("6"));
    gzip(&scene.path("audit.log.4"));
    gzip(&scene.path("audit.log.3"));
    zstd(&scene.path("audit.log.2"));
    scene.restart();
    assert_eq!(scene.read_numbers(), ["2", "3", "4", "5", "6"]);
    let counters = *scene.follower.counters();
    assert_eq!((counters.rotations, counters.gaps, counters.torn, counters.lines), (4, 0, 0, 6));
    scene.restart();
    assert!(scene.read_numbers().is_empty(), "nothing comes twice");
}

#[test]
fn the_place_in_a_compressed_file_survives_a_restart() {
    // One poll reads a few lines only.
    let mut scene = Scene::with(Options { chunk: 256, poll_bytes: 1024, ..Options::default() });
    append(&scene.log(), &line("0"));
    scene.read();
    let text = |from: u32| (from..from + 200).map(|n| line(&n.to_string())).collect::<String>();
    append(&scene.log(), &text(1));
    for (n, from, packing) in [("2", 201, gzip as fn(&std::path::Path)), ("1", 401, zstd)] {
        scene.rename("audit.log", &format!("audit.log.{n}"));
        packing(&scene.path(&format!("audit.log.{n}")));
        append(&scene.log(), &text(from));
    }
    for _ in 0..1000 {
        scene.poll();
        scene.restart();
        // Nothing is behind only when all is read.
        if scene.follower.bytes_behind() == 0 {
            break;
        }
    }
    scene.read();
    let expected: Vec<String> = (0..=600).map(|n| n.to_string()).collect();
    assert_eq!(scene.numbers(), expected);
    assert_eq!(scene.follower.counters().gaps, 0);
}

#[test]
fn compressing_under_our_eyes_costs_and_doubles_nothing() {
    let mut scene = Scene::new();
    append(&scene.log(), &line("1"));
    scene.read();
    // At once, as logrotate without delaycompress.
    scene.rename("audit.log", "audit.log.1");
    append(&scene.path("audit.log.1"), &line("2"));
    // Half of the compressed file is there while the original is.
    fs::write(scene.path("audit.log.1.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    append(&scene.log(), &line("3"));
    assert_eq!(scene.read_numbers(), ["2", "3"]);
    gzip(&scene.path("audit.log.1"));
    // And later, as with delaycompress.
    scene.rename("audit.log.1.gz", "audit.log.2.gz");
    scene.rename("audit.log", "audit.log.1");
    append(&scene.log(), &line("4"));
    gzip(&scene.path("audit.log.1"));
    assert_eq!(scene.read_numbers(), ["4"]);
    scene.restart();
    append(&scene.log(), &line("5"));
    assert_eq!(scene.read_numbers(), ["5"]);
    let counters = scene.follower.counters();
    assert_eq!((counters.gaps, counters.truncations, counters.rotations, counters.torn), (0, 0, 2, 0));
}

#[test]
fn a_compressed_copy_holds_what_was_cut() {
    let mut scene = Scene::new();
    append(&scene.log(), &line("1"));
    scene.read();
    append(&scene.log(), &line("2"));
    fs::copy(scene.log(), scene.path("audit.log.1")).unwrap();
    File::options().write(true).open(scene.log()).unwrap().set_len(0).unwrap();
    gzip(&scene.path("audit.log.1"));
    append(&scene.log(), &line("3"));
    scene.restart();
    assert_eq!(scene.read_numbers(), ["2", "3"]);
    assert_eq!((scene.follower.counters().truncations, scene.follower.counters().gaps), (1, 0));
}

#[test]
fn a_new_file_on_the_inode_of_a_compressed_one_was_not_cut() {
    let mut scene = Scene::new();
    append(&scene.log(), &line("1"));
    scene.read();
    let checkpoint = scene.follower.checkpoint().encode().unwrap();
    append(&scene.log(), &line("2"));
    let before = fs::metadata(scene.log()).unwrap();
    scene.rename("audit.log", "audit.log.1");
    gzip(&scene.path("audit.log.1"));
    // Not all file systems give the inode out again; so the checkpoint says that this one did. Only its time of birth tells, and
    // the kernel's clock is coarse.
    let after = wait_until("a file that was made later", Duration::from_mins(1), || {
        let _absent = fs::remove_file(scene.log());
        append(&scene.log(), &line("3"));
        let made = fs::metadata(scene.log()).unwrap();
        (made.created().unwrap() != before.created().unwrap()).then_some(made)
    });
    let inode = |of: &fs::Metadata| format!("\"inode\":{}}}", of.ino());
    assert_eq!(checkpoint.matches(&inode(&before)).count(), 1, "{checkpoint}");
    let reused = Checkpoint::decode(&checkpoint.replace(&inode(&before), &inode(&after))).unwrap();
    scene.follower = Follower::open(&scene.log(), Some(reused), scene.options).unwrap();
    assert_eq!(scene.read_numbers(), ["2", "3"]);
    scene.restart();
    assert!(scene.read_numbers().is_empty(), "nothing comes twice");
    let counters = scene.follower.counters();
    assert_eq!((counters.truncations, counters.rotations, counters.gaps, counters.lines), (0, 1, 0, 3));
}

#[test]
fn what_cannot_be_decoded_is_a_gap_that_is_named() {
    let mut scene = Scene::new();
    append(&scene.log(), &line("1"));
    scene.read();
    scene.rename("audit.log", "audit.log.9");
    append(&scene.path("audit.log.3.xz"), "not text");
    // Long enough that some of it decodes.
    let text: String = (0..20_000).map(|n| line(&n.to_string())).collect();
    append(&scene.path("audit.log.2"), &text);
    gzip(&scene.path("audit.log.2"));
    let damaged = scene.path("audit.log.2.gz");
    let bytes = fs::read(&damaged).unwrap();
    File::create(&damaged).unwrap().write_all(&bytes[..bytes.len() / 2]).unwrap();
    append(&scene.log(), &line("last"));
    scene.restart();
    let numbers = scene.read_numbers();
    assert!(numbers.len() > 1000 && numbers.len() < 20_000, "{}", numbers.len());
    assert_eq!(numbers[..3], ["0", "1", "2"]);
    assert_eq!(numbers.last().unwrap(), "last");
    assert!(scene.events.contains(&Event::Gap { reason: GapReason::Compressed(scene.path("audit.log.3.xz")) }));
    assert!(scene.events.contains(&Event::Gap { reason: GapReason::Damaged(damaged) }));
    assert_eq!(scene.follower.counters().gaps, 2);
}

#[test]
fn a_huge_compressed_file_is_passed_over_in_bounded_steps() {
    let mut scene = Scene::new();
    append(&scene.log(), &line("1"));
    scene.read();
    // 40 MB of content that was delivered before the place that the checkpoint names.
    let mut text: String = (2..400_000).map(|n| line(&n.to_string())).collect();
    append(&scene.log(), &text);
    scene.read();
    text.clear();
    append(&scene.log(), &line("news"));
    scene.rename("audit.log", "audit.log.1");
    append(&scene.log(), &line("last"));
    gzip(&scene.path("audit.log.1"));
    scene.restart();
    let outcome = scene.poll();
    assert!(outcome.lines == 0 && !outcome.at_end, "one poll reads a bounded part: {outcome:?}");
    assert_eq!(scene.read_numbers(), ["news", "last"]);
}
