//! The daemon's audit task: one reading thread per followed log, and what those threads must be told of the world.
//!
//! A log that is seen for the first time is read from the beginning of its present file, so that usage and figures reach back as
//! far as they can; findings in that past are counted and written down, but wake nobody.

mod canary;
mod counts;
mod errands;
mod inbox;
mod keeper;
mod managed;
mod own;
mod reading;
mod silence;
mod told;

pub use own::known_marks;
pub use told::sentence;

use super::shared::{Live, Shared};
use crate::config::NodeConfig;
use canary::Canaries;
use errands::Errands;
use inbox::{Care, Inbox};
use jiff::Timestamp;
use keyward_audit::RuleBook;
use keyward_tail::Format;
use managed::{Splits, Wanted};
use own::Marks;
use reading::{Reading, ToSign};
use silence::{Heard, Silence};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the world is looked at for the threads.
const TURN: Duration = Duration::from_secs(2);
/// Mounts and our own marks are asked for again after so long.
const ASK: Duration = Duration::from_mins(1);

/// A log to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    path: PathBuf,
    format: Format,
}

/// A log with more bytes than this to be read is not called silent.
const FAR_BEHIND: u64 = 1 << 20;

/// One followed log.
struct Followed {
    log: Log,
    inbox: Arc<Inbox>,
    thread: std::thread::JoinHandle<()>,
    hint: tokio::task::JoinHandle<()>,
    silence: Silence,
    to_sign: ToSign,
    /// How many canaries the node had answered at the last look.
    answered: u64,
}

/// The audit task. Ends when the daemon stops and every place is written down.
pub async fn run(shared: Arc<Shared>) {
    let mut task = Task::new(shared);
    loop {
        let live = task.shared.live();
        task.follow(&live).await;
        task.inform(&live).await;
        task.run_errands(&live);
        task.listen(&live);
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            // Who reads a value can be seen only from when Vault has said where it is: a rotation must not come before that.
            () = task.shared.logged_in.notified() => {}
            () = task.shared.stopped() => break,
        }
    }
    let nodes: Vec<String> = task.followed.keys().cloned().collect();
    for node in nodes {
        task.leave(&node).await;
    }
}

struct Task {
    shared: Arc<Shared>,
    followed: BTreeMap<String, Followed>,
    /// The configuration that the threads were told of.
    told: Option<Arc<Live>>,
    splits: Splits,
    marks: Option<Marks>,
    mounts: Option<BTreeMap<String, String>>,
    asked: Option<Instant>,
    canaries: Arc<Canaries>,
    errands: Errands,
}

impl Task {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            followed: BTreeMap::new(),
            told: None,
            splits: Splits::new(),
            marks: None,
            mounts: None,
            asked: None,
            canaries: Arc::default(),
            errands: Errands::default(),
        }
    }

    /// Starts and ends threads, as the configuration says.
    async fn follow(&mut self, live: &Arc<Live>) {
        let log = |n: &NodeConfig| Some((n.name.clone(), Log { path: n.audit_log.clone()?, format: n.audit_format }));
        let wanted: BTreeMap<String, Log> = live.config.vault.nodes.iter().filter_map(log).collect();
        let gone: Vec<String> = self
            .followed
            .iter()
            .filter(|(n, f)| wanted.get(*n) != Some(&f.log) || f.thread.is_finished())
            .map(|(n, _)| n.clone())
            .collect();
        for node in gone {
            self.leave(&node).await;
        }
        let mut coverages = BTreeMap::new();
        let mut changed = self.told.as_ref().is_none_or(|told| !Arc::ptr_eq(told, live));
        for (node, log) in wanted {
            if self.followed.contains_key(&node) {
                continue;
            }
            changed = true;
            match self.start(&node, log, live).await {
                Ok(coverage) => drop(coverages.insert(node, coverage)),
                Err(why) => {
                    let next = "Nothing in this log is followed until that is mended and the daemon is started again.";
                    self.shared.alerts.raise(told::checkpoint(&node, &why, next, Timestamp::now()));
                }
            }
        }
        if changed {
            self.told = None;
            self.shared.readers.update_nodes(live.config.vault.nodes.iter().map(|n| n.name.clone()), coverages);
        }
    }

    async fn start(&mut self, node: &str, log: Log, live: &Live) -> Result<Arc<std::sync::Mutex<crate::ports::Coverage>>, String> {
        let state = self.shared.store.load_audit(node).await.map_err(|e| e.to_string())?;
        let quiet_about = state.is_none().then(Timestamp::now);
        let inbox = Arc::new(Inbox::default());
        let sightings = self.shared.store.sightings(node).await.map_err(|e| e.to_string())?.into_iter().map(sighting).collect();
        let (shared, canaries) = (Arc::clone(&self.shared), Arc::clone(&self.canaries));
        let reading = Reading::open(shared, (node, log.clone()), (state, sightings), Arc::clone(&inbox), canaries)?;
        let (coverage, to_sign) = (reading.coverage(), reading.to_sign());
        self.brief(&inbox, live);
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::Builder::new()
            .name(format!("audit {node}"))
            .spawn(move || reading.run(&runtime, quiet_about))
            .map_err(|e| format!("no thread could be started: {e}"))?;
        let hint = tokio::spawn(wake_on_change(log.path.clone(), Arc::clone(&inbox)));
        self.followed.insert(node.to_owned(), Followed { log, inbox, thread, hint, silence: Silence::default(), to_sign, answered: 0 });
        Ok(coverage)
    }

    /// Ends a thread and waits until its place is written down.
    async fn leave(&mut self, node: &str) {
        let Some(followed) = self.followed.remove(node) else { return };
        followed.hint.abort();
        followed.inbox.tell(|news| news.stop = true);
        // The store bounds every call, so the thread ends within its time limit.
        if tokio::task::spawn_blocking(move || followed.thread.join()).await.is_ok_and(|joined| joined.is_err()) {
            tracing::error!(node, "The audit log's thread ended abnormally.");
        }
    }

    /// A thread that is new learns what the others know already, before it reads its first line.
    fn brief(&self, inbox: &Inbox, live: &Live) {
        inbox.tell(|news| {
            news.config = RuleBook::with(&live.config.audit_rules).ok().map(|rules| (Wanted::of(live), rules));
            news.care = Some(care(live));
            news.own.clone_from(&self.marks);
            news.mounts.clone_from(&self.mounts);
            news.splits = Some(self.splits.clone());
        });
    }

    /// Tells the threads of another configuration, of our own marks, of mounts, and of where the secrets are.
    async fn inform(&mut self, live: &Arc<Live>) {
        if self.told.as_ref().is_none_or(|told| !Arc::ptr_eq(told, live)) {
            match RuleBook::with(&live.config.audit_rules) {
                Ok(_) => {
                    self.each(|news| news.config = RuleBook::with(&live.config.audit_rules).ok().map(|rules| (Wanted::of(live), rules)));
                    self.each(|news| news.care = Some(care(live)));
                }
                Err(error) => tracing::error!(%error, "The audit rules of the configuration cannot be applied; the shipped ones stay."),
            }
            self.told = Some(Arc::clone(live));
            self.asked = None;
        }
        let ask = self.asked.is_none_or(|at| at.elapsed() >= ASK);
        if !live.vault.client().has_token() || self.followed.is_empty() {
            return;
        }
        self.find_places(live).await;
        if ask {
            self.asked = Some(Instant::now());
            if let Ok(token) = live.vault.client().lookup_self().await {
                let marks = own::marks(live.vault.client(), &token).await;
                self.marks = Some(marks.clone());
                self.each(|news| news.own = Some(marks.clone()));
            }
            if let Ok(mounts) = live.vault.client().mounts().await {
                self.mounts = Some(mounts.types.clone());
                self.each(|news| news.mounts = Some(mounts.types.clone()));
            }
        }
    }

    /// Asks Vault for the mounts of configured paths that are not known yet.
    async fn find_places(&mut self, live: &Live) {
        let wanted = Wanted::of(live);
        let mut found = false;
        for path in wanted.kv_paths() {
            if !self.splits.contains_key(path)
                && let Ok(split) = live.vault.split(path).await
            {
                self.splits.insert(path.to_owned(), split);
                found = true;
            }
        }
        if found {
            let splits = self.splits.clone();
            self.each(|news| news.splits = Some(splits.clone()));
        }
    }

    fn each(&self, tell: impl Fn(&mut inbox::News)) {
        for followed in self.followed.values() {
            followed.inbox.tell(&tell);
        }
    }

    fn run_errands(&mut self, live: &Arc<Live>) {
        let nodes: Vec<String> = self.followed.keys().cloned().collect();
        self.errands.canaries(&self.shared, live, &nodes, &self.canaries);
        for (node, followed) in &self.followed {
            self.errands.sign(&self.shared, live, node, &followed.to_sign);
        }
    }

    /// Whether a log is silent although our own calls must appear in it: canaries where they fly, else any line at all.
    fn listen(&mut self, live: &Live) {
        let interval = live.config.audit.canary;
        let patience = canary::patience(interval);
        let status = self.shared.board.status();
        let token_works = status.token.state == "ok";
        for (node, followed) in &mut self.followed {
            let Some(view) = status.audit.get(node) else { continue };
            let is_active = status.nodes.get(node).is_some_and(|n| n.state == "active");
            // What is far behind has not come to our calls yet.
            let armed = view.state == "followed" && is_active && view.behind_bytes < FAR_BEHIND;
            let (answered, found) = self.canaries.counts(node);
            let is_answered = answered != std::mem::replace(&mut followed.answered, answered);
            let (found, is_answered) = if interval.is_some() { (found, is_answered) } else { (view.lines, token_works) };
            match followed.silence.look(Instant::now(), found, (armed, is_answered), patience) {
                Heard::Nothing => {}
                Heard::Speaks => self.shared.alerts.resolve(told::silent_key(node), "the audit log speaks again"),
                Heard::Silent => self.shared.alerts.raise(told::silent(node, &followed.log.path, patience, Timestamp::now())),
            }
        }
    }
}

/// How the configuration wants the logs looked after.
fn care(live: &Live) -> Care {
    let audit = &live.config.audit;
    let evidence = audit.evidence.as_ref();
    // Paths in the log come after their namespace, which stands in a field of its own.
    let canary = audit.canary.map(|_| canary::path(&live.config.vault.record_mount));
    let sign_every = evidence.filter(|evidence| evidence.key.is_some()).map(|evidence| evidence.sign_every);
    Care { evidence: evidence.is_some(), sign_every, canary }
}

fn sighting(kept: keyward_store::Sighting) -> keyward_audit::Sighting {
    let keyward_store::Sighting { identity, address, first, last } = kept;
    keyward_audit::Sighting { identity, address, first, last }
}

/// Wakes the reading thread when the file changes. A hint only: the thread looks by itself several times a second.
async fn wake_on_change(path: PathBuf, inbox: Arc<Inbox>) {
    if let Err(error) = try_wake_on_change(&path, &inbox).await {
        tracing::debug!(path = %path.display(), %error, "No wake-ups for this audit file; it is looked at by the clock.");
    }
}

async fn try_wake_on_change(path: &Path, inbox: &Inbox) -> std::io::Result<()> {
    let mut events = linemux::MuxedEvents::new()?;
    events.add_file(path).await?;
    while events.next_event().await?.is_some() {
        inbox.wake();
    }
    Ok(())
}
