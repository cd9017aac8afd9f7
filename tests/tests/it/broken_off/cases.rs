//! The commands that are broken off: how each is typed, what it finds, and what must be true in the end.

use super::bench::Bench;
use crate::init_world::World;
use keyward_harness::servers;
use serde_json::{Value, json};
use std::fs;

/// One run of a case, with names that no other run has.
pub struct Run<'b> {
    pub bench: &'b Bench<'b>,
    pub world: &'b World,
    /// Six characters.
    pub id: String,
}

impl Run<'_> {
    fn must(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.bench.vault.must(method, path, body).unwrap()
    }

    fn get(&self, path: &str) -> Value {
        self.bench.vault.api("GET", path, None).map(|(_, answer)| answer["data"].clone()).unwrap_or_default()
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}-{}", self.world.kv, self.id)
    }

    fn file(&self, name: &str) -> String {
        self.bench.dir.join(format!("{name}-{}", self.id)).display().to_string()
    }

    fn write(&self, name: &str, document: &Value) {
        self.must("POST", &format!("{}/data/{name}-{}", self.world.kv, self.id), Some(json!({ "data": document })));
    }

    /// The document and its version.
    fn document(&self, name: &str) -> Value {
        let read = self.get(&format!("{}/data/{name}-{}", self.world.kv, self.id));
        json!({ "fields": read["data"], "version": read["metadata"]["version"] })
    }

    /// A token of its own; its accessor goes into a file.
    fn a_token(&self) {
        let made = self.must("POST", "auth/token/create", Some(json!({ "period": "1h", "policies": ["default"] })));
        fs::write(self.file("accessor"), made["auth"]["accessor"].as_str().unwrap()).unwrap();
    }

    fn accessor(&self) -> String {
        fs::read_to_string(self.file("accessor")).unwrap()
    }

    fn is_alive(&self) -> bool {
        let (status, _) = self.bench.vault.api("POST", "auth/token/lookup-accessor", Some(json!({ "accessor": self.accessor() }))).unwrap();
        status == 200
    }

    /// How many tokens are such. None may be on its way meanwhile: Vault ends one that somebody looks at before it has its lease.
    fn tokens(&self, is_it: impl Fn(&Value) -> bool) -> usize {
        let all = self.must("LIST", "auth/token/accessors", None);
        let look = |accessor: &Value| {
            let body = Some(json!({ "accessor": accessor }));
            self.bench.vault.api("POST", "auth/token/lookup-accessor", body).map(|(_, answer)| answer["data"].clone()).unwrap_or_default()
        };
        all["data"]["keys"].as_array().unwrap().iter().map(look).filter(is_it).count()
    }

    fn role(&self) -> String {
        format!("{}/role/service-{}", self.world.approle, self.id)
    }

    fn secret_ids(&self) -> usize {
        let (_, answer) = self.bench.vault.api("LIST", &format!("auth/{}/secret-id", self.role()), None).unwrap();
        answer["data"]["keys"].as_array().map_or(0, Vec::len)
    }

    /// A role that has one secret id.
    fn service(&self) {
        let body = json!({ "token_policies": ["default"], "token_period": "1h" });
        self.must("POST", &format!("auth/{}", self.role()), Some(body));
        self.must("POST", &format!("auth/{}/secret-id", self.role()), None);
    }

    /// Whether the secret id in the file logs in; the role's tokens beside that.
    fn handed(&self) -> Value {
        let role = format!("service-{}", self.id);
        let left = self.tokens(|token| token["meta"]["role_name"] == role.as_str());
        let secret_id = fs::read_to_string(self.file("secret-id")).unwrap_or_default();
        let role_id = self.get(&format!("auth/{}/role-id", self.role()))["role_id"].clone();
        let body = json!({ "role_id": role_id, "secret_id": secret_id.trim() });
        let (status, _) = self.bench.vault.api("POST", &format!("auth/{}/login", self.world.approle), Some(body)).unwrap();
        let private = self.bench.is_private(&format!("secret-id-{}", self.id));
        json!({ "ids": self.secret_ids(), "logs_in": status == 200, "private": private, "tokens_left": left })
    }

    fn record(&self, secret: &str) -> Value {
        self.get(&format!("{}/data/{secret}", self.world.records))["data"]["record"].clone()
    }

    fn state(&self, secret: &str) -> Value {
        self.record(secret).pointer("/phase/state").cloned().unwrap_or_default()
    }

    /// Whether the class is paused.
    fn class(&self) -> Value {
        let there = self.get(&format!("{}/data/class/jwt", self.world.records));
        json!(there["data"].to_string().contains("\"since\""))
    }

    fn keyward(&self, words: &str) {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let (ended, _) = self.bench.run(&words, "");
        assert!(matches!(ended.code, Some(0 | 1)), "{words:?}: {ended:?}");
    }

    fn published(&self, secret: &str, field: &str) -> String {
        self.get(&format!("{}/data/{secret}", self.world.kv))["data"][field].as_str().unwrap_or_default().to_owned()
    }

    fn legacy_logs_in(&self) -> bool {
        let (user, password) = (self.published("legacy", "username"), self.published("legacy", "password"));
        servers().postgres().psql_as(&user, &password, &self.world.database, "SELECT 1").is_ok()
    }
}

/// A command and what it is to come to.
pub struct Case {
    /// As the manual names it.
    pub name: &'static str,
    /// Cases of one lane share something, and run one after the other.
    pub lane: &'static str,
    /// What is there before it is typed.
    pub before: fn(&Run<'_>),
    pub typed: fn(&Run<'_>) -> String,
    pub input: &'static str,
    /// What is true after it, however often it was broken off.
    pub after: fn(&Run<'_>) -> Value,
    /// Where its answer for programs says what it changed.
    pub says: &'static str,
    /// How the next run may end besides 0, and why.
    pub else_ends: Option<(i32, &'static str)>,
}

const PLAIN: Case = Case {
    name: "",
    lane: "",
    before: |_| {},
    typed: |_| String::new(),
    input: "",
    after: |_| Value::Null,
    says: "/outcome",
    else_ends: None,
};

const NOTHING_LEFT: &str = "the first run did it: nothing is left to be resumed, which is what the second one says";

const PAUSED: &str = "the first run did it: it is paused already, by whom and why is what the second one says";

pub const CASES: [Case; 20] = [
    Case {
        name: "secret put",
        typed: |r| format!("secret put {} --field token", r.path("put")),
        input: "a-value-by-standard-input\n",
        after: |r| r.document("put"),
        ..PLAIN
    },
    Case {
        name: "secret patch",
        before: |r| r.write("patch", &json!({ "a": "1" })),
        typed: |r| format!("secret patch {} --field b", r.path("patch")),
        input: "another-value\n",
        after: |r| r.document("patch"),
        ..PLAIN
    },
    Case {
        name: "secret rollback",
        before: |r| ["1", "2"].iter().for_each(|a| r.write("back", &json!({ "a": a }))),
        typed: |r| format!("secret rollback {} --to 1 --unproved", r.path("back")),
        after: |r| r.document("back"),
        ..PLAIN
    },
    Case {
        name: "import",
        before: |r| {
            let (one, two) = (format!("one-{}", r.id), format!("two-{}", r.id));
            let map = format!(
                "mount = \"{}\"\n[[secret]]\npath = \"{one}\"\nfields = {{ a = \"A\" }}\n[[secret]]\npath = \"{two}\"\nfields = {{ b = \"B\" }}\n",
                r.world.kv
            );
            fs::write(r.file("map"), map).unwrap();
            fs::write(r.file("env"), "A=first-value\nB=second-value\nC=3\n").unwrap();
        },
        typed: |r| format!("import {} --map {} --format env --yes --remove-plaintext", r.file("env"), r.file("map")),
        after: |r| json!([r.document("one"), r.document("two"), fs::read_to_string(r.file("env")).unwrap().replace(&r.id, "ID")]),
        says: "/fields/0/outcome",
        ..PLAIN
    },
    Case {
        name: "token create",
        lane: "tokens",
        typed: |r| format!("token create --policy default --name made-{} --to {}", r.id, r.file("token")),
        after: |r| {
            let name = format!("token-made-{}", r.id);
            json!({ "tokens": r.tokens(|token| token["display_name"] == name.as_str()), "private": r.bench.is_private(&format!("token-{}", r.id)) })
        },
        says: "/changed",
        ..PLAIN
    },
    Case {
        name: "token create",
        lane: "tokens",
        typed: |r| format!("token create --policy default --name wrapped-{}", r.id),
        after: |r| {
            let name = format!("token-wrapped-{}", r.id);
            json!(r.tokens(|token| token["display_name"] == name.as_str()))
        },
        says: "/wrapping_token",
        ..PLAIN
    },
    Case {
        name: "token renew",
        lane: "tokens",
        before: |r| r.a_token(),
        typed: |r| format!("token renew --accessor {}", r.accessor()),
        after: |r| json!(r.is_alive()),
        says: "/changed",
        ..PLAIN
    },
    Case {
        name: "token revoke",
        lane: "tokens",
        before: |r| r.a_token(),
        typed: |r| format!("token revoke --accessor {}", r.accessor()),
        after: |r| json!(r.is_alive()),
        says: "/changed",
        ..PLAIN
    },
    Case {
        name: "approle create",
        lane: "tokens",
        typed: |r| format!("approle create service-{} --mount {} --policy default --to {}", r.id, r.world.approle, r.file("secret-id")),
        after: |r| r.handed(),
        says: "/state",
        ..PLAIN
    },
    Case {
        name: "approle rotate",
        lane: "tokens",
        before: |r| r.service(),
        typed: |r| format!("approle rotate service-{} --mount {} --end-old --to {}", r.id, r.world.approle, r.file("secret-id")),
        after: |r| r.handed(),
        says: "/ended",
        ..PLAIN
    },
    Case {
        name: "approle rotate",
        lane: "tokens",
        before: |r| r.service(),
        typed: |r| format!("approle rotate service-{} --mount {}", r.id, r.world.approle),
        after: |r| json!(r.secret_ids()),
        says: "/secret_id/wrapping_token",
        ..PLAIN
    },
    Case {
        name: "backup",
        typed: |r| format!("backup --to {}", r.file("snapshot")),
        before: |r| drop(fs::remove_file(r.file("snapshot"))),
        after: |r| json!(r.bench.is_private(&format!("snapshot-{}", r.id))),
        says: "/sha256",
        ..PLAIN
    },
    Case {
        name: "rotate",
        typed: |_| "rotate webhook --alone".to_owned(),
        after: |r| json!([r.state("webhook"), r.published("webhook", "token").is_empty()]),
        ..PLAIN
    },
    Case {
        name: "rotate",
        lane: "legacy",
        typed: |_| "rotate --class database --now --yes --alone --keep-going".to_owned(),
        after: |r| json!([r.state("legacy"), r.state("reporting"), r.legacy_logs_in()]),
        says: "/ended/0/outcome",
        ..PLAIN
    },
    Case {
        name: "pause",
        lane: "orders",
        before: |r| r.keyward("resume orders --alone"),
        typed: |_| "pause orders --alone --why release".to_owned(),
        else_ends: Some((1, PAUSED)),
        after: |r| r.state("orders"),
        ..PLAIN
    },
    Case {
        name: "pause",
        lane: "class",
        before: |r| r.keyward("resume --class jwt --alone"),
        typed: |_| "pause --class jwt --alone".to_owned(),
        else_ends: Some((1, PAUSED)),
        after: |r| r.class(),
        ..PLAIN
    },
    Case {
        name: "resume",
        lane: "orders",
        before: |r| r.keyward("pause orders --alone"),
        typed: |_| "resume orders --alone".to_owned(),
        after: |r| r.state("orders"),
        else_ends: Some((1, NOTHING_LEFT)),
        ..PLAIN
    },
    Case {
        name: "resume",
        lane: "class",
        before: |r| r.keyward("pause --class jwt --alone"),
        typed: |_| "resume --class jwt --alone".to_owned(),
        else_ends: Some((1, NOTHING_LEFT)),
        after: |r| r.class(),
        ..PLAIN
    },
    Case {
        name: "supply",
        typed: |_| "supply by-person --alone".to_owned(),
        input: "sk-a-value-that-a-person-brings\n",
        after: |r| json!([r.state("by-person"), r.published("by-person", "api_key")]),
        ..PLAIN
    },
    Case {
        name: "reconcile",
        lane: "legacy",
        before: |r| {
            let user = r.published("legacy", "username");
            servers().postgres().psql(&format!("ALTER ROLE \"{user}\" PASSWORD 'changed by hand'")).unwrap();
        },
        typed: |_| "reconcile legacy --yes --alone".to_owned(),
        after: |r| json!([r.state("legacy"), r.legacy_logs_in()]),
        says: "/secrets/0/outcome",
        ..PLAIN
    },
];
