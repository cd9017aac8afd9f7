//! Scenes in which somebody is taken over: they wait for the lease side by side, as soon as the first test asks for one of them.

use super::{publishing, target, zombies};
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;

type Scenes = BTreeMap<&'static str, JoinHandle<()>>;

const ALL: [(&str, fn()); 7] = [
    ("publisher", publishing::frozen_publisher),
    ("finish", publishing::frozen_finish),
    ("undo", target::undo_then_apply),
    ("number", target::number_after_a_rollback),
    ("rotate-role", target::frozen_rotate_role),
    ("zombie", zombies::one_user),
    ("zombie of two", zombies::two_users),
];

static SCENES: LazyLock<Mutex<Scenes>> =
    LazyLock::new(|| Mutex::new(ALL.into_iter().map(|(name, play)| (name, std::thread::spawn(play))).collect()));

/// Waits for the end of a scene; its failure is the test's.
pub fn played(name: &str) {
    let scene = SCENES.lock().unwrap_or_else(PoisonError::into_inner).remove(name).expect("a scene of this name, once");
    if let Err(why) = scene.join() {
        std::panic::resume_unwind(why);
    }
}
