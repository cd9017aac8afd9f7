//! Each trouble of the runbooks, caused for real, and the page that ends it.

use super::page::{blocks, commands};
use super::place::{Place, read};
use super::readme::Shop;
use crate::doctor::Found;
use crate::world::LONG;
use keyward_harness::{Moment, Process, Signal, Stop, VaultProxy, servers, wait_until};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Whether these shares open a sealed Vault.
fn opens(place: &Place, shares: &Path) -> bool {
    let ended = place.shell(&format!("cat {}/share-[123] | keyward unseal", shares.display()));
    assert!(ended.code == Some(0) || ended.code == Some(2), "{ended:?}");
    ended.code == Some(0)
}

pub fn storage_migration(place: &mut Place) {
    let page = "docs/runbooks/storage-migration.md";
    let raft = place.server.join("new-raft");
    let cluster = {
        let file = read(Path::new(&place.variables["VAULT_FILE"]));
        let line = file.lines().find(|line| line.starts_with("cluster_addr")).unwrap().to_owned();
        line.split('"').nth(1).unwrap().to_owned()
    };
    place.variables.insert("RAFT_DATA", raft.to_str().unwrap().to_owned());
    place.variables.insert("CLUSTER_ADDR", cluster);
    let version = |place: &Place| place.get("secret/metadata/backend/database")["data"]["current_version"].clone();
    let before = version(place);
    let (stop_and_copy, rest) = commands(page).split_at_checked(2).map(|(a, b)| (a.to_vec(), b.to_vec())).unwrap();
    for block in &stop_and_copy {
        place.run(block);
    }
    // The stanza that the page shows, in the place of the old one.
    let stanza = blocks(page).into_iter().find(|block| block.language == "hcl").unwrap().text;
    let stanza = stanza.replace("RAFT_DATA", &place.variables["RAFT_DATA"]);
    let file = place.variables["VAULT_FILE"].clone();
    let text = read(Path::new(&file));
    let (_, tail) = text.split_once("}\n").unwrap();
    fs::write(&file, stanza + tail).unwrap();
    let said: Vec<String> = rest.iter().map(|block| place.run(block)).collect();
    assert!(said.iter().any(|said| said.contains("vault-1") && said.contains("leader")), "{said:#?}");
    assert_eq!(version(place), before, "the secrets are what they were");
    place.variables.insert("VAULT_DATA", raft.to_str().unwrap().to_owned());
}

pub fn sealed(place: &Place) {
    // A daemon is there, as in life.
    let mut command = place.command("keyward");
    let log = fs::File::create(place.path("daemon.log")).unwrap();
    command.arg("serve").stdout(std::process::Stdio::null()).stderr(log);
    let daemon = Process::start("keyward", command, Stop::Terminate).unwrap();
    let state = |wanted: &str| {
        wait_until(&format!("the daemon to see that Vault is {wanted}"), LONG, || {
            let status = place.shell("keyward status --output json || true").out;
            let status: Value = serde_json::from_str(&status).ok()?;
            (status["nodes"]["vault-1"]["state"] == wanted).then_some(())
        });
    };
    state("active");
    place.seal();
    state("sealed");
    let said = place.run_page("docs/runbooks/sealed-at-three.md");
    assert!(said[1].contains("Vault vault-1: sealed"), "{}", said[1]);
    assert!(said[2].contains("vault-1: unsealed"), "{}", said[2]);
    let who: Value = serde_json::from_str(said.last().unwrap()).unwrap();
    assert_eq!((&who["who"], &who["from"]), (&"root".into(), &"127.0.0.1".into()), "{who}");
    state("active");
    daemon.signal(Signal::TERM).unwrap();
    assert!(daemon.wait(LONG).is_some_and(|status| status.success()), "the daemon did not end well");
}

pub fn rotation_stuck(place: &Place, shop: &Shop) {
    let page = "docs/runbooks/rotation-stuck.md";
    // Somebody deletes the path right before a rotation publishes.
    let proxy = VaultProxy::start(&place.vault()).unwrap();
    let configuration = read(Path::new(&place.variables["KEYWARD_CONFIG"]));
    let (address, through) = (&place.variables["VAULT_ADDR"], place.path("keyward/through.toml"));
    fs::write(&through, configuration.replace(&format!("address = \"{address}\""), &format!("address = \"{}\"", proxy.address))).unwrap();
    let (root, delete) =
        (place.variables["VAULT_TOKEN"].clone(), place.variables["VAULT_ADDR"].clone() + "/v1/secret/data/backend/database");
    let ca = place.variables["VAULT_CACERT"].clone();
    proxy.act("PATCH secret/data/backend/database", 0, Moment::Before, move || {
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--fail", "--cacert", &ca, "--request", "DELETE", "--header", "@-", &delete]);
        let mut curl = curl.stdin(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut curl.stdin.take().unwrap(), format!("X-Vault-Token: {root}\n").as_bytes()).unwrap();
        assert!(curl.wait().unwrap().success());
    });
    let rotated = place.shell(&format!("unset VAULT_ADDR; keyward --config {} rotate backend-database", through.display()));
    assert!(proxy.has_happened() && rotated.code == Some(1), "{rotated:?}");
    Found::by(place.command("keyward").args(["doctor", "--look-in", &place.variables["HOME"]])).has(&["rotation-stuck"]);
    let said: Vec<_> = commands(page).iter().take(3).map(|block| place.run(block)).collect();
    assert!(said[0].contains("state:              stuck") && said[0].contains("vault kv undelete"), "{}", said[0]);
    assert!(said[2].contains("state:              idle"), "{}", said[2]);
    shop.consume(place).unwrap();

    // Somebody changes the password in the database.
    for user in &shop.users {
        servers().postgres().psql(&format!("ALTER ROLE \"{user}\" PASSWORD 'by hand'")).unwrap();
    }
    assert!(shop.consume(place).is_err());
    let said: Vec<_> = commands(page).iter().skip(3).map(|block| place.run(block)).collect();
    assert!(said[0].contains("✗ backend-database"), "{}", said[0]);
    shop.consume(place).unwrap();
}

pub fn audit_device_gone(place: &Place) {
    let page = "docs/runbooks/audit-device-gone.md";
    let log = Path::new(&place.variables["AUDIT_LOG"]);
    fs::rename(log, log.with_extension("moved")).unwrap();
    fs::create_dir(log).unwrap();
    assert_eq!(place.shell("systemctl reload vault").code, Some(0));
    let is_refused = || place.vault().api("GET", "auth/token/lookup-self", None).is_ok_and(|(status, _)| status == 500).then_some(());
    wait_until("Vault to refuse everything", LONG, is_refused);
    let first = commands(page);
    let (repair, removed) = first.split_at(4);
    for block in repair {
        place.run(block);
    }
    assert!(log.is_file(), "Vault writes again");

    place.vault().must("DELETE", "sys/audit/file", None).unwrap();
    let said: Vec<_> = removed.iter().map(|block| place.run(block)).collect();
    assert!(said.last().unwrap().contains("file/") && said.last().unwrap().contains("second/"), "{said:?}");
    // One of the two is enough.
    fs::rename(log, log.with_extension("moved-again")).unwrap();
    fs::create_dir(log).unwrap();
    assert_eq!(place.shell("systemctl reload vault && vault token lookup").code, Some(0));
    fs::remove_dir(log).unwrap();
    assert_eq!(place.shell("systemctl reload vault && vault token lookup").code, Some(0));
}

pub fn lost_shares(place: &mut Place) {
    let old = place.path("shares");
    place.run_page("docs/runbooks/lost-shares.md");
    let new = place.path("new-shares");
    fs::rename(place.path("safe/new-shares"), &new).unwrap();
    assert_eq!(fs::read_dir(&new).unwrap().count(), 5);
    assert_eq!(
        fs::read_dir(place.path("safe")).unwrap().filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "json")).count(),
        0
    );
    place.seal();
    assert!(!opens(place, &old), "the old shares still open it");
    assert!(opens(place, &new), "the new shares do not open it");
    let shares = |folder: &Path| (1..=5).map(|n| read(&folder.join(format!("share-{n}")))).collect::<Vec<_>>();
    place.never_said(&[shares(&old), shares(&new)].concat());
    place.variables.insert("SHARES", new.to_str().unwrap().to_owned());
}

pub fn corruption(place: &mut Place, shop: &Shop) {
    let snapshot = place.path("safe/vault.snap");
    let save = format!("vault operator raft snapshot save {}", snapshot.display());
    let saved = wait_until("a leader", LONG, || Some(place.shell(&save)).filter(|ended| ended.code == Some(0)));
    assert!(snapshot.is_file(), "{saved:?}");
    // What the snapshot does not know: the database accepts what is in it no more.
    for user in &shop.users {
        servers().postgres().psql(&format!("ALTER ROLE \"{user}\" PASSWORD 'another'")).unwrap();
    }
    place.variables.insert("SNAPSHOT", snapshot.to_str().unwrap().to_owned());
    let said = place.run_page("docs/runbooks/corruption.md");
    let told = &said[said.len() - 2];
    assert!(told.contains("✗ backend-database"), "{told}");
    shop.consume(place).unwrap();
    assert!(Path::new(&format!("{}.broken", place.variables["VAULT_DATA"])).is_dir());
}

pub fn lost_root_token(place: &mut Place) {
    let revoked = place.shell("vault token revoke -self && ! vault token lookup");
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    place.variables.remove("VAULT_TOKEN");
    place.run_page("docs/runbooks/lost-root-token.md");
    assert!(!place.path("safe/root-token").exists() && !place.path("safe/generate.json").exists());
    let admin = read(&place.path("safe/admin-token"));
    place.never_said(std::slice::from_ref(&admin));
    let (code, it) = place.vault().api_as(admin.trim(), "GET", "auth/token/lookup-self", None).unwrap();
    let policies = it["data"]["policies"].as_array().unwrap();
    assert!(code == 200 && policies.contains(&"keyward-admin".into()) && !policies.contains(&"root".into()), "{it}");
    assert_eq!(it["data"]["orphan"], true);
    // It is no root token, and none is left.
    let (_, tokens) = place.vault().api_as(admin.trim(), "LIST", "auth/token/accessors", None).unwrap();
    for accessor in tokens["data"]["keys"].as_array().unwrap() {
        let body = serde_json::json!({ "accessor": accessor });
        let (_, it) = place.vault().api_as(admin.trim(), "POST", "auth/token/lookup-accessor", Some(body)).unwrap();
        assert!(!it["data"]["policies"].as_array().is_some_and(|p| p.contains(&"root".into())), "a root token is left: {it}");
    }
}
