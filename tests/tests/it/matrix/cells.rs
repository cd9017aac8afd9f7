//! The cells of the matrix: every exchange that a rotation makes when it goes well, told by what passed on the ways and by the daemon's log.

use keyward_harness::Seen;
use serde_json::Value;
use std::collections::BTreeMap;

/// The label of what comes after the rotation itself: retiring, promoting, removing.
pub const LATER: &str = "later";
/// The label of what comes before its first step.
pub const BEGIN: &str = "begin";

/// One exchange in one rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its name on its way.
    pub call: String,
    /// How many like it come before it.
    pub pass: usize,
    /// The step in which it is made.
    pub step: String,
}

impl Cell {
    /// The server that is asked.
    pub fn server(&self) -> Server {
        let first = self.call.split(' ').next().unwrap_or_default();
        match first {
            "postgres" => Server::Postgres,
            "provider" => Server::Provider,
            _ if first.starts_with("redis") => Server::Redis,
            _ => Server::Vault,
        }
    }
}

/// Who is at the other end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    Vault,
    Postgres,
    Redis,
    Provider,
}

/// The cells of a rotation whose exchanges were marked with how long the log was.
pub fn cells(secret: &str, seen: Vec<Seen>, log: &str) -> Vec<Cell> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut all = Vec::new();
    for Seen { call, mark } in seen {
        let pass = counts.entry(call.clone()).or_default();
        let behind = log.get(usize::try_from(mark).unwrap_or(usize::MAX)..).unwrap_or_default();
        all.push(Cell { step: step(secret, log, behind), call, pass: *pass });
        *pass += 1;
    }
    all
}

/// The step of an exchange: the first that the log calls done behind it, since a step's line is written before the next one begins.
fn step(secret: &str, log: &str, behind: &str) -> String {
    let is_later = log.strip_suffix(behind).is_some_and(|before| before.lines().any(|line| message(secret, line) == Some(ENDED.into())));
    for line in behind.lines() {
        match message(secret, line) {
            Some(said) if said == BEGINS => return if is_later { LATER } else { BEGIN }.to_owned(),
            Some(said) if said == DONE => {
                let step = json(line).and_then(|json| json["step"].as_str().map(str::to_owned)).unwrap_or_default();
                return if is_later { format!("{LATER} {step}") } else { step };
            }
            Some(said) if said.contains("older value was") => return LATER.to_owned(),
            _ => {}
        }
    }
    if is_later { LATER.to_owned() } else { "end".to_owned() }
}

const BEGINS: &str = "Rotation begins.";
const DONE: &str = "Step done.";
const ENDED: &str = "Rotation ended.";

fn json(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

fn message(secret: &str, line: &str) -> Option<String> {
    let line = json(line)?;
    (line["secret"] == secret).then(|| line["message"].as_str().map(str::to_owned)).flatten()
}

/// A generator of numbers that is the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of these; `None` of none.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(of.len()).ok().filter(|count| *count > 0)?;
        of.get(usize::try_from(self.next() % count).ok()?)
    }

    /// The same in another order.
    pub fn shuffled<T>(&mut self, mut all: Vec<T>) -> Vec<T> {
        let mut out = Vec::new();
        while !all.is_empty() {
            let at = usize::try_from(self.next()).unwrap_or(0) % all.len();
            out.push(all.swap_remove(at));
        }
        out
    }
}

#[test]
fn an_exchange_belongs_to_the_step_that_the_log_calls_done_next() {
    let line = |message: &str, step: &str| format!("{{\"message\":\"{message}\",\"secret\":\"s\",\"step\":\"{step}\"}}\n");
    let lines = [
        line(BEGINS, ""),
        line(DONE, "preflight"),
        line(DONE, "stage").replace("\"s\"", "\"other\""),
        line(DONE, "stage"),
        line(ENDED, ""),
        line("An older value was taken care of.", ""),
        line(BEGINS, ""),
        line(DONE, "publish"),
    ];
    let log = lines.concat();
    let mark = |lines_before: usize| lines[..lines_before].concat().len() as u64;
    let seen = |call: &str, lines_before| Seen { call: call.into(), mark: mark(lines_before) };
    let found = cells("s", vec![seen("a", 0), seen("a", 1), seen("b", 2), seen("c", 5), seen("d", 6), seen("e", 7), seen("f", 8)], &log);
    let steps: Vec<&str> = found.iter().map(|cell| cell.step.as_str()).collect();
    assert_eq!(steps, ["begin", "preflight", "stage", "later", "later", "later publish", "later"]);
    assert_eq!([found[0].pass, found[1].pass, found[2].pass], [0, 1, 0]);
    assert_eq!(Cell { call: "redis-2 ACL SETUSER".into(), ..found[0].clone() }.server(), Server::Redis);
}
