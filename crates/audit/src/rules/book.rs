//! Applies the rules to facts, one at a time. Time comes from the facts; nothing is waited for.

use crate::fact::{Fact, Phase};
use crate::finding::Finding;
use crate::identity::Own;
use crate::managed::{Managed, Touch};
use crate::rules::settings::{RuleError, RuleId, RuleOverride, RuleSettings};
use crate::rules::window::Window;
use crate::usage::Usage;
use crate::words::{Operation, Outcome};

/// The rules with their settings and what they have counted.
#[derive(Debug)]
pub struct RuleBook {
    rules: Vec<Rule>,
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
        Self { rules: RuleId::ALL.map(rule).into() }
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
                self.speak(RuleId::AuditDeviceChanged, fact.path, &mut scene);
            }
            return;
        }
        if fact.path.starts_with("sys/") {
            self.system(&mut scene);
        }
        self.tokens(&mut scene);
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
                self.speak(*rule, fact.path, scene);
            }
        }
        for (_, rule) in ATTEMPTS.iter().filter(|(prefix, _)| fact.path.starts_with(prefix)) {
            // Looking at how far somebody got is no attempt, except where the read itself is the access.
            if fact.operation.changes() || *rule == RuleId::RawAccess {
                self.speak(*rule, fact.path, scene);
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

    fn managed(&mut self, own: &Own, usage: &Usage, scene: &mut Scene<'_>) {
        let fact = scene.fact;
        let Some(Managed { secret, touch }) = scene.managed.filter(|_| !own.made(fact)) else { return };
        if touch.changes() {
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

    /// Counts an event for a rule, and makes a finding of it when the rule says so.
    fn speak(&mut self, id: RuleId, subject: &str, scene: &mut Scene<'_>) {
        let Some(Rule { settings, window }) = self.rules.get_mut(id as usize) else { return };
        if !settings.enabled || settings.allow.covers(scene.fact) {
            return;
        }
        let Some(reached) = window.observe(subject, scene.fact.time, settings.window, settings.threshold) else { return };
        let subject = if reached.crowd { "others" } else { subject };
        let secret = scene.managed.map(|managed| managed.secret);
        scene.out.push(Finding::of(id, settings.severity, scene.fact, subject, secret, reached.count));
    }
}
