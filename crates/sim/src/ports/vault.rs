//! Vault, with the mutants that live in how it is asked.

use super::Port;
use crate::mutant::Mutant;
use crate::net::Server;
use crate::world::World;
use crate::world::kv::{Body, Refusal, body, fields};
use async_trait::async_trait;
use keyward_engine::ports::{Document, StaticCredential, StaticRole, Vault, WriteFailure};
use keyward_engine::{Class, Failure};
use keyward_secret::{Fields, Secret, Values};
use std::collections::BTreeMap;
use std::time::Duration;

fn refused(refusal: Refusal) -> WriteFailure {
    match refusal {
        Refusal::Conflict => WriteFailure::Conflict,
        Refusal::Gone => WriteFailure::Gone,
    }
}

#[async_trait]
impl Vault for Port {
    async fn record(&self, secret: &str) -> Result<Document, Failure> {
        let (name, proc) = (secret.to_owned(), self.proc);
        let owner = self.net.lock().procs.get(proc).map_or_else(String::new, |p| p.owner.clone());
        let read = move |world: &mut World| Ok(world.read_record(&name, proc, &owner));
        self.net.call(Server::Vault, || format!("{secret}: reads the record"), read).await
    }

    async fn write_record(&self, secret: &str, cas: u64, record: &Fields) -> Result<u64, WriteFailure> {
        let (name, record, proc) = (secret.to_owned(), body(record), self.proc);
        let write = move |world: &mut World| world.write_record(&name, cas, record, proc).map_err(refused);
        self.net.call(Server::Vault, || format!("{secret}: writes the record over version {cas}"), write).await
    }

    async fn destroy_record(&self, secret: &str, first: u64, last: u64) -> Result<(), Failure> {
        let name = secret.to_owned();
        let destroy = move |world: &mut World| {
            if world.mutant != Some(Mutant::NothingDestroyed) {
                world.records.destroy(&name, first, last);
            }
            Ok(())
        };
        self.net.call(Server::Vault, || format!("{secret}: destroys versions {first} to {last} of the record"), destroy).await
    }

    async fn read(&self, path: &str) -> Result<Document, Failure> {
        let (name, proc) = (path.to_owned(), self.proc);
        let read = move |world: &mut World| {
            world.has_read(&name, proc);
            Ok(world.published.document(&name))
        };
        self.net.call(Server::Vault, || format!("reads {path}"), read).await
    }

    async fn create_empty(&self, path: &str) -> Result<u64, WriteFailure> {
        let name = path.to_owned();
        let create = move |world: &mut World| world.published.write(&name, Some(0), Body::new()).map_err(refused);
        self.net.call(Server::Vault, || format!("creates {path}"), create).await
    }

    async fn patch(&self, path: &str, cas: u64, named: &Fields) -> Result<u64, WriteFailure> {
        let (name, named, proc) = (path.to_owned(), body(named), self.proc);
        let what = if named.is_empty() { "races for" } else { "patches" };
        let patch = move |world: &mut World| world.patch(&name, cas, &named, proc).map_err(refused);
        self.net.call(Server::Vault, || format!("{what} {path} over version {cas}"), patch).await
    }

    async fn annotate(&self, path: &str, notes: &BTreeMap<String, String>) -> Result<(), Failure> {
        let notes = format!("{notes:?}");
        let note = move |world: &mut World| {
            world.judge.read(&notes);
            Ok(())
        };
        self.net.call(Server::Vault, || format!("writes notes at {path}"), note).await
    }

    async fn static_role(&self, role: &str) -> Result<StaticRole, Failure> {
        let name = role.to_owned();
        let look = move |world: &mut World| {
            let role = world.statics.get(&name).ok_or_else(absent)?;
            let period = Some(Duration::from_hours(24 * 365));
            Ok(StaticRole { username: role.user.clone(), last_rotation: Some(role.rotations.to_string()), period })
        };
        self.net.call(Server::Vault, || format!("looks at {role}"), look).await
    }

    async fn static_credential(&self, role: &str) -> Result<StaticCredential, Failure> {
        let name = role.to_owned();
        let read = move |world: &mut World| {
            let role = world.statics.get(&name).ok_or_else(absent)?;
            let values = Values::from([
                ("username".into(), Secret::new(role.user.as_str())),
                ("password".into(), Secret::new(role.password.as_str())),
            ]);
            Ok(StaticCredential { values, last_rotation: Some(role.rotations.to_string()) })
        };
        self.net.call(Server::Vault, || format!("reads the credential of {role}"), read).await
    }

    async fn rotate_static_role(&self, role: &str) -> Result<(), Failure> {
        let name = role.to_owned();
        let rotate = move |world: &mut World| world.rotate_static(&name).ok_or_else(absent);
        let done: Result<(), Failure> = self.net.call(Server::Vault, || format!("has Vault rotate {role}"), rotate).await;
        // Unlike a read, this may have happened.
        done.map_err(|f| Failure { unknown: f.class == Class::Timeout, ..f })
    }
}

fn absent() -> Failure {
    Failure::lasting(Class::NotFound, "there is no such static role")
}

impl World {
    fn read_record(&mut self, secret: &str, proc: usize, owner: &str) -> Document {
        if self.mutant == Some(Mutant::OwnWordForTheRecord)
            && let Some((version, body)) = self.own_writes.get(&(proc, secret.to_owned()))
            && body.contains_key("new")
        {
            return Document { version: *version, fields: Some(fields(body)) };
        }
        let mut read = self.records.document(secret);
        if self.mutant == Some(Mutant::FreshCandidateOnTakeover) {
            self.regenerate(secret, owner, &mut read);
        }
        read
    }

    /// The mutant that makes a candidate of its own out of the one that it finds staged by somebody else.
    fn regenerate(&mut self, secret: &str, owner: &str, read: &mut Document) {
        let theirs = self.record(self.case(secret)).and_then(|r| r.attempt()).is_some_and(|a| a.owner != owner);
        let Some(body) = self.records.body(secret).filter(|_| theirs) else { return };
        let candidate = body.get("new").and_then(|new| serde_json::from_str::<BTreeMap<String, String>>(new).ok());
        let Some(old) = candidate.and_then(|c| c.get("password").or_else(|| c.get("value")).cloned()) else { return };
        let mut fresh = body.clone();
        let mine = self.made_by_hand() + "-by-whoever-took-over";
        for part in ["new", "publish"] {
            if let Some(json) = fresh.get_mut(part) {
                *json = json.replace(&old, &mine);
            }
        }
        read.fields = Some(fields(&fresh));
    }

    fn write_record(&mut self, secret: &str, cas: u64, mut body: Body, proc: usize) -> Result<u64, Refusal> {
        let case = self.case(secret);
        if let Some(mutant) = self.mutant {
            mutant.rewrite_record(self.judge.record(case), &mut body);
        }
        let ends = !body.contains_key("new") && cas > 1 && self.records.version(secret) == cas;
        let version = if self.mutant == Some(Mutant::RecordDeletedAtTheEnd) && ends {
            self.records.delete_metadata(secret);
            self.records.write(secret, None, body.clone())?
        } else {
            self.records.write(secret, Some(cas), body.clone())?
        };
        self.judged(|judge, world| judge.record_written(world, case, &body, version, proc));
        if self.mutant == Some(Mutant::OwnWordForTheRecord) {
            self.own_writes.insert((proc, secret.to_owned()), (version, body));
        }
        Ok(version)
    }

    fn patch(&mut self, path: &str, cas: u64, named: &Body, proc: usize) -> Result<u64, Refusal> {
        let case = self.case_at(path);
        let before = self.published.body(path).ok_or(Refusal::Gone)?.clone();
        let version = match self.mutant {
            Some(Mutant::UndoWithoutTheRace) if named.is_empty() => return Ok(cas + 1),
            Some(Mutant::PublishWithoutCheck) if !named.is_empty() => self.published.patch(path, None, named)?,
            Some(Mutant::WholeDocumentWritten) if !named.is_empty() => {
                let whole = named.iter().filter(|(_, v)| *v != "null").map(|(n, v)| (n.clone(), v.clone())).collect();
                self.published.write(path, Some(cas), whole)?
            }
            _ => self.published.patch(path, Some(cas), named)?,
        };
        self.judged(|judge, world| judge.patched(world, case, &before, named, proc));
        Ok(version)
    }

    fn rotate_static(&mut self, role: &str) -> Option<()> {
        let count = self.made_by_hand();
        let now = self.now;
        let role = self.statics.get_mut(role)?;
        role.rotations += 1;
        role.password = format!("static-{}-{count}", role.rotations);
        let (user, password) = (role.user.clone(), role.password.clone());
        self.database.set_password(now, &user, &password);
        self.judge.know(&password);
        Some(())
    }
}
