//! A program as the issuer of its values. It gets one JSON document on standard input and writes one on standard output:
//!
//! | it gets | it answers |
//! | --- | --- |
//! | `{"keyward":1,"do":"create","secret":NAME,"label":LABEL}` | `{"id":ID,"values":{"value":…}}` |
//! | `{"keyward":1,"do":"verify","secret":NAME,"values":{…}}` | `{"accepted":true}` or `{"accepted":false}` |
//! | `{"keyward":1,"do":"list","secret":NAME,"label":LABEL}` | `{"ids":[ID,…]}`: those made under exactly this label |
//! | `{"keyward":1,"do":"revoke","secret":NAME,"id":ID}` | `{"revoked":true}`, also for one that is gone |
//!
//! `{"failed":"unreachable"}`, `"denied"`, `"refused"` or `"invalid"` says of any of them that nothing was done, and why. Whatever else it does
//! (another exit code than 0, no JSON, no end) leaves unknown what it did, and is looked after by `list`.

use async_trait::async_trait;
use keyward_engine::ports::{Issued, Issuer};
use keyward_engine::{Class, Failure};
use keyward_secret::{Fields, Secret, Values};
use keyward_targets::exec::{ExecFailure, Program};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

/// One program, for one secret.
pub struct ExecIssuer {
    /// The secret's name.
    pub secret: String,
    /// The program.
    pub program: Program,
    /// Whether it knows `list`.
    pub lists: bool,
}

impl ExecIssuer {
    /// Asks; `changes`: what it did is unknown when it does not answer.
    async fn ask(&self, what: &'static str, changes: bool, more: impl FnOnce(&mut Fields)) -> Result<Value, Failure> {
        let mut question = Fields::new();
        question.set_json("keyward", Secret::new("1"));
        question.set_text("do", &Secret::new(what));
        question.set_text("secret", &Secret::new(self.secret.as_str()));
        more(&mut question);
        let answer = self.program.ask(&question.to_json_text()).await.map_err(|e| told(&e, changes).during(what))?;
        match answer.get("failed").and_then(Value::as_str) {
            None => Ok(answer),
            Some(why) => Err(self.failed(what, why)),
        }
    }

    /// What the program says of itself, in words that are ours.
    fn failed(&self, what: &str, why: &str) -> Failure {
        let program = self.program.argv.first().map_or("", String::as_str);
        match why {
            "unreachable" => Failure::passing(Class::Unreachable, format!("{what}: {program} cannot reach its system")),
            "denied" => Failure::lasting(Class::Denied, format!("{what}: {program} is not allowed to do it")),
            "refused" => Failure::lasting(Class::Refused, format!("{what}: {program}'s system refuses it")),
            _ => Failure::lasting(Class::Invalid, format!("{what}: {program} says that it cannot be done")),
        }
    }

    /// An answer that is JSON and not what was agreed.
    fn unreadable(&self, what: &str, changes: bool) -> Failure {
        let program = self.program.argv.first().map_or("", String::as_str);
        Failure {
            unknown: changes,
            ..Failure::lasting(Class::Invalid, format!("{what}: {program} answered something else than was agreed"))
        }
    }
}

fn told(failure: &ExecFailure, changes: bool) -> Failure {
    let text = failure.to_string();
    match failure {
        ExecFailure::Start { .. } | ExecFailure::NoProgram => Failure::lasting(Class::Invalid, text),
        ExecFailure::Timeout { .. } => Failure { unknown: changes, ..Failure::passing(Class::Timeout, text) },
        ExecFailure::TooMuch { .. } | ExecFailure::Exit { .. } | ExecFailure::Answer { .. } => {
            Failure { unknown: changes, ..Failure::passing(Class::Other, text) }
        }
    }
}

#[async_trait]
impl Issuer for ExecIssuer {
    async fn ready(&self) -> Result<(), Failure> {
        let program = self.program.argv.first().map_or("", String::as_str);
        let wrong = |why: &str| Failure::lasting(Class::NotFound, format!("{program} {why}"));
        let metadata = tokio::fs::metadata(program).await.map_err(|e| wrong(&format!("cannot be found: {e}")))?;
        let runs = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        if runs { Ok(()) } else { Err(wrong("is no program that can be run")) }
    }

    async fn create(&self, label: &str) -> Result<Issued, Failure> {
        let answer = self.ask("create", true, |q| q.set_text("label", &Secret::new(label))).await?;
        let id = answer.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let values = answer.get("values").and_then(Value::as_object);
        let (id, values) = id.zip(values).ok_or_else(|| self.unreadable("create", true))?;
        let values = values.iter().filter_map(|(name, value)| Some((name.clone(), Secret::new(value.as_str()?)))).collect();
        Ok(Issued { id: id.to_owned(), values })
    }

    async fn accepts(&self, values: &Values) -> Result<(), Failure> {
        let mut all = Fields::new();
        for (name, value) in values {
            all.set_text(name, value);
        }
        let answer = self.ask("verify", false, |q| q.set_json("values", all.to_json_text())).await?;
        match answer.get("accepted").and_then(Value::as_bool) {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::lasting(Class::WrongPassword, "the program says that the values are not accepted")),
            None => Err(self.unreadable("verify", false)),
        }
    }

    async fn labelled(&self, label: &str) -> Result<Option<Vec<String>>, Failure> {
        if !self.lists {
            return Ok(None);
        }
        let answer = self.ask("list", false, |q| q.set_text("label", &Secret::new(label))).await?;
        let ids = answer.get("ids").and_then(Value::as_array).ok_or_else(|| self.unreadable("list", false))?;
        ids.iter().map(|id| id.as_str().map(str::to_owned)).collect::<Option<_>>().map(Some).ok_or_else(|| self.unreadable("list", false))
    }

    async fn revoke(&self, id: &str) -> Result<(), Failure> {
        let answer = self.ask("revoke", true, |q| q.set_text("id", &Secret::new(id))).await?;
        let revoked = answer.get("revoked").and_then(Value::as_bool) == Some(true);
        if revoked { Ok(()) } else { Err(self.unreadable("revoke", true)) }
    }
}
