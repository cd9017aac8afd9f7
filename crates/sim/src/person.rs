//! People: they ask for rotations, and they do things by hand, wisely or not.

use crate::cases::{Case, What};
use crate::daemon::Asked;
use crate::ports::UNACCEPTABLE;
use crate::world::World;
use crate::world::kv::{Body, quoted, text};
use keyward_rotation::record::Phase;

/// What a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// `keyward rotate`, or `supply` with a value for what is due.
    Rotate,
    /// `keyward resume` of what is stuck.
    Resume,
    /// Changes a field that is not Keyward's.
    EditBeside,
    /// A new password by hand, in the database and in Vault.
    EditOurs,
    /// A new value in Vault only.
    EditOursWrongly,
    /// A new password in the database only.
    ChangeInDatabase,
    /// `kv delete`.
    Delete,
    /// `kv undelete`.
    Undelete,
    /// `kv rollback`: what was published before is published again.
    PutBack,
}

impl Deed {
    /// What does not touch what is Keyward's.
    pub(crate) const HARMLESS: [Self; 4] = [Self::Rotate, Self::Resume, Self::EditBeside, Self::EditBeside];
    /// Everything.
    pub(crate) const ALL: [Self; 10] = [
        Self::Rotate,
        Self::Rotate,
        Self::Resume,
        Self::EditBeside,
        Self::EditOurs,
        Self::EditOursWrongly,
        Self::ChangeInDatabase,
        Self::Delete,
        Self::Undelete,
        Self::PutBack,
    ];
}

impl World {
    /// Does a deed by hand; what is left to ask of a daemon is returned.
    pub(crate) fn does(&mut self, deed: Deed, number: usize) -> Option<Asked> {
        let case = self.cases.get(number)?.clone();
        let path = case.path.clone().unwrap_or_default();
        self.story.say(self.now, "somebody", || format!("{}: {deed:?}", case.name));
        match deed {
            Deed::Rotate => return Some(self.ask_rotate(&case)),
            Deed::Resume => {
                let stuck = self.record(number).is_some_and(|r| matches!(r.phase, Phase::Stuck { .. } | Phase::Paused { .. }));
                return stuck.then_some(Asked::Resume);
            }
            Deed::EditBeside => {
                let value = quoted(&self.made_by_hand());
                let _ = self.published.patch(&path, None, &Body::from([("note".into(), value)]));
            }
            Deed::EditOurs => self.edit(number, &case, true, true),
            Deed::EditOursWrongly => self.edit(number, &case, true, false),
            Deed::ChangeInDatabase => self.edit(number, &case, false, true),
            Deed::Delete => {
                self.published.set_deleted(&path, true);
                self.judge.meddled(number);
            }
            Deed::Undelete => self.published.set_deleted(&path, false),
            Deed::PutBack => self.put_back(number, &case, &path),
        }
        self.judged(|judge, world| judge.look(world, number));
        None
    }

    /// What whoever is paged does: brings back a path that is gone, and lets `keyward reconcile` do what it proposes.
    pub(crate) fn paged(&mut self) -> Vec<(usize, Asked)> {
        let mut calls = Vec::new();
        for number in 0..self.cases.len() {
            let Some(record) = self.record(number) else { continue };
            let called = matches!(record.phase, Phase::Stuck { .. }) || record.diverged.is_some();
            let path = self.cases.get(number).and_then(|c| c.path.clone()).unwrap_or_default();
            if self.published.version(&path) > 0 && self.published.body(&path).is_none() {
                self.published.set_deleted(&path, false);
            } else if called {
                calls.push((number, Asked::Reconcile));
            }
        }
        calls
    }

    fn ask_rotate(&mut self, case: &Case) -> Asked {
        if case.what != What::Manual {
            return Asked::Rotate(None);
        }
        let value = self.made_by_hand() + "-for-the-provider";
        let bad = value.ends_with("3-for-the-provider");
        self.judge.know(&value);
        Asked::Rotate(Some(if bad { UNACCEPTABLE.to_owned() } else { value }))
    }

    fn edit(&mut self, number: usize, case: &Case, in_vault: bool, in_database: bool) {
        let Some(path) = case.path.clone() else { return };
        let value = self.made_by_hand() + "-for-what-is-keywards";
        self.judge.know(&value);
        self.judge.meddled(number);
        let user = case.login(&self.published).map(|(user, _)| user);
        if let (Some(user), true) = (&user, in_database) {
            self.database.set_password(self.now, user, &value);
        }
        if !in_vault {
            return;
        }
        let mut fields = Body::new();
        match case.what {
            What::Manual => drop(fields.insert("api_key".into(), quoted(&value))),
            What::Random => drop(fields.insert("token".into(), quoted(&value))),
            What::Jwt => return,
            _ => {
                let user = user.unwrap_or_default();
                fields.insert("password".into(), quoted(&value));
                if case.fields.iter().any(|f| f == "url") {
                    fields.insert("url".into(), quoted(&format!("postgresql://{user}:{value}@db/app")));
                }
            }
        }
        let _ = self.published.patch(&path, None, &fields);
    }

    /// What was published before, if the target still takes it: a person who puts back something dead has only himself to blame.
    fn put_back(&mut self, number: usize, case: &Case, path: &str) {
        let older = self.published.older(path).find(|body| {
            let login = text(body, "username").zip(text(body, "password"));
            login.is_none_or(|(user, password)| self.database.password(&user) == Some(&password))
        });
        let Some(older) = older.filter(|older| case.login(&self.published).is_some() && !older.is_empty()).cloned() else { return };
        if self.published.body(path) != Some(&older) {
            self.judge.meddled(number);
            let _ = self.published.write(path, None, older);
        }
    }
}
