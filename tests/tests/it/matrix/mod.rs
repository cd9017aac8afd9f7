//! Every kind of secret, killed and hindered at every exchange: with Vault, PostgreSQL, Redis, a provider and a program.
//!
//! The cells are taken from what rotations of that kind do when they go well, and told apart by the steps of its table, so that a new step
//! makes new cells by itself. Every cell ends rotated or rolled back, what is published works, and nothing is left over: no candidate, user,
//! lease, key, or value in the record. An ordinary run takes a sample that touches every kind, every step and everything that can go wrong;
//! `KEYWARD_TEST_SEED` repeats one, `KEYWARD_TEST_KINDS` (comma between) runs some kinds only, and `KEYWARD_TEST_CELL` those cells whose
//! description holds this text.

mod bench;
pub mod cells;
mod crashes;
mod faults;
mod subjects;

use bench::Bench;
use cells::{Cell, Dice, LATER, Server};
use faults::{ALL as WRONGS, MAY_STICK, MayStick, Wrong};
use keyward_harness::{Moment, VaultOptions, VaultServer, full, say};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use subjects::{ALL, Make};

/// Kinds that run at once: they mostly wait.
const AT_ONCE: usize = 6;
/// Always the same sample, so that what an ordinary run says depends on the program alone; other seeds are a person's to try.
const SEED: u64 = 1_795_526_586;
/// Of each kind in an ordinary run, beside what is needed to touch everything.
const CRASHES: usize = 2;
const FAULTS: usize = 2;

/// The Vault of these tests, which is sealed at times.
fn vault() -> &'static VaultServer {
    static VAULT: OnceLock<VaultServer> = OnceLock::new();
    VAULT.get_or_init(|| VaultServer::start(&VaultOptions { audit: false, ..VaultOptions::default() }).unwrap())
}

/// Held by every cell; by one that seals Vault, alone.
static UNSEALED: RwLock<()> = RwLock::new(());

/// What is done with an exchange.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Kill(Moment),
    Hinder(&'static Wrong),
}

impl MayStick {
    fn fits(&self, cell: &Cell, deed: Deed) -> bool {
        self.step == cell.step && matches!(deed, Deed::Hinder(wrong) if (wrong.at, wrong.what) == (self.at, self.what))
    }
}

/// What came of one kind.
#[derive(Default)]
struct Account {
    kind: &'static str,
    crashes: usize,
    faults: usize,
    /// Cells that were not reached: chance brought their exchange into what was recorded.
    unreached: Vec<String>,
    stuck: Vec<String>,
    steps: BTreeSet<String>,
    wrongs: BTreeSet<String>,
    failed: Vec<String>,
    took: Duration,
}

#[test]
fn whatever_is_killed_or_goes_wrong_a_rotation_ends_well() {
    let seed = seed();
    let mut kinds: VecDeque<(usize, &'static str, Make)> =
        ALL.into_iter().enumerate().map(|(turn, (kind, _, make))| (turn, kind, make)).collect();
    kinds.retain(|(_, kind, _)| is_wanted(kind));
    let is_whole = kinds.len() == ALL.len() && std::env::var_os("KEYWARD_TEST_CELL").is_none();
    let queue = Mutex::new(kinds);
    let accounts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some((turn, kind, make)) = next else { return };
                    let account = one_kind(kind, make, Dice(seed.wrapping_add(turn as u64)), turn);
                    say(&told(&account));
                    accounts.lock().unwrap().push(account);
                }
            });
        }
    });
    let accounts = accounts.into_inner().unwrap();
    let failed: Vec<&String> = accounts.iter().flat_map(|account| &account.failed).collect();
    let sum = |count: fn(&Account) -> usize| accounts.iter().map(count).sum::<usize>();
    let (crashes, wrongs, unreached) = (sum(|a| a.crashes), sum(|a| a.faults), sum(|a| a.unreached.len()));
    let size = if full() { "all of them".to_owned() } else { format!("a sample, seed {seed}") };
    say(&format!("matrix: {crashes} crashes, {wrongs} faults, {unreached} not reached, {} failed ({size})", failed.len()));
    assert!(failed.is_empty(), "{} cells failed; KEYWARD_TEST_SEED={seed} repeats them:\n{failed:#?}", failed.len());
    assert!(unreached * 10 <= crashes + wrongs, "{unreached} cells were not reached: what is recorded is not what is done");
    if is_whole {
        let touched =
            |of: fn(&Account) -> &BTreeSet<String>| -> BTreeSet<&str> { accounts.iter().flat_map(of).map(String::as_str).collect() };
        let expected: BTreeSet<String> = WRONGS.iter().map(name).collect();
        assert_eq!(touched(|a| &a.wrongs), expected.iter().map(String::as_str).collect(), "not everything went wrong (seed {seed})");
        let steps = touched(|a| &a.steps);
        for step in STEPS {
            assert!(steps.contains(step), "nobody was killed at the step {step} (seed {seed})");
        }
    }
}

/// Every step of every table; that a table has no other is seen when its kind is run.
const STEPS: [&str; 13] =
    ["preflight", "gate", "stage", "issue", "apply", "rotate", "handover", "announce", "verify", "publish", "confirm", "finish", LATER];

/// Steps in which no server is asked; what stands right before and right behind them is asked about.
const WITHOUT_EXCHANGE: [(&str, &str); 1] = [("approle-secret-id to a file", "handover")];

fn name(wrong: &Wrong) -> String {
    format!("{:?}: {}", wrong.at, wrong.what)
}

fn told(account: &Account) -> String {
    let Account { kind, crashes, faults, .. } = account;
    let mut told = format!("  {kind}: {crashes} crashes, {faults} faults, {:.0} s", account.took.as_secs_f32());
    for (what, which) in [("not reached", &account.unreached), ("stuck", &account.stuck), ("FAILED", &account.failed)] {
        told += &which.iter().map(|one| format!("\n    {what}: {}", one.lines().next().unwrap_or_default())).collect::<String>();
    }
    told
}

fn is_wanted(kind: &str) -> bool {
    let wanted = std::env::var("KEYWARD_TEST_KINDS").unwrap_or_default();
    wanted.is_empty() || wanted.split(',').any(|one| one == kind)
}

fn seed() -> u64 {
    let given =
        std::env::var("KEYWARD_TEST_SEED").ok().map(|text| text.parse().unwrap_or_else(|e| panic!("KEYWARD_TEST_SEED={text}: {e}")));
    given.unwrap_or(SEED)
}

/// Runs one kind's cells; a cell that fails costs its bench, not the others.
fn one_kind(kind: &'static str, make: Make, mut dice: Dice, turn: usize) -> Account {
    let began = Instant::now();
    let mut account = Account { kind, ..Account::default() };
    let opened = caught(|| {
        let _unsealed = UNSEALED.read().unwrap_or_else(PoisonError::into_inner);
        let mut bench = Bench::open(kind, make);
        let (steps, cells) = (bench.steps(), bench.cells());
        (bench, steps, cells)
    });
    let (bench, steps, cells) = match opened {
        Ok(opened) => opened,
        Err(why) => {
            account.failed.push(format!("{kind}: {why}"));
            return account;
        }
    };
    for step in &steps {
        let is_seen = cells.iter().any(|cell| cell.step == *step) || WITHOUT_EXCHANGE.contains(&(kind, step));
        if !STEPS.contains(&step.as_str()) || !is_seen {
            let seen: Vec<String> = cells.iter().map(|cell| format!("{}: {}", cell.step, cell.call)).collect();
            account.failed.push(format!("{kind}: no exchange was seen in the step {step}, but {seen:?}"));
        }
    }
    let mut bench = Some(bench);
    for (cell, deed) in chosen(&cells, &mut dice, turn) {
        let what = match deed {
            Deed::Kill(moment) => format!("{kind}, at {}: killed {moment:?} {} ({})", cell.step, cell.call, cell.pass),
            Deed::Hinder(wrong) => format!("{kind}, at {}: {} in {} ({})", cell.step, name(wrong), cell.call, cell.pass),
        };
        if std::env::var("KEYWARD_TEST_CELL").is_ok_and(|text| !what.contains(&text)) {
            continue;
        }
        match caught(|| run(&mut bench, kind, make, &cell, deed)) {
            Ok((reached, stuck)) => note(&mut account, &cell, deed, reached, stuck, &what),
            Err(why) => {
                let spoilt = bench.take();
                let log = spoilt.as_ref().map(Bench::end_of_log).unwrap_or_default();
                say(&format!("✗ {what}: {why}\nthe log ends:\n{log}"));
                account.failed.push(format!("{what}: {why}"));
                let _ = caught(|| drop(spoilt));
            }
        }
    }
    if let Err(why) = caught(|| drop(bench)) {
        account.failed.push(format!("{kind}: {why}"));
    }
    account.took = began.elapsed();
    account
}

/// Runs one cell, and once more where chance was against it; a bench that was spoilt before is made anew.
fn run(bench: &mut Option<Bench>, kind: &'static str, make: Make, cell: &Cell, deed: Deed) -> (bool, bool) {
    let is_for_all = matches!(deed, Deed::Hinder(wrong) if wrong.is_for_all());
    let _alone = is_for_all.then(|| UNSEALED.write().unwrap_or_else(PoisonError::into_inner));
    let _unsealed = (!is_for_all).then(|| UNSEALED.read().unwrap_or_else(PoisonError::into_inner));
    let _opened = is_for_all.then_some(Opened);
    let bench = bench.get_or_insert_with(|| {
        let mut fresh = Bench::open(kind, make);
        fresh.cells(); // creates what later rotations find
        fresh
    });
    let mut once = || match deed {
        Deed::Kill(moment) => (crashes::one(bench, cell, moment), false),
        Deed::Hinder(wrong) => faults::one(bench, cell, wrong),
    };
    let first = once();
    if first.0 { first } else { once() }
}

/// Opens Vault again for the others, however a cell that seals it ends.
struct Opened;

impl Drop for Opened {
    fn drop(&mut self) {
        if vault().health().is_ok_and(|status| status == 503) {
            let _ = vault().unseal();
        }
    }
}

fn note(account: &mut Account, cell: &Cell, deed: Deed, reached: bool, stuck: bool, what: &str) {
    if !reached {
        account.unreached.push(what.to_owned());
        return;
    }
    let step = if cell.step.starts_with(LATER) { LATER.to_owned() } else { cell.step.clone() };
    match deed {
        Deed::Kill(_) => {
            account.crashes += 1;
            account.steps.insert(step);
        }
        Deed::Hinder(wrong) => {
            account.faults += 1;
            account.wrongs.insert(name(wrong));
            if stuck && !MAY_STICK.iter().any(|may| may.fits(cell, deed)) {
                account.failed.push(format!("{what}: it stood still, and went on only when it was resumed"));
            }
        }
    }
    if stuck {
        let why = MAY_STICK.iter().find(|may| may.fits(cell, deed)).map_or("for no reason that is known", |may| may.why);
        account.stuck.push(format!("{what}: {why}"));
    }
}

/// What is done to a kind: everything in a full run, else some of it by chance.
fn chosen(cells: &[Cell], dice: &mut Dice, turn: usize) -> Vec<(Cell, Deed)> {
    let kills = |cell: &Cell| [Moment::Before, Moment::After].map(|moment| (cell.clone(), Deed::Kill(moment)));
    if full() {
        let crashes = cells.iter().flat_map(kills);
        return crashes.chain(hindered(cells)).collect();
    }
    let mut some = Vec::new();
    // Every step has its turn somewhere: each kind takes those of its steps whose number falls to it, and a few by chance.
    let by_step = cells.iter().fold(BTreeMap::<&str, Vec<&Cell>>::new(), |mut all, cell| {
        all.entry(cell.step.split(' ').next().unwrap_or_default()).or_default().push(cell);
        all
    });
    let rare = ["gate", "issue", "apply", "rotate", "handover", "announce", "verify"];
    let common = STEPS.iter().filter(|step| !rare.contains(step)).collect::<Vec<_>>();
    let mine = common.get(turn % common.len()).copied();
    let mut steps: Vec<&str> = by_step.keys().copied().filter(|step| rare.contains(step) || mine == Some(step)).collect();
    let left = dice.shuffled(by_step.keys().copied().filter(|step| !steps.contains(step)).collect());
    steps.extend(left.into_iter().take(CRASHES.saturating_sub(steps.len())));
    for step in steps {
        let cell = dice.one(&by_step[step]).copied();
        let moment = dice.one(&[Moment::Before, Moment::After]).copied();
        some.extend(cell.zip(moment).map(|(cell, moment)| (cell.clone(), Deed::Kill(moment))));
    }
    let all = dice.shuffled(hindered(cells));
    for (number, wrong) in WRONGS.iter().enumerate() {
        // Whoever asks that server takes turns, so that everything goes wrong with somebody, and with two where there are two.
        let asks =
            |(turn, (_, target, _)): (usize, &(&str, Server, Make))| (wrong.at == Server::Vault || *target == wrong.at).then_some(turn);
        let who: Vec<usize> = ALL.iter().enumerate().filter_map(asks).collect();
        let is_mine = [number, number + who.len() / 2].iter().any(|number| who.get(number % who.len()) == Some(&turn));
        let fitting = all.iter().find(|(_, deed)| matches!(deed, Deed::Hinder(other) if other.what == wrong.what && other.at == wrong.at));
        some.extend(fitting.filter(|_| is_mine).cloned());
    }
    let count = some.iter().filter(|(_, deed)| matches!(deed, Deed::Hinder(_))).count();
    some.extend(all.into_iter().take(FAULTS.saturating_sub(count)));
    some
}

/// Everything that can go wrong at every step: what is lost, in each exchange that differs; the rest, at the first of a step with a server.
fn hindered(cells: &[Cell]) -> Vec<(Cell, Deed)> {
    let mut done = BTreeSet::new();
    let mut all = Vec::new();
    for cell in cells {
        for wrong in WRONGS.iter().filter(|wrong| wrong.fits(cell)) {
            let is_lost = matches!(wrong.what, "not reached" | "answer lost");
            let whom = if is_lost { cell.call.clone() } else { String::new() };
            if done.insert((cell.step.clone(), wrong.at, wrong.what, whom)) {
                all.push((cell.clone(), Deed::Hinder(wrong)));
            }
        }
    }
    all
}

/// Runs what may panic; what it said.
fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|why| {
        let text = why.downcast_ref::<String>().cloned().or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "it panicked".to_owned())
    })
}
