//! SIGKILL before and after every call.

use super::{Bench, Cell, SECRETS, sample};
use keyward_harness::{Moment, Signal, full, say, wait_until};
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_mins(2);

#[test]
fn killed_before_and_after_every_call_it_goes_on_by_itself() {
    let mut bench = Bench::new();
    let mut ran = 0;
    for (turn, (secret, path)) in SECRETS.into_iter().enumerate() {
        let cells: Vec<(Cell, Moment)> =
            bench.cells(secret).into_iter().flat_map(|cell| [(cell.clone(), Moment::Before), (cell, Moment::After)]).collect();
        assert!(cells.len() >= 6, "{secret}: too few calls to be a rotation: {cells:?}");
        for (cell, moment) in sample(&cells, 3, turn) {
            one(&mut bench, secret, path, &cell, moment);
            ran += 1;
        }
    }
    say(&format!("crash matrix: {ran} cells{}", if full() { "" } else { " (a sample)" }));
}

fn one(bench: &mut Bench, secret: &str, path: Option<&str>, cell: &Cell, moment: Moment) {
    let name = format!("{secret}, killed {moment:?} {} ({})", cell.call, cell.pass);
    bench.settled(secret);
    let daemon = bench.daemon();
    let victim = Arc::clone(&daemon);
    bench.proxy.act(&cell.call, cell.pass, moment, move || {
        // If it is gone already, the test says so below.
        let _ = victim.signal(Signal::KILL);
        let _ = victim.wait(LONG);
    });
    // A rotation that is deferred, because a consumer's session of the idle user is just ending, is asked for again.
    wait_until(&format!("{name}: the daemon to be killed"), LONG, || {
        let (code, said) = bench.rotate(secret);
        // The command may hear of the end a moment before the process can be asked for it.
        let patience = if matches!(code, Some(0 | 75)) { Duration::ZERO } else { Duration::from_secs(10) };
        let is_dead = daemon.wait(patience).is_some();
        assert!(is_dead || code == Some(75), "{name}: the rotation ended with {code:?} without making this call: {said}");
        is_dead.then_some(())
    });
    assert!(bench.proxy.has_happened(), "{name}: the daemon died of something else");
    drop(daemon);
    bench.start();
    bench.judge(secret, path, &name);
}
