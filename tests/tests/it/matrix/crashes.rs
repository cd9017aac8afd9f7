//! SIGKILL before and after an exchange.

use super::bench::{Bench, LONG};
use super::cells::Cell;
use keyward_harness::{Moment, Signal, wait_until};
use std::sync::Arc;
use std::time::Duration;

/// Kills the daemon at this moment, starts it again, and demands that all is well. Whether it came to that: an exchange that chance has
/// brought into a rotation may not be made in the next.
pub fn one(bench: &mut Bench, cell: &Cell, moment: Moment) -> bool {
    bench.runs();
    bench.settled();
    let (daemon, call) = (bench.daemon(), bench.call(cell));
    let victim = Arc::clone(&daemon);
    let traffic = Arc::clone(&bench.ways.traffic);
    traffic.act(&call, cell.pass, moment, move || {
        // If it is gone already, the test says so below.
        let _ = victim.signal(Signal::KILL);
        let _ = victim.wait(LONG);
    });
    wait_until("the daemon to be killed", LONG, || {
        let (code, said) = bench.rotate();
        // The command may hear of the end a moment before the process can be asked for it.
        if daemon.wait(if code == Some(0) { Duration::ZERO } else { Duration::from_secs(5) }).is_some() {
            return Some(());
        }
        match code {
            // Deferred, because a consumer's session of the idle user is just ending: it is asked for again.
            Some(75) => None,
            Some(0) => {
                let is_over = || daemon.exited().unwrap().is_some() || traffic.has_happened() || bench.is_over();
                wait_until("what was left for later", LONG, || is_over().then_some(()));
                Some(())
            }
            _ => panic!("the rotation ended with {code:?}: {said}"),
        }
    });
    let has_happened = !traffic.clear();
    assert_eq!(daemon.wait(if has_happened { LONG } else { Duration::ZERO }).is_some(), has_happened, "the daemon died of something else");
    drop(daemon);
    bench.runs();
    bench.settled();
    bench.judge();
    has_happened
}
