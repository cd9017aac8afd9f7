//! Classes: a schedule and a policy that secrets share. Four are shipped; the file overrides what it names, and may add others.
//! It never computes what is due; the planner does.

use super::duration;
use super::problem::{Problems, nearest};
use super::section::{Section, must_be};
use keyward_engine::kinds::RetireWhen;
use keyward_rotation::schedule::{Backoff, CatchUp, Policy, Schedule, ScheduleError, Window};
use std::collections::BTreeMap;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// A class as the file and the shipped defaults give it together.
#[derive(Clone, Debug)]
pub struct Class {
    /// When and how often. Defaults: the schedule's zone UTC, no jitter, no window, `catch_up` run-once, `backoff` one minute doubled up to
    /// one hour, no `deadline` (a slot is late after an hour, attempts go on until the next slot), `concurrency` 4.
    pub policy: Policy,
    /// What becomes of an old value; default after-grace, `when-unused` for `database`.
    pub retire: RetireWhen,
    /// How long an old value stays valid at least; default 24 hours.
    pub grace: Duration,
    /// When `when-unused` still sees use so long after the rotation, it alerts; default 5 days, or twice the grace if that is longer.
    pub retire_deadline: Duration,
    /// How often a published credential is proved again; default one hour, 5 minutes for `database`.
    pub proof: Duration,
}

/// A shipped class: name, schedule, retire policy, time between proofs.
const SHIPPED: [(&str, &str, RetireWhen, Duration); 4] = [
    ("database", "weekly", RetireWhen::WhenUnused, Duration::from_mins(5)),
    ("api-key", "monthly", RetireWhen::AfterGrace, HOUR),
    ("jwt", "quarterly", RetireWhen::AfterGrace, HOUR),
    ("root", "annually", RetireWhen::AfterGrace, HOUR),
];

const DEFAULT_BACKOFF: Backoff = Backoff { first: MINUTE, longest: HOUR };

/// The end of an error's sentence.
const NO_SCHEDULE: &str = "it is no shipped class, so say when: \"weekly\", \"monthly\", \"quarterly\", \"annually\" or five cron fields";

/// What a class of the file's own starts from; its schedule must be written.
const OTHER: (&str, RetireWhen, Duration) = ("annually", RetireWhen::AfterGrace, HOUR);

/// Every class by name; `None` for one with problems, so that its secrets are not said to name an unknown one.
pub(super) type Classes = BTreeMap<String, Option<Class>>;

/// Reads `[class.*]` over the shipped classes.
pub(super) fn read(section: Option<Section<'_>>, problems: &Problems<'_>) -> Classes {
    let mut classes = Classes::new();
    for (name, value) in section.into_iter().flat_map(Section::entries) {
        let (name_span, span) = (name.span(), value.span());
        let name = name.into_inner();
        let table = match value.into_inner() {
            DeValue::Table(table) => table,
            other => {
                problems.at(&name_span, format!("\"{name}\" in [class] {}", must_be("a table, [class.NAME]", &other)));
                continue;
            }
        };
        if let Err(what) = super::secret::name(&name) {
            problems.at(&name_span, format!("the name of [class.{name}] {what}"));
        }
        let class = overrides(Section::new(format!("[class.{name}]"), Spanned::new(span, table), problems), &name);
        classes.insert(name, class);
    }
    for (name, ..) in SHIPPED {
        // An empty table over a shipped class is that class.
        classes.entry(name.to_owned()).or_insert_with(|| overrides(Section::new("", Spanned::new(0..0, DeTable::new()), problems), name));
    }
    classes
}

/// Whether a class exists without being written.
pub(super) fn is_shipped(name: &str) -> bool {
    SHIPPED.iter().any(|(shipped, ..)| *shipped == name)
}

fn overrides(mut s: Section<'_>, name: &str) -> Option<Class> {
    let shipped = SHIPPED.iter().find(|(shipped, ..)| *shipped == name);
    let (default_schedule, retire, mut proof) = shipped.map_or(OTHER, |(_, schedule, retire, proof)| (*schedule, *retire, *proof));
    let (schedule, window) = times(&mut s, default_schedule);
    let (retire, grace, retire_deadline) = retirement(&mut s, retire);
    let (mut jitter, mut catch_up, mut concurrency) = (Duration::ZERO, CatchUp::RunOnce, 4);
    set(&mut jitter, s.duration_or_none("jitter"));
    set(&mut catch_up, s.choice("catch_up", &[("run-once", CatchUp::RunOnce), ("wait", CatchUp::Wait), ("alert", CatchUp::Alert)]));
    set(&mut proof, s.duration("proof"));
    set(&mut concurrency, s.number("concurrency", 1..=1_000));
    let deadline = s.duration("deadline").map(Spanned::into_inner);
    let backoff = s.inline("backoff").map_or(DEFAULT_BACKOFF, read_backoff);
    let required: &[_] = if shipped.is_some() { &[] } else { &[("schedule", NO_SCHEDULE)] };
    s.finish(required);
    let policy = Policy { schedule: schedule?, jitter, window, catch_up, backoff, deadline, concurrency: concurrency as usize };
    Some(Class { policy, retire, grace, retire_deadline, proof })
}

/// When the class rotates, both in its zone.
fn times(s: &mut Section<'_>, default_schedule: &str) -> (Option<Schedule>, Option<Window>) {
    let written = s.text("schedule");
    let zone = s.text("zone");
    let zone_name = zone.as_ref().map(|z| z.get_ref().as_str());
    let schedule = match Schedule::parse(written.as_ref().map_or(default_schedule, |w| w.get_ref()), zone_name) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            let (key, place) = match (&error, &zone) {
                (ScheduleError::Zone { .. }, Some(zone)) => ("zone", zone.span()),
                _ => ("schedule", written.as_ref().map_or_else(|| s.span().clone(), Spanned::span)),
            };
            let near = nearby(&error, written.as_ref(), zone.as_ref());
            s.wrong(&place, key, format_args!("cannot be used: {error}{near}"));
            None
        }
    };
    // A zone that is unknown has been said once.
    let zone = zone_name.filter(|_| schedule.is_some());
    let window = s.parsed("window", |text| Window::parse(text, zone).map_err(|error| format!("cannot be used: {error}")));
    (schedule, window.map(Spanned::into_inner))
}

/// What becomes of old values: policy, grace, deadline.
fn retirement(s: &mut Section<'_>, mut retire: RetireWhen) -> (RetireWhen, Duration, Duration) {
    let policies = [("when-unused", RetireWhen::WhenUnused), ("after-grace", RetireWhen::AfterGrace), ("never", RetireWhen::Never)];
    set(&mut retire, s.choice("retire", &policies));
    let mut grace = DAY;
    set(&mut grace, s.duration_or_none("grace"));
    let Some(deadline) = s.duration("retire_deadline") else { return (retire, grace, (5 * DAY).max(2 * grace)) };
    if *deadline.get_ref() <= grace {
        let shown = (duration::show(*deadline.get_ref()), duration::show(grace));
        s.wrong(
            &deadline.span(),
            "retire_deadline",
            format_args!("is {}, which is not after the grace of {}; make it longer", shown.0, shown.1),
        );
    }
    (retire, grace, deadline.into_inner())
}

/// The word or zone that was probably meant.
fn nearby(error: &ScheduleError, written: Option<&Spanned<String>>, zone: Option<&Spanned<String>>) -> String {
    const WORDS: [&str; 6] = ["hourly", "daily", "weekly", "monthly", "quarterly", "annually"];
    let near = match error {
        ScheduleError::Zone { .. } => {
            let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
            zone.and_then(|z| nearest(z.get_ref(), names.iter().map(String::as_str)).map(str::to_owned))
        }
        ScheduleError::Shape { fields: 1, .. } => written.and_then(|w| nearest(w.get_ref(), WORDS)).map(str::to_owned),
        _ => None,
    };
    near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default()
}

fn set<T>(place: &mut T, value: Option<Spanned<T>>) {
    if let Some(value) = value {
        *place = value.into_inner();
    }
}

fn read_backoff(mut s: Section<'_>) -> Backoff {
    let first = s.duration("first").map_or(DEFAULT_BACKOFF.first, Spanned::into_inner);
    let longest = s.duration("longest").map_or(DEFAULT_BACKOFF.longest.max(first), Spanned::into_inner);
    if longest < first {
        s.problems().at(s.span(), format!("\"longest\" in {} is shorter than \"first\"", s.label()));
    }
    s.finish(&[]);
    Backoff { first, longest }
}

impl Section<'_> {
    /// A duration; `0s` too.
    fn duration_or_none(&mut self, key: &'static str) -> Option<Spanned<Duration>> {
        self.parsed(key, |text| if text == "0s" { Ok(Duration::ZERO) } else { duration::parse(text) })
    }
}
