//! PostgreSQL users.

use super::Step::{Apply, Confirm, Finish, Gate, Preflight, Publish, Stage, Verify};
use super::Undo::{Action, Impossible, Nothing};
use super::{Table, row};

/// One PostgreSQL user whose password consumers read from KV version 2.
pub static POSTGRES_PASSWORD: Table = Table {
    kind: "postgres-password",
    rows: &[
        row(Preflight, Nothing, "the published password logs in, a wrong one is refused, the fence is installed"),
        row(Stage, Nothing, "a new password is stored in the record inside Vault"),
        row(Apply, Action, "the user gets the new password, through the fence (undo: the old password again)"),
        row(Verify, Nothing, "the new password logs in on every endpoint"),
        row(Publish, Impossible, "the named fields of the published secret are patched, with check-and-set"),
        row(Confirm, Nothing, "the published password is read back and logs in; the old one is refused"),
        row(Finish, Nothing, "the record is closed and the versions that held values are destroyed"),
    ],
};

/// Two PostgreSQL users who take turns, so that no consumer ever fails.
pub static POSTGRES_TWO_USERS: Table = Table {
    kind: "postgres-two-users",
    rows: &[
        row(Preflight, Nothing, "the published login works, a wrong password is refused, the fence is installed"),
        row(Gate, Nothing, "the idle user has no session; otherwise this rotation is deferred"),
        row(Stage, Nothing, "a new password for the idle user is stored in the record inside Vault"),
        row(Apply, Action, "the idle user gets the new password, through the fence (undo: it is made unusable)"),
        row(Verify, Nothing, "the idle user logs in with it on every endpoint"),
        row(Publish, Impossible, "the named fields of the published secret are patched, with check-and-set"),
        row(Confirm, Nothing, "the published login is read back and works"),
        row(Finish, Nothing, "the record is closed; the other user is retired after the grace, when nobody uses it"),
    ],
};
