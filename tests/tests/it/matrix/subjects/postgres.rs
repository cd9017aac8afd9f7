//! Users of PostgreSQL.

use super::super::bench::NAME;
use super::{Place, Subject, logs_in};
use serde_json::Value;

/// A user and a password that were published.
type Login = Option<(String, String)>;

/// Demands that what is published works, and that what was published before does not any more.
fn judge(at: Place<'_>, path: &str, last: &mut Login) {
    at.shop.consume(path).unwrap_or_else(|e| panic!("what is published does not work: {e:#}"));
    let published = at.shop.published(path).unwrap();
    let text = |name: &str| published[name].as_str().unwrap().to_owned();
    let now = Some((text("username"), text("password")));
    if let Some((user, password)) = std::mem::replace(last, now).filter(|before| last.as_ref() != Some(before)) {
        assert!(!logs_in(&user, &password, &at.shop.database), "the value before logs in still, as {user}");
    }
}

#[derive(Default)]
pub struct TwoUsers(Login);

impl Subject for TwoUsers {
    fn secret(&mut self, at: Place<'_>) -> String {
        let ([a, b], kv) = (&at.shop.users, &at.shop.kv);
        format!("kind = \"postgres-two-users\"\npath = \"{kv}/shop/database\"\nusers = [\"{a}\", \"{b}\"]\n{}", at.postgres())
    }

    fn settle_in(&self, at: Place<'_>) {
        at.shop.must(&["init", "postgres", NAME]).unwrap();
    }

    fn judge(&mut self, at: Place<'_>) {
        judge(at, "shop/database", &mut self.0);
        let published = at.shop.published("shop/database").unwrap();
        assert_eq!(
            (&published["region"], &published["pool"]["size"]),
            (&Value::from("eu-1"), &Value::from(10)),
            "fields that were not named"
        );
    }
}

#[derive(Default)]
pub struct OneUser(Login);

impl Subject for OneUser {
    fn secret(&mut self, at: Place<'_>) -> String {
        format!("kind = \"postgres-password\"\npath = \"{}/shop/legacy\"\nuser = \"{}\"\n{}", at.shop.kv, at.shop.legacy, at.postgres())
    }

    fn settle_in(&self, at: Place<'_>) {
        at.shop.must(&["init", "postgres", NAME]).unwrap();
    }

    fn judge(&mut self, at: Place<'_>) {
        judge(at, "shop/legacy", &mut self.0);
    }
}
