//! Redis users.

use super::Step::{Apply, Confirm, Finish, Preflight, Publish, Stage, Verify};
use super::Undo::{Action, Impossible, Nothing};
use super::{Table, row};

/// One Redis user, who has the old and the new password at once for a while.
pub static REDIS_PASSWORD: Table = Table {
    kind: "redis-password",
    rows: &[
        row(
            Preflight,
            Nothing,
            "every node has the user, refuses a wrong password and can write its users down; the published one logs in",
        ),
        row(Stage, Nothing, "a new password is stored in the record inside Vault"),
        row(Apply, Action, "every node gets it as a second password and writes it down (undo: it is removed again)"),
        row(Verify, Nothing, "the new password logs in on every node"),
        row(Publish, Impossible, "the named fields of the published secret are patched, with check-and-set"),
        row(Confirm, Nothing, "the published password is read back and logs in on every node"),
        row(Finish, Nothing, "the record is closed; the old password is removed after the grace, when nobody uses it"),
    ],
};
