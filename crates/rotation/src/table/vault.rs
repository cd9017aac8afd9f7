//! What Vault's own engines make.

use super::Step::{Confirm, Finish, Preflight, Publish, Rotate, Stage, Verify};
use super::Undo::{Impossible, Nothing};
use super::{Table, row};

/// A static role of Vault's own database engine.
pub static VAULT_STATIC_ROLE: Table = Table {
    kind: "vault-static-role",
    rows: &[
        row(Preflight, Nothing, "it is a static role, and its own period is far longer than our schedule"),
        row(Stage, Nothing, "the time of its last rotation is stored in the record"),
        row(Rotate, Impossible, "Vault is asked to rotate it (rotate-role)"),
        row(Verify, Nothing, "the time of its last rotation moved, and what static-creds returns logs in"),
        row(Finish, Nothing, "the record is closed"),
    ],
};

/// The same with a copy of the credential in KV version 2.
pub static VAULT_STATIC_ROLE_COPIED: Table = Table {
    kind: "vault-static-role with a copy",
    rows: &[
        row(Preflight, Nothing, "it is a static role, and its own period is far longer than our schedule"),
        row(Stage, Nothing, "the time of its last rotation is stored in the record"),
        row(Rotate, Impossible, "Vault is asked to rotate it (rotate-role)"),
        row(Verify, Nothing, "the time of its last rotation moved, and what static-creds returns logs in"),
        row(Publish, Nothing, "the copy's named fields are patched, with check-and-set"),
        row(Confirm, Nothing, "the copy is read back and logs in; published again if Vault rotated once more meanwhile"),
        row(Finish, Nothing, "the record is closed"),
    ],
};

/// A key of Vault's transit engine, which never leaves Vault.
pub static TRANSIT_KEY: Table = Table {
    kind: "transit-key",
    rows: &[
        row(Preflight, Nothing, "the present version gives back a probe, and Vault does not rotate the key beside our schedule"),
        row(Stage, Nothing, "its newest version is stored in the record"),
        row(Rotate, Impossible, "Vault is asked for a new version"),
        row(Verify, Nothing, "the newest version moved, and gives back a probe"),
        row(Finish, Nothing, "the record is closed; where the policy says so, old versions are closed after the grace"),
    ],
};
