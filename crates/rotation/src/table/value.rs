//! Values that stand in KV version 2, whoever makes them.

use super::Step::{Announce, Apply, Confirm, Finish, Preflight, Publish, Stage, Verify};
use super::Undo::{Action, Impossible, Nothing};
use super::{Table, row};

/// A value that a person brings (`keyward supply`).
pub static MANUAL: Table = Table {
    kind: "manual",
    rows: &[
        row(Verify, Nothing, "the value is tried against the system that must accept it"),
        row(Stage, Nothing, "the confirmed value is stored in the record inside Vault"),
        row(Publish, Impossible, "the named fields of the published secret are patched, with check-and-set"),
        row(Confirm, Nothing, "the published value is read back and accepted"),
        row(Finish, Nothing, "the record is closed"),
    ],
};

/// A random value that all sides read from Vault.
pub static RANDOM: Table = Table {
    kind: "random",
    rows: &[
        row(Preflight, Nothing, "the published secret can be read and patched"),
        row(Stage, Nothing, "a new value is stored in the record inside Vault"),
        row(Publish, Impossible, "the named fields are patched, with check-and-set; the old value stays for the grace"),
        row(Confirm, Nothing, "the published value is read back"),
        row(Finish, Nothing, "the record is closed; the old value is removed after the grace"),
    ],
};

/// A symmetric JWT key set: `current` signs, `previous` and `next` verify.
pub static JWT_HMAC: Table = Table {
    kind: "jwt-hmac",
    rows: &[
        row(Preflight, Nothing, "the published key set can be read and is well formed"),
        row(Stage, Nothing, "a new key is stored in the record inside Vault"),
        row(Publish, Impossible, "it is published as `next` (the very first as `current`), with check-and-set"),
        row(Confirm, Nothing, "the key set is read back and is well formed"),
        row(Finish, Nothing, "the record is closed; `next` becomes `current` when verifiers have had time to read it"),
    ],
};

/// Key pairs that sign tokens: private halves in KV, public ones in a JWKS.
pub static JWT_KEYPAIR: Table = Table {
    kind: "jwt-keypair",
    rows: &[
        row(Preflight, Nothing, "every published key signs what the JWKS verifies, and there is room for one more"),
        row(Stage, Nothing, "a new key pair is stored in the record inside Vault"),
        row(Announce, Action, "its public half is added to the JWKS and read back there (undo: it is taken out again)"),
        row(Verify, Nothing, "what the new key signs is verified by what the JWKS holds"),
        row(Publish, Impossible, "its private half is published as `next` (the very first as `current`), with check-and-set"),
        row(Confirm, Nothing, "the keys are read back, and each signs what the JWKS verifies"),
        row(Finish, Nothing, "the record is closed; `next` signs when no verifier can hold an older JWKS any more"),
    ],
};

/// Housekeeping on a published secret (promote a key, remove an old value): a rotation without a slot.
pub static TEND: Table = Table {
    kind: "tend",
    rows: &[
        row(Stage, Nothing, "what will change is stored in the record inside Vault"),
        row(Publish, Impossible, "the named fields are patched, with check-and-set"),
        row(Confirm, Nothing, "the published secret is read back"),
        row(Finish, Nothing, "the record is closed"),
    ],
};

/// `keyward reconcile`: the target is made to accept what Vault hands out, whatever it held before.
pub static RECONCILE: Table = Table {
    kind: "reconcile",
    rows: &[
        row(Preflight, Nothing, "the fence is installed, the user exists, a wrong password is refused"),
        row(Stage, Nothing, "the published value is stored in the record, under a number above the fence"),
        row(Apply, Impossible, "the target gets the published value, through the fence"),
        row(Confirm, Nothing, "the published value is read back and logs in"),
        row(Finish, Nothing, "the record is closed and the versions that held values are destroyed"),
    ],
};
