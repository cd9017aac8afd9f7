//! The interleavings that broke earlier drafts of the protocol, each on real servers: a daemon is stopped (SIGSTOP) with one call on its
//! way, others go on without it, and then the call arrives and the daemon is let go on. Whatever comes of it, no harm is done.
//!
//! Those in which somebody is taken over wait for the lease, fifteen seconds; they wait together, see [`together`].

mod elsewhere;
mod publishing;
mod target;
mod together;
mod two_users;
mod zombies;

use crate::world::{becomes_ready, use_long_token};
use keyward_harness::{Hold, Moment, PostgresProxy, Process, Shop, Signal, VaultProxy, Wishes, servers, wait_until};
use serde_json::Value;
use std::process::Output;
use std::thread::JoinHandle;
use std::time::Duration;

pub const LONG: Duration = Duration::from_mins(5);

/// One of several Keywards over the same secrets, with ways of its own to the servers on which its calls can be held up.
pub struct Actor {
    pub shop: Shop<'static>,
    pub vault: VaultProxy,
    pub postgres: PostgresProxy,
}

/// Two of them, and the class of the database secrets as this body of TOML says.
pub fn two(class: &str) -> [Actor; 2] {
    let wishes = Wishes { database_class: class.to_owned(), audit: false, ..Wishes::default() };
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &wishes).unwrap();
    use_long_token(&shop);
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let other = shop.beside().unwrap();
    [shop, other].map(|shop| {
        let (vault, postgres) = (VaultProxy::start(shop.vault).unwrap(), PostgresProxy::start(shop.postgres).unwrap());
        shop.speaks_through(&vault).unwrap();
        shop.changes_through(&postgres).unwrap();
        Actor { shop, vault, postgres }
    })
}

/// A quick class: nothing is rotated by itself, older users are made unusable a second after the rotation, whoever uses them.
pub const QUICK: &str = "schedule = \"quarterly\"\nretire = \"after-grace\"\ngrace = \"1s\"\nproof = \"5s\"\n";

impl Actor {
    /// Its daemon, ready.
    pub fn serve(&self) -> Process {
        let daemon = self.shop.serve().unwrap();
        becomes_ready(&self.shop);
        daemon
    }

    /// Asks it to rotate; the command runs beside the test.
    pub fn asked_to_rotate(&self, secret: &str) -> JoinHandle<Output> {
        let mut command = self.shop.command(&["rotate", secret]);
        command.stdin(std::process::Stdio::null());
        std::thread::spawn(move || command.output().unwrap())
    }

    /// The same, as soon as the daemon has let go of what it did before: a record is idle a moment earlier.
    pub fn asked_to_rotate_next(&self, secret: &str) -> JoinHandle<Output> {
        let (mut command, secret) = (self.shop.command(&["rotate", secret]), secret.to_owned());
        command.stdin(std::process::Stdio::null());
        let is_free = move || Some(command.output().unwrap()).filter(|output| output.status.code() != Some(75));
        std::thread::spawn(move || wait_until(&format!("{secret} to be free"), LONG, is_free))
    }

    /// It rotates without trouble.
    pub fn rotates(&self, secret: &str) {
        let output = self.asked_to_rotate_next(secret).join().unwrap();
        assert!(output.status.success(), "{secret}: {output:?}");
    }

    /// Holds up its next publication at `path`, or the last before that `pass` times.
    pub fn hold_publish(&self, path: &str, moment: Moment) -> Hold {
        self.vault.hold(&format!("PATCH {}/data/{path}", self.shop.kv), 0, moment)
    }

    /// Holds up its writing of a record, after `pass` of them.
    pub fn hold_record(&self, secret: &str, pass: usize, moment: Moment) -> Hold {
        self.vault.hold(&format!("POST {}/data/{secret}", self.shop.records), pass, moment)
    }

    /// Holds up its change of a role's password, after `pass` of them.
    pub fn hold_change(&self, pass: usize) -> Hold {
        self.postgres.hold("keyward.apply", pass)
    }

    /// The record's number.
    pub fn number(&self, secret: &str) -> u64 {
        self.shop.record(secret).unwrap()["number"].as_u64().unwrap()
    }

    /// The fence's row of a role: number and phase.
    pub fn fence(&self, role: &str) -> (u64, u8) {
        let sql = format!("SELECT number, phase FROM keyward.role_fence WHERE role = '{role}'");
        let row = self.shop.postgres.psql_in(&self.shop.database, &sql).unwrap();
        let (number, phase) = row.split_once('|').unwrap();
        (number.parse().unwrap(), phase.parse().unwrap())
    }

    /// Waits until the record is idle, under this number.
    pub fn is_idle_at(&self, secret: &str, number: u64) {
        wait_until(&format!("{secret} to be idle at {number}"), LONG, || {
            let record = self.shop.record(secret).ok()?;
            (record.pointer("/phase/state") == Some(&Value::from("idle")) && record["number"] == number).then_some(())
        });
    }

    /// What every one of these must leave behind: the record idle at this number, what is published logs in, no value in the record.
    pub fn is_well(&self, secret: &str, path: &str, number: u64) {
        self.is_idle_at(secret, number);
        self.shop.consume(path).unwrap_or_else(|e| panic!("what is published at {path} does not work: {e:#}"));
        wait_until("the versions that held values to be destroyed", LONG, || self.versions_with_values(secret).is_empty().then_some(()));
    }

    /// The versions of a record that hold a value and can still be read.
    fn versions_with_values(&self, secret: &str) -> Vec<u64> {
        let (vault, records) = (self.shop.vault, &self.shop.records);
        let newest = vault.must("GET", &format!("{records}/metadata/{secret}"), None).unwrap();
        let newest = newest["data"]["current_version"].as_u64().unwrap();
        let holds = |version: &u64| {
            let (_, answer) = vault.api("GET", &format!("{records}/data/{secret}?version={version}"), None).unwrap();
            answer.pointer("/data/data/new").is_some()
        };
        (newest.saturating_sub(20).max(1)..=newest).filter(holds).collect()
    }

    /// How many versions a published path has.
    pub fn versions(&self, path: &str) -> u64 {
        let read = self.shop.vault.must("GET", &format!("{}/metadata/{path}", self.shop.kv), None).unwrap();
        read["data"]["current_version"].as_u64().unwrap()
    }
}

/// Stops a daemon where it stands.
pub fn freeze(daemon: &Process) {
    daemon.signal(Signal::STOP).unwrap();
}

/// Lets it go on.
pub fn thaw(daemon: &Process) {
    daemon.signal(Signal::CONT).unwrap();
}

/// The command hears that the rotation is in somebody else's hands.
pub fn was_lost(command: JoinHandle<Output>) {
    let output = command.join().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("somebody else"), "{said}");
}

/// Vault refused the call for its check-and-set.
pub fn is_refused(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

/// The second cannot apply the candidate while the role may not log in: it rolls back what it took over.
pub fn rolled_back_by(other: &Actor, number: u64) -> Process {
    let (postgres, role) = (other.shop.postgres, &other.shop.legacy);
    postgres.psql(&format!("ALTER ROLE \"{role}\" NOLOGIN")).unwrap();
    let daemon = other.serve();
    other.is_idle_at("legacy", number);
    assert!(other.shop.record("legacy").unwrap()["last_failure"].is_object(), "it was rolled back");
    postgres.psql(&format!("ALTER ROLE \"{role}\" LOGIN")).unwrap();
    daemon
}
