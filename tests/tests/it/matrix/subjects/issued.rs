//! Values that a provider makes or knows: over HTTP, by a program, by a person's hand.

use super::{Place, Subject, Watched};
use crate::provider::ADMIN;
use keyward_harness::unique;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Keys that are made, proved and ended by Keyward.
pub struct Issued {
    watched: Watched,
    /// Where the program stands, for the kind that has one. What it keeps for itself is no leak, so it is not in the shop's folder.
    program: Option<(tempfile::TempDir, PathBuf)>,
}

impl Issued {
    pub fn by_http() -> Self {
        Self { watched: Watched::start(), program: None }
    }

    pub fn by_program() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, PROGRAM).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { watched: Watched::start(), program: Some((folder, program)) }
    }
}

/// A program that makes its keys at a provider: what is lost on its way there is a program that ends badly, before or after the deed.
const PROGRAM: &str = r#"#!/usr/bin/env python3
import json, sys, urllib.error, urllib.request
base, admin = sys.argv[1], open(sys.argv[2]).read()
asked = json.load(sys.stdin)
accounts = "/v1/organization/projects/proj_test/service_accounts"
def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(base + path, data, headers, method=method), timeout=60) as answer:
        return json.load(answer)
def listed():
    after = ""
    while True:
        page = call("GET", accounts + "?after=" + after, admin)
        yield from page["data"]
        if not page["has_more"]:
            return
        after = page["last_id"]
try:
    if asked["do"] == "create":
        made = call("POST", accounts, admin, {"name": asked["label"]})
        answer = {"id": made["id"], "values": {"value": made["api_key"]["value"]}}
    elif asked["do"] == "verify":
        try:
            call("GET", "/v1/models", asked["values"]["value"])
            answer = {"accepted": True}
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            answer = {"accepted": False}
    elif asked["do"] == "list":
        answer = {"ids": [one["id"] for one in listed() if one["name"] == asked["label"]]}
    elif asked["do"] == "revoke":
        try:
            call("DELETE", accounts + "/" + asked["id"], admin)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
        answer = {"revoked": True}
except (urllib.error.URLError, ConnectionError, ValueError) as error:
    sys.exit(9)
json.dump(answer, sys.stdout)
"#;

impl Subject for Issued {
    fn secret(&mut self, at: Place<'_>) -> String {
        let address = self.watched.watch(at);
        let (kv, key) = (&at.shop.kv, at.shop.path("admin-key"));
        fs::write(&key, ADMIN).unwrap();
        let Some((_, program)) = &self.program else {
            let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("config/recipes/openai.toml");
            let text = fs::read_to_string(recipe).unwrap();
            let body = text.split("kind = ").nth(1).unwrap();
            return format!("kind = {body}")
                .replace("https://api.openai.com", &address)
                .replace("proj_REPLACE", "proj_test")
                .replace("/run/credentials/keyward.service/openai-admin-key", &key.display().to_string())
                .replace("secret/integrations/openai", &format!("{kv}/shop/issued"))
                .replace("pinned = [\"organization\"]\n", "");
        };
        format!(
            "kind = \"exec\"\npath = \"{kv}/shop/issued\"\nenv = [\"PATH\"]\nprogram = [\"{}\", \"{address}\", \"{}\"]\n\
             set = {{ api_key = \"{{value}}\", api_key_id = \"{{id}}\" }}\n",
            program.display(),
            key.display()
        )
    }

    fn judge(&mut self, at: Place<'_>) {
        let published = at.shop.published("shop/issued").unwrap();
        let text = |name: &str| published[name].as_str().unwrap().to_owned();
        let alive: Vec<(String, String)> = self.watched.provider.alive().into_iter().collect();
        assert_eq!(alive, [(text("api_key_id"), text("api_key"))], "other keys are alive than what is published");
    }
}

/// A key that a person brings, and that the provider knows.
pub struct Supplied(Watched);

impl Supplied {
    pub fn start() -> Self {
        Self(Watched::start())
    }
}

impl Subject for Supplied {
    fn secret(&mut self, at: Place<'_>) -> String {
        let address = self.0.watch(at);
        format!(
            "kind = \"manual\"\npath = \"{}/shop/openai\"\nset = {{ api_key = \"{{value}}\" }}\n\
             verify = {{ get = \"{address}/v1/models\", header = {{ Authorization = \"Bearer {{value}}\" }} }}\n",
            at.shop.kv
        )
    }

    fn rotate(&self, name: &str, at: Place<'_>) -> Output {
        let value = unique("sk-brought-by-a-test");
        self.0.provider.give(&unique("by-hand"), "by hand", &value);
        at.shop.run_with_input(&["supply", name], &value).unwrap()
    }

    fn judge(&mut self, at: Place<'_>) {
        let published = at.shop.published("shop/openai").unwrap();
        let key = published["api_key"].as_str().unwrap();
        assert!(self.0.provider.alive().values().any(|alive| alive == key), "what is published was never brought");
        assert_eq!(published["organization"], "org-1", "a field that was not named");
    }
}
