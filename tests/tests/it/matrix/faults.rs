//! What can go wrong with a server, put into an exchange.

use super::bench::{Bench, LONG, NAME};
use super::caught;
use super::cells::{Cell, Server};
use keyward_harness::{Fault, Reach, Shop, wait_until};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Wrong {
    pub what: &'static str,
    pub at: Server,
    how: How,
    /// Only a login is refused like this.
    login: bool,
    /// What it may be called; empty where nothing need fail.
    called: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// One exchange, and so many like it.
    Fault(Fault, usize),
    /// This exchange, and so many of whatever else is asked of that server.
    Outage(Fault, usize),
    /// Vault is sealed for real, and unsealed when the command has ended.
    Sealed,
}

/// The status knows of a failure after so long.
const SOON: Duration = Duration::from_secs(20);

const LATE: Fault = Fault::Late(Duration::from_secs(2));

const fn wrong(at: Server, what: &'static str, how: How, called: &'static [&'static str]) -> Wrong {
    Wrong { what, at, how, login: false, called }
}

const fn at_login(at: Server, what: &'static str, words: &'static str, called: &'static [&'static str]) -> Wrong {
    Wrong { what, at, how: How::Fault(Fault::Refused(words), 0), login: true, called }
}

/// No connection, or it broke. A program's failure is its own, whatever kept it from its work.
const GONE: &[&str] = &["unreachable", "timeout", "other"];
const REFUSED: &[&str] = &["denied", "wrong_password", "refused", "other"];

use How::{Fault as Once, Outage, Sealed};
use Server::{Postgres, Provider, Redis, Vault};

/// Everything that goes wrong.
pub const ALL: [Wrong; 32] = [
    wrong(Vault, "sealed", Sealed, &["sealed"]),
    wrong(Vault, "not reached", Once(Fault::NotSent, 0), GONE),
    wrong(Vault, "unreachable for a while", Outage(Fault::NotSent, 7), GONE),
    wrong(Vault, "answer lost", Once(Fault::AnswerLost, 0), GONE),
    wrong(Vault, "answers lost", Once(Fault::AnswerLost, 2), GONE),
    wrong(Vault, "slow", Once(LATE, 0), &[]),
    wrong(Vault, "403", Once(Fault::Status(403), 0), &["denied"]),
    wrong(Vault, "429", Once(Fault::Status(429), 2), &["unreachable"]),
    wrong(Vault, "472", Once(Fault::Status(472), 2), &["sealed"]),
    wrong(Vault, "473", Once(Fault::Status(473), 2), &["sealed"]),
    wrong(Vault, "500", Once(Fault::Status(500), 2), &["unreachable"]),
    wrong(Vault, "503", Once(Fault::Status(503), 2), &["sealed", "unreachable"]),
    wrong(Postgres, "not reached", Once(Fault::NotSent, 0), GONE),
    wrong(Postgres, "down for a while", Outage(Fault::NotSent, 5), GONE),
    wrong(Postgres, "answer lost", Once(Fault::AnswerLost, 0), GONE),
    wrong(Postgres, "slow", Once(LATE, 0), &[]),
    wrong(Postgres, "shut down", Once(Fault::Refused("57P01"), 0), GONE),
    at_login(Postgres, "refusing", "28000", &["refused"]),
    at_login(Postgres, "another password", "28P01", &["wrong_password"]),
    at_login(Postgres, "out of connections", "53300", &["unreachable"]),
    wrong(Redis, "not reached", Once(Fault::NotSent, 0), GONE),
    wrong(Redis, "down for a while", Outage(Fault::NotSent, 5), GONE),
    wrong(Redis, "answer lost", Once(Fault::AnswerLost, 0), GONE),
    wrong(Redis, "slow", Once(LATE, 0), &[]),
    wrong(Redis, "loading", Once(Fault::Refused("LOADING Redis is loading the dataset in memory"), 0), GONE),
    wrong(
        Redis,
        "denying",
        Once(Fault::Refused("NOPERM this user has no permissions to run this command"), 0),
        &["insufficient_privilege"],
    ),
    at_login(Redis, "another password", "WRONGPASS invalid username-password pair or user is disabled.", &["wrong_password"]),
    at_login(Redis, "out of connections", "ERR max number of clients reached", &["unreachable"]),
    wrong(Provider, "down for a while", Outage(Fault::NotSent, 2), GONE),
    wrong(Provider, "answer lost", Once(Fault::AnswerLost, 0), GONE),
    wrong(Provider, "refusing", Once(Fault::Status(401), 0), REFUSED),
    wrong(Provider, "500", Once(Fault::Status(500), 0), GONE),
];

impl Wrong {
    /// Whether it can go wrong with this exchange.
    pub fn fits(&self, cell: &Cell) -> bool {
        self.at == cell.server() && (!self.login || cell.call.ends_with(" login") || cell.call.ends_with(" AUTH"))
    }

    /// Whether all of Vault is touched, for everybody.
    pub fn is_for_all(&self) -> bool {
        matches!(self.how, Sealed)
    }
}

/// Cells that may end stuck, of whatever kind, and why.
pub struct MayStick {
    pub step: &'static str,
    pub at: Server,
    pub what: &'static str,
    pub why: &'static str,
}

const fn may(step: &'static str, at: Server, what: &'static str, why: &'static str) -> MayStick {
    MayStick { step, at, what, why }
}

const DENIED: &str =
    "the new value is in force, and Vault denies Keyward to prove it or to copy it: no time mends a policy, so a person is asked at once";
const UNPROVED: &str = "the new value is in force, and its target refuses whoever proves it: a person is asked at once";

/// A person who resumes them finds all well. Before the point of no return the same refusals roll back.
pub const MAY_STICK: [MayStick; 10] = [
    may("handover", Vault, "403", DENIED),
    may("publish", Vault, "403", DENIED),
    may("verify", Vault, "403", DENIED),
    may("confirm", Vault, "403", DENIED),
    may("later confirm", Vault, "403", DENIED),
    may("verify", Postgres, "refusing", UNPROVED),
    may("confirm", Postgres, "refusing", UNPROVED),
    may("confirm", Redis, "denying", UNPROVED),
    may("confirm", Redis, "another password", UNPROVED),
    may("confirm", Provider, "refusing", UNPROVED),
];

/// Puts it into this exchange and demands that all is well in the end. Whether it came to that; whether it was stuck on the way.
pub fn one(bench: &mut Bench, cell: &Cell, wrong: &Wrong) -> (bool, bool) {
    bench.runs();
    bench.settled();
    let traffic = Arc::clone(&bench.ways.traffic);
    let (vault, call) = (bench.shop.vault, bench.call(cell));
    match wrong.how {
        Once(fault, again) => traffic.plan(&call, cell.pass, again, Reach::Alike, fault),
        Outage(fault, again) => traffic.plan(&call, cell.pass, again, Reach::Way, fault),
        Sealed => traffic.first(&call, cell.pass, move || vault.seal().unwrap()),
    }
    let (code, said) = wait_until("the end of the command", LONG, || {
        let (code, said) = bench.rotate();
        let is_deferred = code == Some(75) && !traffic.has_happened();
        (!is_deferred).then_some((code, said))
    });
    if code == Some(0) {
        // It may be meant for what is left for later.
        wait_until("what was left for later", LONG, || (traffic.has_happened() || bench.is_over()).then_some(()));
    }
    let named = if traffic.has_happened() { caught(|| is_named(bench, wrong, code, &said)) } else { Ok(()) };
    let has_happened = !traffic.clear();
    if wrong.is_for_all() && has_happened {
        // It may only just have begun, when it was meant for what is left for later.
        wait_until("the seal", LONG, || vault.health().is_ok_and(|status| status == 503).then_some(()));
        vault.unseal().unwrap();
    }
    named.unwrap_or_else(|why| panic!("{why}"));
    bench.settled();
    let is_stuck = bench.is_stuck();
    if is_stuck {
        go_on(&bench.shop);
        bench.settled();
    }
    bench.judge();
    (has_happened, is_stuck)
}

/// The failure is called what it is, to whoever waits and in the status.
fn is_named(bench: &Bench, wrong: &Wrong, code: Option<i32>, said: &str) {
    // In so many words too: of a canary's password, which is not the one that is rotated, and of what is published.
    let is_worded = |text: &str| wrong.called == ["wrong_password"] && text.contains("refuses this user and password");
    let names = |text: &str| wrong.called.iter().any(|class| text.contains(&format!("[{class}]"))) || is_worded(text);
    let failed: Vec<&str> = said.lines().filter(|line| line.trim_start().starts_with('✗')).collect();
    assert!(failed.is_empty() || names(&failed.concat()), "it is called something else than {:?}: {failed:?}", wrong.called);
    // On a machine that is slow enough the daemon may lose its own rotation to itself, and takes it up again: that is no failure.
    if code != Some(0) && !said.contains("in somebody else's hands") {
        let mut status = String::new();
        // The board learns of it a moment after the command.
        let deadline = Instant::now() + SOON;
        // What was left in the middle may have been taken up again and ended well before anybody asks.
        let is_over = || said.contains("left in the middle") && bench.is_settled();
        while !names(&status) && !is_over() {
            assert!(Instant::now() < deadline, "the status does not say {:?}: {status}\nthe command said: {said}", wrong.called);
            let output = bench.shop.run(&["status", NAME]).unwrap();
            status = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        }
    }
}

/// A person has looked, and lets it go on.
fn go_on(shop: &Shop<'_>) {
    let output = shop.run(&["resume", NAME]).unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() || said.contains("old value is in force"), "it does not go on when it is resumed: {said}");
}
