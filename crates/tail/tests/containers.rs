//! Logs that a container runtime writes: envelopes, parts, their rotation, and restarts in the middle of a line.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set its scene must fail")]

mod scene;

use std::fs;
use std::os::unix::fs::symlink;

use keyward_tail::{Format, Options};
use scene::{Scene, append, gzip};

const TIME: &str = "2026-03-02T09:15:04.118520331Z";

fn cri() -> Scene {
    Scene::with(Options { format: Format::Cri, ..Options::default() })
}

fn whole(text: &str) -> String {
    format!("{TIME} stdout F {text}\n")
}

fn part(text: &str) -> String {
    format!("{TIME} stdout P {text}\n")
}

#[test]
fn a_restart_between_the_parts_of_a_line_neither_loses_nor_doubles() {
    let mut scene = cri();
    append(&scene.log(), &(whole("1") + &part("2a ") + &part("2b ")));
    assert_eq!(scene.read(), ["1"]);
    scene.restart();
    assert_eq!(scene.follower.counters().lines, 1);
    assert_eq!(scene.follower.counters().bytes, whole("1").len() as u64);
    append(&scene.log(), &format!("{TIME} stderr F a log line of the server\n{}{}", whole("2c"), whole("3")));
    assert_eq!(scene.read(), ["2a 2b 2c", "3"]);
    let counters = *scene.follower.counters();
    assert_eq!((counters.lines, counters.bytes), (3, fs::metadata(scene.log()).unwrap().len()));
    scene.restart();
    assert!(scene.read().is_empty());
}

#[test]
fn a_line_whose_parts_stand_in_two_files_is_joined_also_over_a_restart() {
    for restart in [false, true] {
        let mut scene = cri();
        append(&scene.log(), &(whole("1") + &part(&"2".repeat(50))));
        assert_eq!(scene.read(), ["1"]);
        // As kubelet names it.
        scene.rename("audit.log", "audit.log.20260302-091504");
        append(&scene.log(), &part("b"));
        assert!(scene.read().is_empty());
        if restart {
            scene.restart();
        }
        append(&scene.log(), &(whole("c") + &whole("3")));
        assert_eq!(scene.read(), ["2".repeat(50) + "bc", "3".into()]);
        let counters = scene.follower.counters();
        assert_eq!((counters.lines, counters.rotations, counters.torn, counters.gaps), (3, 1, 0, 0), "restart {restart}");
    }
}

#[test]
fn rotated_files_behind_links_are_read_after_downtime() {
    // /var/log/containers/x.log → /var/log/pods/y/0.log, which kubelet rotates and compresses.
    let mut scene = cri();
    let pod = scene.path("pod");
    fs::create_dir(&pod).unwrap();
    let long = "x".repeat(80);
    append(&pod.join("0.log"), &whole(&format!("1{long}")));
    symlink(pod.join("0.log"), scene.path("link")).unwrap();
    symlink(scene.path("link"), scene.log()).unwrap();
    scene.read();
    append(&pod.join("0.log"), &whole("2"));
    fs::rename(pod.join("0.log"), pod.join("0.log.20260302-091504")).unwrap();
    gzip(&pod.join("0.log.20260302-091504"));
    append(&pod.join("0.log.20260302-101504"), &whole("3"));
    append(&pod.join("0.log"), &whole("4"));
    scene.restart();
    assert_eq!(scene.read(), ["2", "3", "4"]);
    assert_eq!(scene.follower.counters().gaps, 0);
}

#[test]
fn docker_lines_are_followed() {
    let mut scene = Scene::with(Options { format: Format::Docker, ..Options::default() });
    let entry = |log: &str| format!("{}\n", serde_json::json!({ "log": log, "stream": "stdout", "time": TIME }));
    append(&scene.log(), &(entry("{\"time\":\"<1>\"}\n") + &entry("two ")));
    assert_eq!(scene.read(), ["{\"time\":\"<1>\"}"]);
    scene.restart();
    append(&scene.log(), &entry("parts\n"));
    assert_eq!(scene.read(), ["two parts"]);
}

#[test]
fn parts_that_never_end_are_bounded_and_counted() {
    let mut scene = Scene::with(Options { format: Format::Cri, max_line: 1000, ..Options::default() });
    append(&scene.log(), &part(&"x".repeat(100)).repeat(50));
    assert!(scene.read().is_empty());
    append(&scene.log(), &(whole("end") + &whole("1")));
    assert_eq!(scene.read(), ["1"]);
    assert_eq!(scene.follower.counters().too_long, 1);
}
