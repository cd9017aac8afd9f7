//! Every call that a rotation makes to Vault, made to go wrong: the daemon is killed before and after it, and each fault is put
//! into it. The cells are taken from the calls of a rotation that went well, so a new step makes new cells by itself.
//!
//! Every cell ends rotated or rolled back, what is published works, and no value is left over in the record.

mod crashes;
mod faults;

use keyward_harness::{Process, Shop, VaultProxy, Wishes, full, servers, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_mins(2);

/// One secret of each kind that the shop has, and where its consumers read, if they log in to the database with it.
const SECRETS: [(&str, Option<&str>); 6] = [
    ("shop-database", Some("shop/database")),
    ("legacy", Some("shop/legacy")),
    ("reporting", None),
    ("session-signing", None),
    ("webhook-token", None),
    ("openai", None),
];

/// One call in one rotation: `METHOD PATH`, and how many like it came before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    call: String,
    pass: usize,
}

/// A shop whose Keyward speaks to Vault through a proxy, with a daemon that can be killed.
struct Bench {
    shop: Shop<'static>,
    proxy: VaultProxy,
    daemon: Option<Arc<Process>>,
}

impl Bench {
    fn new() -> Self {
        let shop =
            Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes { audit: false, ..Wishes::default() }).unwrap();
        let proxy = VaultProxy::start(shop.vault).unwrap();
        let text = fs::read_to_string(&shop.config).unwrap();
        // The daemon's own way only; the node is watched directly.
        let through = text.replacen(&format!("address = \"{}\"", shop.vault.address), &format!("address = \"{}\"", proxy.address), 1);
        // Keys that take their places at once, so that one rotation does not wait for the one before.
        let quick = through.replacen("token_lifetime = \"1h\"", "token_lifetime = \"1s\"\npropagation = \"1s\"", 1);
        assert!(text != through && through != quick);
        fs::write(&shop.config, quick).unwrap();
        shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
        let mut bench = Self { shop, proxy, daemon: None };
        bench.start();
        bench
    }

    fn start(&mut self) {
        self.daemon = None; // the former one is gone before the next begins
        self.daemon = Some(Arc::new(self.shop.serve().unwrap()));
        wait_until("readiness", LONG, || self.shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
    }

    fn daemon(&self) -> Arc<Process> {
        Arc::clone(self.daemon.as_ref().unwrap())
    }

    /// Asks the daemon for a rotation and waits until the command has ended: its exit code and what it said.
    fn rotate(&self, secret: &str) -> (Option<i32>, String) {
        let output = if secret == "openai" {
            self.shop.run_with_input(&["supply", secret], &keyward_harness::unique("sk-brought-by-a-test"))
        } else {
            self.shop.run(&["rotate", secret])
        };
        let output = output.unwrap();
        (output.status.code(), [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
    }

    /// The calls that every rotation of this secret makes when it goes well, without those that only read; all of them in a full run.
    fn cells(&self, secret: &str) -> Vec<Cell> {
        self.recorded(secret); // the first one may create what the others find
        let (first, second) = (self.recorded(secret), self.recorded(secret));
        // What is destroyed once more at a later look may come before the command has ended, or after.
        let is_sure = |cell: &Cell| second.contains(cell) && !(cell.call.contains("/destroy/") && cell.pass > 0);
        first.into_iter().filter(is_sure).collect()
    }

    fn recorded(&self, secret: &str) -> Vec<Cell> {
        self.settled(secret);
        self.proxy.seen();
        wait_until(&format!("{secret} to be rotated without any fault"), LONG, || {
            let (code, said) = self.rotate(secret);
            assert!(matches!(code, Some(0 | 75)), "{secret} cannot be rotated at all: {said}");
            (code == Some(0)).then_some(())
        });
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let relevant = |call: &String| !call.contains(" auth/") && !call.contains(" sys/") && (full() || !call.starts_with("GET "));
        let cells = self.proxy.seen().into_iter().filter(relevant).map(|call| {
            let pass = counts.entry(call.clone()).or_default();
            *pass += 1;
            Cell { call, pass: *pass - 1 }
        });
        cells.collect()
    }

    /// Waits until nothing of the secret is under way.
    fn settled(&self, secret: &str) {
        wait_until(&format!("{secret} to be idle"), LONG, || {
            (self.shop.record(secret).ok()?.pointer("/phase/state") == Some(&Value::from("idle"))).then_some(())
        });
    }

    /// What every cell must leave behind: nothing under way and nothing stuck, what is published works, no value in the record.
    fn judge(&self, secret: &str, path: Option<&str>, cell: &str) {
        self.settled(secret);
        if let Some(path) = path {
            self.shop.consume(path).unwrap_or_else(|e| panic!("{cell}: what is published does not work: {e:#}"));
        }
        if secret == "reporting" {
            let creds = self.shop.static_role.replacen("/static-roles/", "/static-creds/", 1);
            let read = self.shop.vault.must("GET", &creds, None).unwrap();
            let text = |field: &str| read["data"][field].as_str().unwrap_or_default().to_owned();
            let alive = self.shop.postgres.psql_as(&text("username"), &text("password"), &self.shop.database, "SELECT 1");
            assert!(alive.is_ok(), "{cell}: static-creds hands out what does not log in: {alive:?}");
        }
        self.nothing_is_left(secret, cell);
    }

    /// No version of the record that can still be read holds a value.
    fn nothing_is_left(&self, secret: &str, cell: &str) {
        let (vault, records) = (self.shop.vault, &self.shop.records);
        let holding = || {
            let newest = vault.must("GET", &format!("{records}/metadata/{secret}"), None).ok()?;
            let newest = newest.pointer("/data/current_version")?.as_u64()?;
            let holds = |version: &u64| {
                let (_, answer) = vault.api("GET", &format!("{records}/data/{secret}?version={version}"), None).unwrap_or_default();
                answer.pointer("/data/data/new").is_some()
            };
            Some((newest.saturating_sub(12).max(1)..=newest).filter(holds).collect::<Vec<_>>())
        };
        // What could not be destroyed at the finish is destroyed at a later look.
        wait_until(&format!("{cell}: the versions that held values to be destroyed"), LONG, || holding().filter(Vec::is_empty));
    }
}

/// Some of `all`, spread over it and starting elsewhere for each `seed`; all of them in a full run.
fn sample<T: Clone>(all: &[T], some: usize, seed: usize) -> Vec<T> {
    if full() || all.len() <= some {
        return all.to_vec();
    }
    (0..some).filter_map(|i| all.get((seed + i * all.len() / some) % all.len()).cloned()).collect()
}
