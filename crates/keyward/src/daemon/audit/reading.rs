//! The reading thread of one audit log: lines → figures, findings, usage, and only then the place in the log moves.
//!
//! It blocks on files, so it is a thread and no task. What it must know of the world comes through its [`Inbox`].

use super::Log;
use super::canary::Canaries;
use super::counts::Counts;
use super::inbox::{Care, Inbox, News};
use super::keeper::Keeper;
use super::managed::{Splits, Wanted};
use super::own::Marks;
use super::told;
use crate::daemon::shared::Shared;
use crate::ports::Coverage;
use jiff::{SignedDuration, Timestamp};
use keyward_audit::{Finding, Pipeline, Place, RuleBook, Sighting, Usage, UsageDoor};
use keyward_store::{AuditCommit, AuditState, Gap};
use keyward_tail::{Checkpoint, Event, Follower, Line, Options};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// A look is the truth; a wake-up only makes it come sooner.
const LOOK: Duration = Duration::from_millis(200);
/// The place is written down at most so often while lines come.
const COMMIT: Duration = Duration::from_secs(1);
/// More findings than this between two commits are counted and told, and not kept one by one.
const KEPT: usize = 1_000;
/// Who has not read for so long is forgotten.
const USAGE_AGE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What one log's thread works with.
pub struct Reading {
    shared: Arc<Shared>,
    node: String,
    path: PathBuf,
    follower: Follower,
    mind: Mind,
    inbox: Arc<Inbox>,
    /// `None` before the first time, which is as soon as the log was looked at: from then on a start finds its place.
    committed: Option<Instant>,
    dirty: bool,
    in_trouble: bool,
    /// The findings since the last commit, at most [`KEPT`].
    found: Vec<Finding>,
    keeper: Keeper,
    care: Care,
    canaries: Arc<Canaries>,
    to_sign: ToSign,
    /// When the chain was last handed out to be signed.
    handed_out: Instant,
}

/// How many lines a chain has, and its value: committed, and waiting to be signed.
pub type ToSign = Arc<Mutex<Option<(u64, [u8; 32])>>>;

/// What lines change, and what it is judged by.
struct Mind {
    pipeline: Pipeline,
    counts: Counts,
    coverage: Shelf,
    marks: Marks,
    wanted: Wanted,
    splits: Splits,
}

/// The coverage, which the gate looks at too.
struct Shelf(Arc<Mutex<Coverage>>);

impl Shelf {
    fn lock(&self) -> std::sync::MutexGuard<'_, Coverage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UsageDoor for Shelf {
    fn with<R>(&mut self, act: impl FnOnce(&mut Usage) -> R) -> R {
        act(&mut self.lock().usage)
    }
}

impl Reading {
    /// Takes up the log where it was left; on first sight it begins with the file's first line, and what that shows of the past is
    /// counted without waking anybody.
    ///
    /// # Errors
    /// Why the place that was left cannot be read back.
    pub fn open(
        shared: Arc<Shared>,
        (node, log): (&str, Log),
        (state, sightings): (Option<AuditState>, Vec<Sighting>),
        inbox: Arc<Inbox>,
        canaries: Arc<Canaries>,
    ) -> Result<Self, String> {
        let checkpoint = state.as_ref().map(|s| Checkpoint::decode(&s.checkpoint_json)).transpose().map_err(|e| e.to_string())?;
        let options = Options { format: log.format, ..Options::default() };
        let follower = Follower::open(&log.path, checkpoint, options).map_err(|e| e.to_string())?;
        let saved = state.as_ref().and_then(|s| serde_json::from_str(&s.metrics_json).ok()).unwrap_or_default();
        let marks: Marks = state.as_ref().and_then(|s| serde_json::from_str(&s.counters_json).ok()).unwrap_or_default();
        let usage = state.as_ref().and_then(|s| serde_json::from_str(s.usage_json.as_deref()?).ok());
        let mut mind = Mind {
            pipeline: Pipeline::restore(saved),
            counts: Counts::new(&shared.metrics, node),
            coverage: Shelf(Arc::new(Mutex::new(usage.map_or_else(Coverage::default, Coverage::restore)))),
            marks,
            wanted: Wanted::default(),
            splits: Splits::new(),
        };
        mind.pipeline.own = mind.marks.own();
        mind.pipeline.rules.remember(&sightings);
        let keeper = Keeper::restore(state.as_ref(), &mind.pipeline.tally)?;
        mind.counts.show(&mut mind.pipeline.tally);
        Ok(Self {
            shared,
            node: node.to_owned(),
            path: log.path,
            follower,
            mind,
            inbox,
            committed: None,
            dirty: state.is_none(),
            in_trouble: false,
            found: Vec::new(),
            keeper,
            care: Care::default(),
            canaries,
            to_sign: ToSign::default(),
            handed_out: Instant::now(),
        })
    }

    /// Where the chain is handed out to be signed.
    pub fn to_sign(&self) -> ToSign {
        Arc::clone(&self.to_sign)
    }

    /// What this log shows of the secrets' readers.
    pub fn coverage(&self) -> Arc<Mutex<Coverage>> {
        Arc::clone(&self.mind.coverage.0)
    }

    /// Reads until told to stop.
    pub fn run(mut self, runtime: &Handle, mut quiet_about: Option<Timestamp>) {
        loop {
            let news = self.inbox.wait(LOOK);
            if let Some(care) = &news.care {
                self.keeper.keep_evidence(care.evidence);
                self.mind.pipeline.canary.clone_from(&care.canary);
                self.care = care.clone();
            }
            self.mind.hear(news);
            loop {
                let began = Timestamp::now();
                let (at_end, lines) = self.look(began, quiet_about);
                self.dirty |= lines > 0;
                if at_end {
                    self.mind.coverage.lock().caught_up(began);
                    break;
                }
                // A long log is left where it stands; the next start goes on there.
                if self.inbox.stops() {
                    break;
                }
                self.commit_in_time(runtime, false);
            }
            let stop = self.inbox.stops();
            quiet_about = quiet_about.filter(|_| self.follower.bytes_behind() > 0);
            self.commit_in_time(runtime, stop);
            if stop {
                self.mind.counts.leave_standing();
                return;
            }
        }
    }

    /// One look at the file: whether its end was reached, and how many lines were read.
    fn look(&mut self, now: Timestamp, quiet_about: Option<Timestamp>) -> (bool, u64) {
        let Mind { pipeline, coverage, .. } = &mut self.mind;
        let keeper = &mut self.keeper;
        let outcome = self.follower.poll(&mut |line: Line<'_>| {
            let place = Place { file: line.file.inode, offset: line.offset };
            pipeline.line(line.bytes, place, now, coverage);
            keeper.line(line.bytes, place, now, &pipeline.tally);
        });
        self.find_canaries();
        if let Some(first) = self.mind.pipeline.take_first_entry() {
            self.mind.coverage.lock().reached(first);
        }
        let last_entry = self.mind.pipeline.tally.last_entry();
        // What waits is judged by how far the log was read, so that an old log is not taken for a dead server.
        self.mind.pipeline.expire(if outcome.at_end { now } else { last_entry.unwrap_or(now) });
        self.tell_findings(now, quiet_about);
        for event in &outcome.events {
            self.heed(event, now);
        }
        let reads = !outcome.events.iter().any(|e| matches!(e, Event::Missing | Event::Unreadable { .. }));
        if reads && self.in_trouble && (outcome.lines > 0 || outcome.events.iter().any(|e| matches!(e, Event::Opened { .. }))) {
            self.in_trouble = false;
            self.shared.alerts.resolve(told::file_key(&self.node), "the audit log can be read again");
        }
        self.mind.counts.readable(!self.in_trouble);
        self.mind.counts.file(self.follower.counters());
        self.mind.counts.behind(self.follower.bytes_behind());
        self.mind.counts.show(&mut self.mind.pipeline.tally);
        if let (Some(last), true) = (last_entry, outcome.lines > 0) {
            self.mind.counts.lag(last, Timestamp::now());
        }
        if !self.in_trouble {
            self.shared.board.reached(&format!("audit log of {}", self.node));
        }
        self.show();
        (outcome.at_end, outcome.lines)
    }

    fn find_canaries(&mut self) {
        for nonce in self.mind.pipeline.take_heard() {
            if let Some(lag) = self.canaries.found(&nonce, &self.node, Instant::now()) {
                self.mind.counts.canary(lag);
            }
        }
    }

    fn tell_findings(&mut self, now: Timestamp, quiet_about: Option<Timestamp>) {
        for finding in self.mind.pipeline.take_found() {
            tracing::info!(rule = finding.rule.name(), node = self.node, "{}", told::sentence(&finding, &self.node));
            if !finding.is_quiet && quiet_about.is_none_or(|start| finding.time >= start) {
                let window = self.mind.pipeline.rules.settings(finding.rule).map_or(SignedDuration::ZERO, |s| s.window);
                self.shared.alerts.raise(told::finding(&finding, &self.node, window, now));
            }
            if self.found.len() < KEPT {
                self.found.push(finding);
            }
        }
        for reason in self.mind.pipeline.take_bad() {
            if let Some(alert) = told::device(&self.node, reason, now) {
                self.shared.alerts.raise(alert);
            }
        }
    }

    /// What happened to the file, told and reckoned with.
    fn heed(&mut self, event: &Event, now: Timestamp) {
        tracing::info!(node = self.node, event = ?event, "The audit file changed.");
        let trouble = match event {
            Event::Missing => Some("is not there".to_owned()),
            Event::Unreadable { kind, .. } => Some(format!("cannot be read: {kind}")),
            _ => None,
        };
        if let Some(why) = trouble {
            self.in_trouble = true;
            self.shared.board.waits(&format!("audit log of {}", self.node), &format!("{} {why}", self.path.display()));
            self.mind.coverage.lock().is_blind(&format!("the file {why}"));
            self.shared.alerts.raise(told::file(&self.node, &self.path, &why, now));
        }
        if let Some(alert) = told::lost(&self.node, event, now) {
            self.mind.coverage.lock().lost(now);
            self.keeper.gap(Gap { node: self.node.clone(), at: now, text: alert.account.happened.clone() });
            self.dirty = true;
            self.shared.alerts.raise(alert);
        }
    }

    fn show(&self) {
        let state = if self.in_trouble { "cannot be read" } else { "followed" };
        let view = crate::daemon::board::AuditView {
            state: state.into(),
            last_entry: self.mind.pipeline.tally.last_entry(),
            lines: self.follower.counters().lines,
            behind_bytes: self.follower.bytes_behind(),
            bad_lines: self.mind.pipeline.tally.bad().iter().sum(),
            bad_places: self.mind.pipeline.tally.bad_places().copied().collect(),
        };
        self.shared.board.update(|status| {
            status.audit.insert(self.node.clone(), view);
        });
    }

    /// Writes the place down with all that the lines before it caused, in one transaction.
    fn commit_in_time(&mut self, runtime: &Handle, now_at_once: bool) {
        if !self.dirty || (!now_at_once && self.committed.is_some_and(|at| at.elapsed() < COMMIT)) {
            return;
        }
        self.committed = Some(Instant::now());
        let now = Timestamp::now();
        self.mind.coverage.lock().usage.expire(now, USAGE_AGE);
        self.mind.pipeline.rules.expire(now, USAGE_AGE);
        let is_due = self.care.sign_every.is_some_and(|every| self.handed_out.elapsed() >= every);
        let end = if is_due || now_at_once { self.keeper.close_segment() } else { None };
        match self.commit(now).map(|commit| runtime.block_on(self.shared.store.commit_audit(commit))) {
            Ok(Ok(())) => {
                self.dirty = false;
                self.found.clear();
                self.keeper.committed();
                if is_due {
                    self.handed_out = Instant::now();
                    *self.to_sign.lock().unwrap_or_else(PoisonError::into_inner) = end;
                }
                self.shared.alerts.resolve(told::checkpoint_key(&self.node), "the place in the log is kept again");
            }
            Ok(Err(error)) => self.not_kept(&error.to_string(), now),
            Err(why) => self.not_kept(&why, now),
        }
    }

    fn not_kept(&mut self, why: &str, now: Timestamp) {
        self.found.clear(); // told already; only their place in the history is lost
        self.shared.alerts.raise(told::checkpoint(&self.node, why, "Keyward goes on reading, and tries again every second.", now));
    }

    fn commit(&mut self, now: Timestamp) -> Result<AuditCommit, String> {
        let json = |what: Result<String, serde_json::Error>| what.map_err(|e| e.to_string());
        let trail = self.keeper.trail(&mut self.mind.pipeline)?;
        let findings = self.found.iter().map(|finding| keyward_store::Finding {
            node: self.node.clone(),
            rule: finding.rule.name().to_owned(),
            severity: finding.severity.label().to_owned(),
            at: finding.time,
            text: told::sentence(finding, &self.node),
        });
        Ok(AuditCommit {
            node: self.node.clone(),
            checkpoint_json: self.follower.checkpoint().encode().map_err(|e| e.to_string())?,
            counters_json: json(serde_json::to_string(&self.mind.marks))?,
            metrics_json: json(serde_json::to_string(&self.mind.pipeline.snapshot()))?,
            usage_json: Some(json(serde_json::to_string(&self.mind.coverage.lock().state()))?),
            findings: findings.collect(),
            alerts: None,
            trail,
            at: now,
        })
    }
}

impl Mind {
    fn hear(&mut self, news: News) {
        if let Some(marks) = news.own {
            self.marks.join(marks);
            self.pipeline.own = self.marks.own();
            self.coverage.lock().usage.disown(&self.pipeline.own);
        }
        if let Some(mounts) = news.mounts {
            self.pipeline.tally.know(mounts.iter().map(|(mount, kind)| (mount.as_str(), kind.as_str())));
        }
        let places = news.config.is_some() || news.splits.is_some();
        if let Some((wanted, mut rules)) = news.config {
            rules.continue_from(std::mem::replace(&mut self.pipeline.rules, RuleBook::defaults()));
            self.pipeline.rules = rules;
            self.coverage.lock().usage.keep_only(|secret| wanted.has(secret));
            self.wanted = wanted;
        }
        if let Some(splits) = news.splits {
            self.splits = splits;
        }
        if places {
            let (paths, watched) = self.wanted.paths(&self.splits);
            self.pipeline.paths = paths;
            self.coverage.lock().watch(&watched);
        }
    }
}
