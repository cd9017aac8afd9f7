//! Every fault that a network and a Vault can show, put into every call.

use super::{Bench, Cell, SECRETS, sample};
use keyward_harness::{Fault, full, say};
use std::time::Duration;

const FAULTS: [Fault; 9] = [
    Fault::NotSent,
    Fault::AnswerLost,
    Fault::Status(503),
    Fault::Status(429),
    Fault::Status(472),
    Fault::Status(473),
    Fault::Status(500),
    Fault::Status(403),
    Fault::Late(Duration::from_secs(2)),
];

#[test]
fn whatever_goes_wrong_in_a_call_the_rotation_ends_well() {
    let bench = Bench::new();
    let mut ran = 0;
    for (turn, (secret, path)) in SECRETS.into_iter().enumerate() {
        let cells: Vec<(Cell, Fault, usize)> = bench
            .cells(secret)
            .into_iter()
            .flat_map(|cell| FAULTS.iter().flat_map(move |fault| [0, 2].map(|again| (cell.clone(), *fault, again))))
            .collect();
        for (cell, fault, again) in sample(&cells, 5, turn * 7) {
            let name = format!("{secret}, {fault:?} in {} ({}), and {again} times more", cell.call, cell.pass);
            bench.settled(secret);
            bench.proxy.plan(&cell.call, cell.pass, again, fault);
            bench.rotate(secret);
            bench.proxy.clear();
            bench.judge(secret, path, &name);
            ran += 1;
        }
    }
    say(&format!("fault matrix: {ran} cells{}", if full() { "" } else { " (a sample)" }));
}
