//! What somebody else issues: keys of a provider's API or of a program, secret ids of an AppRole.

use super::Step::{Confirm, Finish, Handover, Issue, Preflight, Publish, Stage, Verify};
use super::Undo::{Action, Impossible, Nothing};
use super::{Table, row};

/// A key that a provider makes over its HTTP API.
pub static HTTP_API_KEY: Table = Table {
    kind: "http-api-key",
    rows: &[
        row(Preflight, Nothing, "the published key is accepted, and one that nobody made is refused"),
        row(Stage, Nothing, "what is about to be asked for is stored in the record, with the label by which it is found again"),
        row(Issue, Action, "the provider makes a key under that label, which is stored in the record (undo: it is revoked)"),
        row(Verify, Nothing, "the new key is accepted"),
        row(Publish, Impossible, "the named fields of the published secret are patched, with check-and-set"),
        row(Confirm, Nothing, "the published key is read back and accepted"),
        row(Finish, Nothing, "the record is closed; the old key is revoked after the grace"),
    ],
};

/// A key that a program makes.
pub static EXEC: Table = Table {
    kind: "exec",
    rows: &[
        row(Preflight, Nothing, "the published values are accepted, and ones that nobody made are refused"),
        row(Stage, Nothing, "what is about to be asked for is stored in the record, with the label by which it is found again"),
        row(Issue, Action, "the program makes new values under that label, which are stored in the record (undo: they are revoked)"),
        row(Verify, Nothing, "the program says that the new values are accepted"),
        row(Publish, Impossible, "the named fields of the published secret are patched, with check-and-set"),
        row(Confirm, Nothing, "the published values are read back and accepted"),
        row(Finish, Nothing, "the record is closed; the old values are revoked after the grace"),
    ],
};

/// A secret id of an AppRole, read from KV version 2.
pub static APPROLE_SECRET_ID: Table = Table {
    kind: "approle-secret-id",
    rows: &[
        row(Preflight, Nothing, "the role exists, wants secret ids, and lets one be used often enough to be proved"),
        row(Stage, Nothing, "what is about to be asked for is stored in the record, with the label by which it is found again"),
        row(Issue, Action, "the role gets a new secret id under that label, which is stored in the record (undo: it is destroyed)"),
        row(Verify, Nothing, "the new secret id logs in"),
        row(Publish, Impossible, "the named fields of the published secret are patched, with check-and-set"),
        row(Confirm, Nothing, "the published secret id is read back and known to the role"),
        row(Finish, Nothing, "the record is closed; the old secret id is destroyed after the grace"),
    ],
};

/// The same, put into a file for its consumer; only the accessor is published.
pub static APPROLE_SECRET_ID_FILE: Table = Table {
    kind: "approle-secret-id to a file",
    rows: &[
        row(Preflight, Nothing, "the role exists, wants secret ids, and lets one be used often enough to be proved"),
        row(Stage, Nothing, "what is about to be asked for is stored in the record, with the label by which it is found again"),
        row(Issue, Action, "the role gets a new secret id under that label, which is stored in the record (undo: it is destroyed)"),
        row(Verify, Nothing, "the new secret id logs in"),
        row(Publish, Impossible, "its accessor is published, with check-and-set"),
        row(Handover, Nothing, "the file is replaced whole, readable by its owner alone"),
        row(Confirm, Nothing, "the file is read back and holds what was issued"),
        row(Finish, Nothing, "the record is closed; the old secret id is destroyed after the grace"),
    ],
};
