//! What Vault's own engines make.

use super::Step::{Apply, Confirm, Finish, Handover, Issue, Preflight, Publish, Rotate, Stage, Verify};
use super::Undo::{Action, Impossible, Nothing};
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

/// A database user that Vault makes for one lease, published in KV version 2.
pub static VAULT_DYNAMIC_LEASE: Table = Table {
    kind: "vault-dynamic-lease",
    rows: &[
        row(Preflight, Nothing, "a lease may live until its successor is published and the grace is over; the token role makes orphans"),
        row(Stage, Nothing, "an orphan token of this rotation alone is stored in the record inside Vault; nothing is leased yet"),
        row(Issue, Action, "Vault makes a user under a lease of that token, stored in the record (undo: both are revoked)"),
        row(Verify, Nothing, "the new user logs in on every endpoint"),
        row(Publish, Impossible, "the named fields of the published secret are patched, with check-and-set"),
        row(Confirm, Nothing, "the published login is read back and works"),
        row(Finish, Nothing, "the record is closed; the old lease is revoked after the grace, and its user is seen to be gone"),
    ],
};

/// The login that Vault's database engine itself has, with a password that Keyward makes.
pub static VAULT_ROOT_SET: Table = Table {
    kind: "vault-root",
    rows: &[
        row(Preflight, Nothing, "the user is Vault's alone, the administrator may alter it, a canary role exists"),
        row(Stage, Nothing, "a new password is stored in the record inside Vault"),
        row(Apply, Impossible, "the administrator gives it to the user, through the fence; the old one is known to Vault alone"),
        row(Handover, Nothing, "Vault is given it, and tries it before keeping it"),
        row(Verify, Nothing, "a canary that Vault leases logs in, and is revoked"),
        row(Finish, Nothing, "the record is closed and the value destroyed: from now on Vault alone knows it"),
    ],
};

/// The same, with a password that Vault makes and shows to nobody.
pub static VAULT_ROOT_ROTATE: Table = Table {
    kind: "vault-root by rotate-root",
    rows: &[
        row(Preflight, Nothing, "the administrator may alter the user and sees when it was altered, a canary role exists"),
        row(Stage, Nothing, "the version of the user's row is stored, with a password for the case that Vault loses its own"),
        row(Rotate, Impossible, "Vault is asked to rotate its password (rotate-root)"),
        row(Verify, Nothing, "the row moved and a canary logs in; else, after two minutes, the administrator sets the stored password"),
        row(Finish, Nothing, "the record is closed and the stored value destroyed"),
    ],
};
