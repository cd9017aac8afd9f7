//! Applies the rules to facts, one at a time. Time comes from the facts; nothing is waited for.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use jiff::{SignedDuration, Timestamp};

use crate::fact::{Fact, Phase};
use crate::finding::Finding;
use crate::identity::Own;
use crate::managed::{Managed, Touch, whole_path};
use crate::rules::allow::is_among;
use crate::rules::distinct::Distinct;
use crate::rules::settings::{RuleError, RuleId, RuleOverride, RuleSettings};
use crate::rules::sources::{Sighting, Sources};
use crate::rules::window::Window;
use crate::usage::Usage;
use crate::words::{Operation, Outcome};

/// The rules with their settings and what they have counted.
#[derive(Debug)]
pub struct RuleBook {
    rules: Vec<Rule>,
    read: Distinct,
    searched: Distinct,
    sources: Sources,
    hasher: RandomState,
}

#[derive(Debug)]
struct Rule {
    settings: RuleSettings,
    window: Window,
}

/// What rules are shown beside the fact.
struct Scene<'a> {
    fact: &'a Fact<'a>,
    managed: Option<Managed<'a>>,
    out: &'a mut Vec<Finding>,
}

/// Paths whose successful change is a finding of its own.
const CHANGES: [(&str, RuleId); 7] = [
    ("sys/policy/", RuleId::PolicyChanged),
    ("sys/policies/", RuleId::PolicyChanged),
    ("sys/auth/", RuleId::AuthMethodChanged),
    ("sys/mounts/", RuleId::MountChanged),
    ("sys/remount", RuleId::MountChanged),
    ("sys/audit/", RuleId::AuditDeviceChanged),
    ("sys/config/auditing/", RuleId::AuditDeviceChanged),
];

/// Where a successful read hands out nothing that a thief is after.
const NO_VALUES: [&str; 4] = ["sys/", "auth/", "identity/", "cubbyhole/"];

/// Paths where already the attempt is a finding.
const ATTEMPTS: [(&str, RuleId); 8] = [
    ("sys/seal", RuleId::SealRequested),
    ("sys/step-down", RuleId::StepDownRequested),
    ("sys/generate-root", RuleId::GenerateRoot),
    ("sys/rekey", RuleId::Rekey),
    ("sys/rotate/root/", RuleId::Rekey),
    ("sys/rotate/recovery/", RuleId::Rekey),
    ("sys/raw", RuleId::RawAccess),
    ("sys/storage/raft/snapshot", RuleId::RawAccess),
];

impl RuleBook {
    /// All rules as they ship.
    pub fn defaults() -> Self {
        let rule = |id: RuleId| Rule { settings: id.defaults(), window: Window::default() };
        let rules = RuleId::ALL.map(rule).into();
        Self {
            rules,
            read: Distinct::default(),
            searched: Distinct::default(),
            sources: Sources::default(),
            hasher: RandomState::default(),
        }
    }

    /// The shipped rules with a configuration's changes.
    pub fn with(overrides: &[RuleOverride]) -> Result<Self, RuleError> {
        let mut book = Self::defaults();
        for change in overrides {
            let id = RuleId::from_name(&change.rule).ok_or_else(|| RuleError::Unknown { rule: change.rule.clone() })?;
            if let Some(rule) = book.rules.get_mut(id as usize) {
                rule.settings = rule.settings.clone().with(change)?;
            }
        }
        Ok(book)
    }

    /// What a rule is set to.
    pub fn settings(&self, id: RuleId) -> Option<&RuleSettings> {
        self.rules.get(id as usize).map(|rule| &rule.settings)
    }

    /// Takes over what another book has counted, so that a changed configuration does not repeat findings.
    pub fn continue_from(&mut self, other: Self) {
        (self.read, self.searched, self.sources, self.hasher) = (other.read, other.searched, other.sources, other.hasher);
        for (rule, before) in self.rules.iter_mut().zip(other.rules) {
            if rule.settings.window == before.settings.window {
                rule.window = before.window;
            }
        }
    }

    /// Applies all rules to one fact and appends what they found.
    ///
    /// `usage` must not have seen the fact yet: it says who is known. `own` says what Keyward did itself.
    pub fn observe(&mut self, fact: &Fact<'_>, managed: Option<Managed<'_>>, own: &Own, usage: &Usage, out: &mut Vec<Finding>) {
        let mut scene = Scene { fact, managed, out };
        if !fact.counts() {
            // A device writes the request that disables it and nothing after; another device's response falls into the same window.
            let last_words = fact.phase == Phase::Announced && fact.operation == Operation::Delete && fact.path.starts_with("sys/audit/");
            if last_words && fact.outcome == Outcome::Ok {
                self.speak(RuleId::AuditDeviceChanged, &by_whom(fact), &mut scene);
            }
            return;
        }
        if fact.path.starts_with("sys/") {
            self.system(&mut scene);
        }
        self.tokens(&mut scene);
        self.sources(&mut scene);
        self.many(own, &mut scene);
        match fact.outcome {
            Outcome::Ok => self.managed(own, usage, &mut scene),
            Outcome::Denied | Outcome::Failed if fact.login => self.failed_login(&mut scene),
            Outcome::Denied => self.denied(&mut scene),
            Outcome::Failed => {}
        }
    }

    fn system(&mut self, scene: &mut Scene<'_>) {
        let fact = scene.fact;
        let changed = fact.operation.changes() && fact.outcome == Outcome::Ok;
        if changed {
            for (_, rule) in CHANGES.iter().filter(|(prefix, _)| fact.path.starts_with(prefix)) {
                self.speak(*rule, &by_whom(fact), scene);
            }
        }
        for (_, rule) in ATTEMPTS.iter().filter(|(prefix, _)| fact.path.starts_with(prefix)) {
            // Looking at how far somebody got is no attempt, except where the read itself is the access.
            if fact.operation.changes() || *rule == RuleId::RawAccess {
                self.speak(*rule, &by_whom(fact), scene);
            }
        }
    }

    fn tokens(&mut self, scene: &mut Scene<'_>) {
        let fact = scene.fact;
        if fact.root {
            self.speak(RuleId::RootTokenUsed, &format!("address/{}", fact.address), scene);
        }
        let Some(token) = fact.new_token.filter(|_| fact.outcome == Outcome::Ok) else { return };
        if token.root {
            self.speak(RuleId::RootTokenCreated, fact.identity.key(), scene);
        }
        if token.orphan {
            self.speak(RuleId::OrphanTokenCreated, fact.identity.key(), scene);
        }
    }

    fn denied(&mut self, scene: &mut Scene<'_>) {
        let fact = scene.fact;
        self.speak(RuleId::DeniedBurst, &format!("address/{}", fact.address), scene);
        if !fact.identity.is_nobody() {
            self.speak(RuleId::DeniedBurst, &format!("identity/{}", fact.identity.key()), scene);
        }
    }

    fn failed_login(&mut self, scene: &mut Scene<'_>) {
        let fact = scene.fact;
        self.speak(RuleId::LoginFailures, &format!("address/{}", fact.address), scene);
        // `auth/userpass/login/alice` names whom somebody tries to be; `auth/approle/login` does not.
        if fact.path.split_once("/login/").is_some_and(|(_, user)| !user.is_empty()) {
            self.speak(RuleId::LoginFailures, &format!("user/{}{}", fact.namespace, fact.path), scene);
        }
    }

    /// Somebody who is known comes from an address that is not.
    fn sources(&mut self, scene: &mut Scene<'_>) {
        let fact = scene.fact;
        if fact.identity.is_nobody() || fact.address.is_empty() {
            return;
        }
        let Some(learning) = self.settings(RuleId::NewSourceAddress).filter(|set| set.enabled).map(|set| set.learning) else { return };
        let who = fact.identity.key();
        if self.sources.observe((who, fact.address), fact.time, learning) {
            self.speak(RuleId::NewSourceAddress, &format!("{who}/{}", fact.address), scene);
        }
    }

    /// Somebody reads, or tries, many different paths. Calls without an identity are told apart by address.
    fn many(&mut self, own: &Own, scene: &mut Scene<'_>) {
        let fact = scene.fact;
        let id = match (fact.operation, fact.outcome) {
            _ if fact.login => return,
            (Operation::List | Operation::Scan, _) => RuleId::Enumeration,
            (Operation::Read, Outcome::Denied | Outcome::Failed) => RuleId::Enumeration,
            (Operation::Read, Outcome::Ok) if !NO_VALUES.iter().any(|prefix| fact.path.starts_with(prefix)) => RuleId::MassRead,
            _ => return,
        };
        let Some(Rule { settings, .. }) = self.rules.get(id as usize).filter(|rule| rule.settings.enabled) else { return };
        let by = if fact.identity.is_nobody() { ("address", fact.address) } else { ("identity", fact.identity.key()) };
        let hashes = (self.hasher.hash_one(by), self.hasher.hash_one((fact.namespace, fact.path)));
        let distinct = if id == RuleId::MassRead { &mut self.read } else { &mut self.searched };
        let concerns = || !own.made(fact) && !settings.allow.covers(fact);
        if let Some(count) = distinct.observe(hashes, fact.time, (settings.window, settings.threshold), concerns) {
            scene.found(id, settings, &format!("{}/{}", by.0, by.1), count);
        }
    }

    fn managed(&mut self, own: &Own, usage: &Usage, scene: &mut Scene<'_>) {
        let fact = scene.fact;
        if scene.managed.is_some() || fact.operation == Operation::Read || fact.operation.changes() {
            self.off_hours(own, scene);
        }
        let Some(Managed { secret, touch }) = scene.managed else { return };
        // Keyward deletes no managed secret: if its own token does, somebody else holds it.
        if touch.deletes() {
            self.speak(RuleId::SecretDeleted, secret, scene);
        }
        if own.made(fact) {
            return;
        }
        if touch.changes() && !touch.deletes() {
            self.speak(RuleId::SecretChangedByStranger, secret, scene);
        }
        if touch != Touch::Read || usage.knows(secret, fact.identity.key()) {
            return;
        }
        let Some(learning) = self.settings(RuleId::SecretReadByStranger).map(|settings| settings.learning) else { return };
        let learnt = usage.since(secret).map_or(learning.is_zero(), |since| fact.time.duration_since(since) >= learning);
        if learnt {
            self.speak(RuleId::SecretReadByStranger, &format!("{secret}/{}", fact.identity.key()), scene);
        }
    }

    fn off_hours(&mut self, own: &Own, scene: &mut Scene<'_>) {
        let fact = scene.fact;
        let Some(RuleSettings { hours: Some(hours), paths, .. }) = self.settings(RuleId::AccessOffHours) else { return };
        let is_managed = scene.managed.is_some_and(|managed| managed.touch == Touch::Read || managed.touch.changes());
        let concerns = is_managed || (!paths.is_empty() && is_among(&whole_path(fact), paths));
        if !concerns || hours.contain(fact.time) || own.made(fact) {
            return;
        }
        let place = scene.managed.map_or(fact.path, |managed| managed.secret);
        self.speak(RuleId::AccessOffHours, &format!("{place}/{}", fact.identity.key()), scene);
    }

    /// What has to be kept so that addresses are known after a restart, since the last time this was asked.
    pub fn take_sightings(&mut self) -> Vec<Sighting> {
        self.sources.take_news()
    }

    /// Takes back what [`RuleBook::take_sightings`] gave out in an earlier life.
    pub fn remember(&mut self, kept: &[Sighting]) {
        self.sources.remember(kept);
    }

    /// Forgets addresses that were last seen longer ago than `age`. A forgotten one that comes back is new again.
    pub fn expire(&mut self, now: Timestamp, age: SignedDuration) {
        self.sources.expire(now, age);
    }

    /// How many addresses could not be remembered for lack of room. Above 0, [`RuleId::NewSourceAddress`] does not see all.
    pub fn forgotten(&self) -> u64 {
        self.sources.forgotten()
    }

    /// Counts an event for a rule, and makes a finding of it when the rule says so.
    fn speak(&mut self, id: RuleId, subject: &str, scene: &mut Scene<'_>) {
        let Some(Rule { settings, window }) = self.rules.get_mut(id as usize) else { return };
        if !settings.enabled || settings.allow.covers(scene.fact) {
            return;
        }
        let Some(reached) = window.observe(subject, scene.fact.time, settings.window, settings.threshold) else { return };
        let subject = if reached.crowd { "others" } else { subject };
        scene.found(id, settings, subject, reached.count);
    }
}

impl Scene<'_> {
    fn found(&mut self, id: RuleId, settings: &RuleSettings, subject: &str, count: u64) {
        let secret = self.managed.map(|managed| managed.secret);
        let is_quiet = settings.quiet.as_ref().is_some_and(|hours| hours.contain(self.fact.time));
        let finding = Finding::of(id, settings.severity, self.fact, subject, secret, count);
        self.out.push(Finding { is_quiet, ..finding });
    }
}

/// What somebody did where. Behind the announced work of one caller nobody else's is to hide.
fn by_whom(fact: &Fact<'_>) -> String {
    format!("{}/{}", fact.identity.key(), fact.path)
}
