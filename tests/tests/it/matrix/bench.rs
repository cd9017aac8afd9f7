//! One secret of one kind with a daemon that can be killed, on watched ways.

use super::cells::{Cell, cells};
use super::subjects::{Make, Place, Subject, Ways};
use super::vault;
use keyward_harness::{PostgresWay, Process, Shop, Traffic, VaultProxy, Wishes, servers, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Nothing awaited here takes longer, however busy the machine is.
pub const LONG: Duration = Duration::from_mins(10);
/// What is left for later is looked at again after a minute when it failed; a daemon that starts looks at once.
const IMPATIENT: Duration = Duration::from_secs(5);

/// A shop whose only secret is `NAME`.
pub struct Bench {
    /// The name of the kind's step table.
    pub kind: &'static str,
    pub shop: Shop<'static>,
    pub ways: Ways,
    subject: Box<dyn Subject>,
    daemon: Option<Arc<Process>>,
}

/// The secret's name.
pub const NAME: &str = "subject";

impl Bench {
    /// Sets it up; the daemon is ready.
    pub fn open(kind: &'static str, make: Make) -> Self {
        let mut subject = make(vault());
        let wishes = Wishes { audit: false, policy: subject.policy(), ..Wishes::default() };
        let shop = Shop::open(vault(), servers().postgres(), servers().smtp(), &wishes).unwrap();
        // Others seal Vault again and again: a token must outlive that.
        let approle = fs::read_to_string(shop.dir.join("approle-mount")).unwrap();
        vault().must("POST", &format!("auth/{approle}/role/keyward"), Some(json!({ "token_period": "1h" }))).unwrap();
        let log = shop.log_path();
        let traffic = Traffic::marked(move || fs::metadata(&log).map_or(0, |file| file.len()));
        let admin = shop.admin();
        let who = move |user: &str| if user == admin { "admin" } else { "consumer" }.to_owned();
        let ways = Ways {
            vault: VaultProxy::start_on(&traffic, shop.vault).unwrap(),
            postgres: PostgresWay::start(&traffic, shop.postgres, Box::new(who)).unwrap(),
            traffic,
        };
        let secret = subject.secret(Place { shop: &shop, ways: &ways });
        let text = fs::read_to_string(&shop.config).unwrap();
        // The daemon's own way only; the node is watched directly.
        let text = text.replacen(&format!("address = \"{}\"", shop.vault.address), &format!("address = \"{}\"", ways.vault.address), 1);
        let (head, tail) = (text.split("\n[class.").next().unwrap(), &text[text.find("\n[alert]").unwrap()..]);
        let class = format!("[class.matrix]\nschedule = \"{}\"\ngrace = \"0s\"\nretire = \"after-grace\"\nproof = \"24h\"\n", far_away());
        let secret = format!("[[secret]]\nname = \"{NAME}\"\nclass = \"matrix\"\n{secret}");
        fs::write(&shop.config, format!("{head}\n{class}\n{secret}\n{tail}")).unwrap();
        let mut bench = Self { kind, shop, ways, subject, daemon: None };
        bench.subject.settle_in(bench.place());
        bench.start();
        bench
    }

    fn place(&self) -> Place<'_> {
        Place { shop: &self.shop, ways: &self.ways }
    }

    /// Starts the daemon; the former one is gone before.
    pub fn start(&mut self) {
        self.daemon = None;
        self.daemon = Some(Arc::new(self.shop.serve().unwrap()));
        wait_until("readiness", LONG, || self.shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    }

    pub fn daemon(&self) -> Arc<Process> {
        Arc::clone(self.daemon.as_ref().unwrap())
    }

    /// Sees that it runs: a cell before may have killed it later than it was looked for.
    pub fn runs(&mut self) {
        if self.daemon().exited().unwrap().is_some() {
            self.start();
        }
    }

    /// Asks for a rotation and waits until the command has ended: its exit code and what it said.
    pub fn rotate(&self) -> (Option<i32>, String) {
        let output = self.subject.rotate(NAME, self.place());
        (output.status.code(), [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
    }

    /// The steps of the kind's table, as the program itself tells them.
    pub fn steps(&self) -> Vec<String> {
        let output = self.shop.run(&["rotate", NAME, "--dry-run", "--output", "json"]).unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        assert_eq!(told["kind"], self.kind, "another table than was meant");
        told["steps"].as_array().unwrap().iter().map(|row| row["step"].as_str().unwrap().to_owned()).collect()
    }

    /// The exchanges that every rotation makes when it goes well, up to the last thing that it leaves for later.
    pub fn cells(&mut self) -> Vec<Cell> {
        self.recorded(); // the first one may create what the others find
        let (first, second) = (self.recorded(), self.recorded());
        let is_sure = |cell: &Cell| second.iter().any(|other| (&other.call, other.pass) == (&cell.call, cell.pass));
        first.into_iter().filter(is_sure).collect()
    }

    fn recorded(&mut self) -> Vec<Cell> {
        self.settled();
        self.ways.traffic.seen();
        let before = usize::try_from(fs::metadata(self.shop.log_path()).unwrap().len()).unwrap();
        wait_until(&format!("{}: a rotation without any fault", self.kind), LONG, || {
            let (code, said) = self.rotate();
            assert!(matches!(code, Some(0 | 75)), "{} cannot be rotated at all: {said}", self.kind);
            (code == Some(0)).then_some(())
        });
        self.settled();
        self.judge();
        let log = fs::read_to_string(self.shop.log_path()).unwrap();
        let mut seen = self.ways.traffic.seen();
        seen.retain(|seen| self.is_of_the_rotation(&seen.call));
        for seen in &mut seen {
            seen.mark -= before as u64;
            let meant = seen.call.clone();
            for (own, plain) in self.names() {
                seen.call = seen.call.replace(&own, plain);
            }
            assert_eq!(self.own_name(&seen.call), meant, "one plain name stands for two things: no cell of this call would be reached");
        }
        cells(NAME, seen, &log[before..])
    }

    /// What is called otherwise in every shop, longer names first: a mount's name may begin another's.
    fn names(&self) -> Vec<(String, &'static str)> {
        let mut names = self.subject.names(self.place());
        names.extend([(self.shop.kv.clone(), "kv"), (self.shop.records.clone(), "records")]);
        names.sort_by_key(|(own, _)| std::cmp::Reverse(own.len()));
        names
    }

    /// What an exchange is called on the ways of this bench.
    pub fn call(&self, cell: &Cell) -> String {
        self.own_name(&cell.call)
    }

    fn own_name(&self, call: &str) -> String {
        let own = |word: &str| self.names().into_iter().find(|(_, plain)| *plain == word).map_or_else(|| word.to_owned(), |(own, _)| own);
        let words = |part: &str| part.split('/').map(own).collect::<Vec<_>>().join("/");
        call.split(' ').map(words).collect::<Vec<_>>().join(" ")
    }

    /// Not what the daemon does beside it: its own token, its watches, a look at a record.
    fn is_of_the_rotation(&self, call: &str) -> bool {
        let approle = fs::read_to_string(self.shop.dir.join("approle-mount")).unwrap();
        let beside =
            [" auth/token/lookup-self", " auth/token/renew", " sys/capabilities", " sys/health", " sys/leases/renew", " sys/leases/count"];
        let own = [format!(" auth/{approle}/"), format!("GET {}/", self.shop.records)];
        !beside.iter().any(|part| call.contains(part)) && !own.iter().any(|part| call.contains(part.as_str()))
    }

    /// The last lines of the daemon's log, for whoever looks for the cause of a failure.
    pub fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.shop.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(25).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The state in the record, and whether something is still left for later.
    fn state(&self) -> Option<(String, bool)> {
        let record = self.shop.record(NAME).ok()?;
        let later = record.get("later").and_then(Value::as_array).is_some_and(|later| !later.is_empty());
        Some((record.pointer("/phase/state")?.as_str()?.to_owned(), later))
    }

    /// Whether nothing is under way and nothing left for later.
    pub fn is_settled(&self) -> bool {
        self.state() == Some(("idle".into(), false))
    }

    /// Whether it stands still until a person says so.
    pub fn is_stuck(&self) -> bool {
        self.state().is_some_and(|(state, _)| state == "stuck")
    }

    /// Waits until nothing is under way and nothing left for later, or it is stuck.
    pub fn settled(&mut self) {
        let mut since = Instant::now();
        wait_until(&format!("{}: nothing to be under way", self.kind), LONG, || {
            if self.is_settled() || self.is_stuck() {
                return Some(());
            }
            if since.elapsed() > IMPATIENT && self.state().is_some_and(|(state, later)| state == "idle" && later) {
                self.start();
                since = Instant::now();
            }
            None
        });
    }

    /// What every cell must leave behind: nothing under way, what is published works, nothing else is left at the target or in the record.
    pub fn judge(&mut self) {
        let record = self.shop.record(NAME).unwrap();
        assert!(self.is_settled(), "it stands still: {record}");
        let place = Place { shop: &self.shop, ways: &self.ways };
        self.subject.judge(place);
        self.no_value_is_left();
    }

    /// Whether nothing is left to come: what is destroyed is destroyed after the record was written, by housekeeping too.
    pub fn is_over(&self) -> bool {
        self.is_settled() && self.is_destroyed().unwrap_or(false)
    }

    /// Whether the versions that the record says to have been in use are destroyed; `None` where Vault does not say.
    fn is_destroyed(&self) -> Option<bool> {
        let record = self.shop.record(NAME).ok()?;
        let held = |at: usize| record.pointer(&format!("/held/{at}")).and_then(Value::as_u64);
        let (Some(first), Some(last)) = (held(0), held(1)) else { return Some(true) };
        let metadata = self.shop.vault.must("GET", &format!("{}/metadata/{NAME}", self.shop.records), None).ok()?;
        let is_gone = |version: u64| metadata.pointer(&format!("/data/versions/{version}/destroyed")) != Some(&Value::Bool(false));
        Some((first..=last).all(is_gone))
    }

    /// No version of the record that can still be read holds a value.
    fn no_value_is_left(&self) {
        let (vault, records) = (self.shop.vault, &self.shop.records);
        let holding = || {
            let metadata = vault.must("GET", &format!("{records}/metadata/{NAME}"), None).ok()?;
            let newest = metadata.pointer("/data/current_version")?.as_u64()?;
            let is_there = |version: &u64| metadata.pointer(&format!("/data/versions/{version}/destroyed")) == Some(&Value::Bool(false));
            let holds = |version: &u64| {
                let (_, answer) = vault.api("GET", &format!("{records}/data/{NAME}?version={version}"), None).unwrap_or_default();
                answer.pointer("/data/data/new").is_some()
            };
            Some((1..=newest).filter(is_there).filter(holds).collect::<Vec<_>>())
        };
        // What could not be destroyed at the finish is destroyed at a later look.
        wait_until("the versions that held values to be destroyed", LONG, || holding().filter(Vec::is_empty));
    }
}

/// A schedule whose next slot is days away, whenever the test runs: only what is asked for is rotated.
fn far_away() -> String {
    let days = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    // The first of January 1970 was a Thursday.
    format!("0 2 * * {}", (days + 4 + 3) % 7)
}
