//! Consumers: they read a secret at their own pace, and log in with what they have read.

use crate::Millis;
use crate::cases::What;
use crate::net::ProcId;
use crate::world::{World, wall};
use jiff::Timestamp;
use keyward_engine::ports::Session;

/// One consumer of a secret with a login.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) case: usize,
    /// How often it reads the secret.
    pub(crate) reads_every: Millis,
    /// How often it logs in.
    pub(crate) connects_every: Millis,
    /// It keeps its session until it connects again; otherwise it only comes and goes.
    pub(crate) stays: bool,
    read_at: Option<Millis>,
    login: Option<(String, String)>,
    session: Option<String>,
}

impl Consumer {
    pub(crate) fn new(name: String, case: usize, reads_every: Millis, connects_every: Millis, stays: bool) -> Self {
        Self { name, case, reads_every, connects_every, stays, read_at: None, login: None, session: None }
    }
}

impl World {
    /// A consumer's turn: it reads if it is time, and logs in.
    pub(crate) fn consume(&mut self, number: usize) {
        let Some(mut consumer) = self.consumers.get(number).cloned() else { return };
        let due = consumer.read_at.is_none_or(|at| self.now.saturating_sub(at) >= consumer.reads_every);
        if due {
            self.read_again(&mut consumer);
        }
        if let (Some((user, password)), None) = (consumer.login.clone(), &self.database_out) {
            if self.database.password(&user) == Some(&password) {
                consumer.session = consumer.stays.then_some(user);
            } else {
                self.turned_away(&consumer, &user);
                consumer.session = None;
                self.read_again(&mut consumer);
            }
        }
        if let Some(place) = self.consumers.get_mut(number) {
            *place = consumer;
        }
    }

    fn read_again(&mut self, consumer: &mut Consumer) {
        let Some(case) = self.cases.get(consumer.case) else { return };
        if let (Some(login), None) = (case.login(&self.published), &self.vault_out) {
            consumer.login = Some(login);
            consumer.read_at = Some(self.now);
        }
    }

    /// With two users nobody is ever turned away who reads again within the grace, or is waited for.
    fn turned_away(&mut self, consumer: &Consumer, user: &str) {
        let Some(case) = self.cases.get(consumer.case) else { return };
        let text =
            format!("{} was turned away as {user}, which it read {:?} ms ago", consumer.name, consumer.read_at.map(|at| self.now - at));
        self.story.say(self.now, &consumer.name, || text.clone());
        if matches!(case.what, What::TwoUsers(_)) && !self.judge.was_meddled(consumer.case) {
            self.judge.blame_nobody(text);
        }
    }

    /// Whoever has read this secret before `since`, and not after.
    pub(crate) fn laggards(&self, secret: &str, since: Timestamp) -> Vec<String> {
        let case = self.case(secret);
        let lags = |c: &&Consumer| c.case == case && c.read_at.is_some_and(|at| wall(at, 0) < since);
        self.consumers.iter().filter(lags).map(|c| c.name.clone()).collect()
    }

    pub(crate) fn sessions(&self, user: &str) -> Vec<Session> {
        let theirs = self.consumers.iter().filter(|c| c.session.as_deref() == Some(user));
        theirs.map(|c| Session { endpoint: "db:5432".into(), address: None, application: c.name.clone() }).collect()
    }

    /// A process read a published path.
    pub(crate) fn has_read(&mut self, path: &str, proc: ProcId) {
        let case = self.case_at(path);
        let user = self.cases.get(case).and_then(|c| c.login(&self.published)).map(|(user, _)| user);
        self.judge.has_read(case, proc, user);
    }
}
