//! Ten thousand worlds in which nothing is wrong, and each mutant in one in which something is.
#![allow(missing_docs, clippy::print_stdout, reason = "a test, which says what it saw")]

use keyward_sim::{Mutant, run};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const WORLDS: u64 = 10_000;

/// Within so many seeds the judge must catch each mutant.
const WITHIN: u64 = 1_000;

/// Lives worlds on all cores, and collects what `look` finds.
fn live<T: Send>(worlds: u64, look: impl Fn(u64) -> Option<T> + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let worker = || {
        let mut found = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= worlds {
                return found;
            }
            found.extend(look(seed));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|_| panic!("a world panicked"))).collect()
    })
}

#[test]
fn nothing_is_wrong_in_ten_thousand_worlds() {
    let rotations = AtomicU64::new(0);
    let mut broken = live(WORLDS, |seed| {
        let report = run(seed, false, None);
        rotations.fetch_add(report.rotations, Ordering::Relaxed);
        report.broken.map(|what| format!("cargo xtask sim --seed {seed}: {what}"))
    });
    broken.sort();
    assert!(broken.is_empty(), "{} worlds broke:\n{}", broken.len(), broken.join("\n"));
    let rotations = rotations.into_inner();
    println!("{WORLDS} worlds, {rotations} rotations");
    assert!(rotations > 4 * WORLDS, "only {rotations} rotations: these worlds test little");
}

#[test]
fn every_mutant_is_caught() {
    let mut caught = live(Mutant::ALL.len() as u64, |at| {
        let mutant = Mutant::ALL[usize::try_from(at).unwrap_or_default()];
        let seed = (0..WITHIN).find(|seed| run(*seed, false, Some(mutant)).broken.is_some());
        Some((mutant, seed))
    });
    caught.sort();
    for (mutant, seed) in &caught {
        let by = seed.map_or_else(|| "nothing".into(), |seed| format!("cargo xtask sim --seed {seed} --mutant {}", mutant.name()));
        println!("{} is caught by {by}", mutant.name());
    }
    let free: Vec<String> = caught.iter().filter(|(_, seed)| seed.is_none()).map(|(mutant, _)| mutant.name()).collect();
    assert!(free.is_empty(), "the judge sees nothing wrong with: {}", free.join(", "));
}

#[test]
fn a_seed_is_the_same_world_every_time() {
    for seed in [1, 7, 42] {
        let [first, second] = [run(seed, true, None), run(seed, true, None)];
        assert_eq!(first.story.text(), second.story.text());
        assert!(first.rotations > 0 && first.story.text().contains("nothing was wrong"));
    }
}
