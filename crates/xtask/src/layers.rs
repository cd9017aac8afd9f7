//! The walls between the crates: which may import which. `crates/README.md` says what each is for.
//!
//! Looks at what a crate needs to run; its tests may import what they like.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cargo;

/// A crate, the rooms of ours that it may import, and libraries that it never may.
struct Room {
    name: &'static str,
    may: &'static [&'static str],
    never: &'static [&'static str],
}

const RUNTIME_AND_NET: &[&str] = &["tokio", "reqwest", "vaultrs", "tokio-postgres", "axum", "lettre", "rusqlite"];

const ROOMS: &[Room] = &[
    Room { name: "keyward-secret", may: &[], never: RUNTIME_AND_NET },
    Room { name: "keyward-rotation", may: &[], never: RUNTIME_AND_NET },
    Room { name: "keyward-audit", may: &[], never: &["tokio", "reqwest", "axum", "prometheus", "linemux"] },
    Room { name: "keyward-tail", may: &[], never: &["reqwest", "vaultrs", "axum"] },
    Room { name: "keyward-vault", may: &["keyward-secret"], never: &[] },
    Room { name: "keyward-targets", may: &["keyward-secret"], never: &["vaultrs"] },
    Room { name: "keyward-alert", may: &[], never: &["vaultrs"] },
    Room { name: "keyward-store", may: &["keyward-rotation", "keyward-audit", "keyward-alert"], never: &["vaultrs"] },
    Room {
        name: "keyward-engine",
        may: &["keyward-secret", "keyward-rotation"],
        never: &["reqwest", "vaultrs", "tokio-postgres", "redis", "lettre", "rusqlite"],
    },
    Room {
        name: "keyward",
        may: &[
            "keyward-secret",
            "keyward-rotation",
            "keyward-audit",
            "keyward-tail",
            "keyward-vault",
            "keyward-targets",
            "keyward-alert",
            "keyward-store",
            "keyward-engine",
        ],
        never: &[],
    },
    Room { name: "keyward-client", may: &["keyward-secret", "keyward-vault"], never: &[] },
    Room {
        name: "keyward-sim",
        may: &["keyward-engine", "keyward-rotation", "keyward-secret", "keyward-audit", "keyward-tail", "keyward-alert"],
        never: &["tokio", "reqwest", "vaultrs", "tokio-postgres"],
    },
    Room { name: "keyward-harness", may: &[], never: &["tokio"] },
    Room { name: "keyward-tests", may: &["keyward-harness"], never: &[] },
    Room { name: "keyward-fuzz", may: &["keyward", "keyward-audit", "keyward-tail"], never: &[] },
    Room { name: "keyward-bench", may: &["keyward-audit", "keyward-tail"], never: RUNTIME_AND_NET },
    Room { name: "xtask", may: &["keyward-harness"], never: &[] },
];

/// Every import that the table does not allow.
pub(crate) fn problems() -> Result<Vec<String>> {
    let metadata = cargo::metadata()?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("cargo metadata names no packages")?;
    Ok(packages.iter().flat_map(broken_walls).collect())
}

fn broken_walls(package: &Value) -> Vec<String> {
    let name = package.get("name").and_then(Value::as_str).unwrap_or_default();
    let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
        return vec![format!("the crate {name} is not in the table of crates/xtask/src/layers.rs: say what it may import")];
    };
    let dependencies = package.get("dependencies").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // A normal dependency has no kind; those of tests and build scripts have one.
    let normal = dependencies.iter().filter(|d| d.get("kind").is_none_or(Value::is_null));
    let imports = normal.filter_map(|d| d.get("name").and_then(Value::as_str));
    imports.filter(|import| !allowed(room, import)).map(|import| format!("{name} may not import {import}")).collect()
}

fn allowed(room: &Room, import: &str) -> bool {
    let ours = ROOMS.iter().any(|other| other.name == import);
    if ours { room.may.contains(&import) } else { !room.never.contains(&import) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_crate_keeps_to_its_room() {
        assert_eq!(problems().unwrap_or_else(|e| vec![e.to_string()]), [""; 0]);
    }

    #[test]
    fn a_forbidden_import_and_an_unknown_crate_are_found() {
        let package = |name: &str, imports: Value| json!({ "name": name, "dependencies": imports });
        let bad = package("keyward-rotation", json!([{ "name": "tokio", "kind": null }, { "name": "keyward-vault", "kind": null }]));
        assert_eq!(broken_walls(&bad), ["keyward-rotation may not import tokio", "keyward-rotation may not import keyward-vault"]);
        let tests_only = package("keyward-vault", json!([{ "name": "keyward-harness", "kind": "dev" }]));
        assert_eq!(broken_walls(&tests_only), [""; 0]);
        assert_eq!(broken_walls(&package("keyward-vault", json!([{ "name": "keyward-harness", "kind": null }]))).len(), 1);
        assert_eq!(broken_walls(&package("keyward-attic", json!([]))).len(), 1);
    }
}
