//! Whoever does what a person asks for: the running daemon over its socket, or where none runs this process, by the same record.

use super::alone::Alone;
use super::daemon_client::{Daemon, person};
use super::output::{self, Output};
use super::stop::{self, Stop};
use crate::config::{Config, Environment};
use crate::consumers;
use crate::daemon::control::{Answer, Said, Words};
use crate::daemon::observer::Progress;
use crate::daemon::requests::{self, Finding, Refusal};
use crate::daemon::rotations::Work;
use anyhow::{Context, Result};
use hyper::body::Bytes;
use keyward_engine::Failure;
use keyward_engine::stored::Stored;
use keyward_rotation::record::Observation;
use keyward_secret::{Fields, Secret};
use std::time::Duration;

/// Between two looks at a record that somebody else may have left.
const LOOK: Duration = Duration::from_secs(1);

/// What is asked for.
pub enum Request {
    /// Rotate now.
    Rotate,
    /// Let what is stuck or paused go on.
    Resume,
    /// Take this value.
    Supply(Secret),
    /// Hold its schedule, for this reason.
    Pause(String),
    /// Make it true again, by this cure.
    Reconcile(String),
}

impl Request {
    fn path(&self, name: &str) -> String {
        let what = match self {
            Self::Rotate => "rotate",
            Self::Resume => "resume",
            Self::Supply(_) => "supply",
            Self::Pause(_) => "pause",
            Self::Reconcile(_) => "reconcile",
        };
        format!("/{what}/{name}")
    }

    fn body(&self) -> Bytes {
        let words = match self {
            Self::Rotate | Self::Resume => return Bytes::new(),
            Self::Supply(value) => {
                let mut fields = Fields::new();
                fields.set_text("value", value);
                return Bytes::from(fields.to_json_text().expose().to_owned());
            }
            Self::Pause(why) => Words { why: why.clone(), ..Words::default() },
            Self::Reconcile(agreed) => Words { agreed: agreed.clone(), ..Words::default() },
        };
        // Two texts always serialize.
        Bytes::from(serde_json::to_vec(&words).unwrap_or_default())
    }
}

/// Who does it.
pub enum Hand {
    /// The daemon.
    Daemon(Daemon),
    /// This process.
    Alone(Box<Alone>),
}

impl Hand {
    /// The daemon where one runs and `alone` was not asked for; else this process, logged in.
    ///
    /// # Errors
    /// The daemon may not be asked, or there is no login.
    pub async fn find(config: Config, environment: &Environment, alone: bool, out: Output) -> Result<Self> {
        if !alone && let Some(daemon) = Daemon::find(&config.socket).await? {
            return Ok(Self::Daemon(daemon));
        }
        if out == Output::Text {
            output::note("No daemon answers here; working alone.");
        }
        Ok(Self::Alone(Box::new(Alone::log_in(config, environment).await?)))
    }

    /// Has it done; `each` sees every step as it comes.
    ///
    /// # Errors
    /// What kept it from being asked.
    pub async fn ask(&self, name: &str, request: Request, mut each: impl FnMut(&Progress)) -> Result<Said> {
        match self {
            Self::Alone(alone) => by_itself(alone, name, request, each).await,
            Self::Daemon(daemon) => {
                stop::did(format!("{name}: asked of the daemon, which goes on by itself"));
                let mut last = None;
                daemon
                    .ask(&request.path(name), request.body(), |said| match said {
                        Said::Progress(progress) => each(&progress),
                        other => last = Some(other),
                    })
                    .await?;
                let said = last.context("the daemon ended its answer without a result; look at `keyward status`")?;
                let outcome = if let Said::Result(answer) = &said { &answer.outcome } else { "refused" };
                stop::did_rather(format!("{name}: {outcome}"));
                Ok(said)
            }
        }
    }

    /// What is true of a secret.
    ///
    /// # Errors
    /// What kept it from being asked.
    pub async fn examine(&self, name: &str) -> Result<Result<Finding, Refusal>> {
        match self {
            Self::Daemon(daemon) => daemon.get(&format!("/examine/{name}")).await,
            Self::Alone(alone) => Ok(requests::examine(&alone.live.engine, alone.managed(name)?).await),
        }
    }

    /// Pauses a class (`why` given) or lets it go on.
    ///
    /// # Errors
    /// What kept it from being asked.
    pub async fn class(&self, class: &str, pause: Option<String>) -> Result<Said> {
        match self {
            Self::Daemon(daemon) => {
                let (path, body) = match &pause {
                    Some(why) => (format!("/pause-class/{class}"), Request::Pause(why.clone()).body()),
                    None => (format!("/resume-class/{class}"), Bytes::new()),
                };
                let mut last = None;
                daemon.ask(&path, body, |said| last = Some(said)).await?;
                last.context("the daemon ended its answer without a result; look at `keyward status`")
            }
            Self::Alone(alone) => {
                let engine = &alone.live.engine;
                let done = match pause {
                    Some(why) => engine.pause_class(class, &person(), &why).await.map(|_| "paused"),
                    None => engine.resume_class(class).await.map(|()| "resumed"),
                };
                Ok(done.map_or_else(|failure| Said::Refused(failure.into()), |word| Said::Result(Answer::word(word))))
            }
        }
    }
}

/// Ctrl-C waits for the end of what was begun: half done, it would be left to whoever takes it up when nobody has worked on it for a while.
async fn by_itself(alone: &Alone, name: &str, request: Request, mut each: impl FnMut(&Progress)) -> Result<Said> {
    if !matches!(request, Request::Pause(_)) {
        match left_behind(alone, name).await {
            Ok(Some(stored)) => {
                let said = undisturbed(name, Box::pin(carry_out(alone, name, (stored, Work::TakeOver), &mut each))).await?;
                if matches!(request, Request::Rotate | Request::Resume) {
                    return Ok(said);
                }
            }
            Ok(None) => {}
            Err(failure) => return Ok(Said::Refused(failure.into())),
        }
    }
    undisturbed(name, Box::pin(prepare_and_carry_out(alone, name, request, each))).await
}

async fn undisturbed(name: &str, work: impl Future<Output = Result<Said>>) -> Result<Said> {
    let why = format!("{name}: what was begun is brought to its end first");
    let state = format!("{name} is left in the middle, safely: the daemon takes it up, or the next such command");
    let said = Stop::listen()?.finish(&why, &state, work).await?;
    if let Said::Result(answer) = &said {
        stop::did(format!("{name}: {}", answer.outcome));
    }
    Ok(said)
}

/// What somebody began and left half done. Where no daemon runs nobody else takes it up, so this looks on for as long as it takes to
/// know that its owner is gone; an owner that is still at work is left alone.
async fn left_behind(alone: &Alone, name: &str) -> Result<Option<Stored>, Failure> {
    let Ok(managed) = alone.managed(name) else { return Ok(None) };
    if managed.observes() {
        return Ok(None);
    }
    let (engine, mut seen, mut first) = (&alone.live.engine, Observation::default(), None);
    loop {
        let stored = engine.load(&managed.spec.name).await?;
        let owner = match &stored.record {
            Some(record) if record.way().is_some() => record.attempt().map(|attempt| attempt.owner.clone()).unwrap_or_default(),
            _ => return Ok(None),
        };
        if engine.may_take_over(&stored, &mut seen) {
            return Ok(Some(stored));
        }
        match first {
            Some(version) if version != stored.version => return Ok(None),
            Some(_) => {}
            None => output::note(&format!("A rotation of {name} was begun by {owner}; waiting whether that is still at work.")),
        }
        first = Some(stored.version);
        tokio::time::sleep(LOOK).await;
    }
}

async fn prepare_and_carry_out(alone: &Alone, name: &str, request: Request, each: impl FnMut(&Progress)) -> Result<Said> {
    let managed = alone.managed(name)?;
    let (live, engine, who) = (&alone.live, alone.live.engine.as_ref(), person());
    let prepared: Result<(Stored, Work), Refusal> = match request {
        Request::Rotate => requests::rotate(live, managed, &who, None).await,
        Request::Supply(value) => requests::rotate(live, managed, &who, Some(value)).await,
        Request::Resume => requests::resume(engine, managed).await,
        Request::Reconcile(agreed) => requests::reconcile(live, managed, &who, &agreed).await,
        Request::Pause(why) => {
            let done = requests::pause(engine, managed, &who, &why).await;
            return Ok(done.map_or_else(Said::Refused, |()| Said::Result(Answer::word("paused"))));
        }
    };
    match prepared {
        Ok(prepared) => carry_out(alone, name, prepared, each).await,
        Err(refusal) => Ok(Said::Refused(refusal)),
    }
}

async fn carry_out(alone: &Alone, name: &str, (stored, work): (Stored, Work), mut each: impl FnMut(&Progress)) -> Result<Said> {
    let (managed, engine) = (alone.managed(name)?, alone.live.engine.as_ref());
    let mut progress = alone.ear.listen(name);
    let quiet = if matches!(work, Work::Reconcile(..)) { "noted" } else { "resumed" };
    let running = async {
        match work {
            Work::Rotate(ask) => Ok(Some(Box::pin(engine.rotate(&managed.spec, stored, ask)).await)),
            Work::TakeOver => Ok(Some(Box::pin(engine.take_over(&managed.spec, stored)).await)),
            Work::Resume => Box::pin(engine.resume(&managed.spec, stored)).await,
            Work::Reconcile(truth, person) => Box::pin(engine.reconcile(&managed.spec, *truth, &person)).await,
        }
    };
    tokio::pin!(running);
    let outcome = loop {
        tokio::select! {
            Some(step) = progress.recv() => each(&step),
            outcome = &mut running => break match outcome {
                Ok(outcome) => outcome,
                Err(failure) => return Ok(Said::Refused(Refusal::from(failure))),
            },
        }
    };
    while let Ok(step) = progress.try_recv() {
        each(&step);
    }
    let Some(outcome) = outcome else { return Ok(Said::Result(Answer::word(quiet))) };
    let failures = consumers::tell(managed, &outcome).await.unwrap_or_default();
    if !failures.is_empty() {
        let why = failures.join("; ");
        output::note(&format!(
            "keyward: {name} was rotated and proved, but telling its consumers failed: {why}; have them read it again, where they read only when told"
        ));
    }
    Ok(Said::Result(Answer::of(&outcome)))
}
