//! Classes: a schedule and a policy that secrets share. Four are shipped; the file overrides what it names, and may add others.
//! It never computes what is due; the planner does.

use super::duration;
use super::problem::Problems;
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
    /// When `when-unused` still sees use so long after the rotation, it alerts; default 5 days.
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
    let (default_schedule, mut retire, mut proof) = shipped.map_or(OTHER, |(_, schedule, retire, proof)| (*schedule, *retire, *proof));
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
            s.wrong(&place, key, format_args!("cannot be used: {error}"));
            None
        }
    };
    // A zone that is unknown has been said once.
    let window_zone = zone_name.filter(|_| schedule.is_some());
    let window = s.parsed("window", |text| Window::parse(text, window_zone).map_err(|error| format!("cannot be used: {error}")));
    let policies = [("when-unused", RetireWhen::WhenUnused), ("after-grace", RetireWhen::AfterGrace), ("never", RetireWhen::Never)];
    let (mut jitter, mut catch_up, mut backoff, mut concurrency) =
        (Duration::ZERO, CatchUp::RunOnce, Backoff { first: MINUTE, longest: HOUR }, 4);
    let (mut grace, mut retire_deadline) = (DAY, 5 * DAY);
    set(&mut jitter, s.duration_or_none("jitter"));
    set(&mut catch_up, s.choice("catch_up", &[("run-once", CatchUp::RunOnce), ("wait", CatchUp::Wait), ("alert", CatchUp::Alert)]));
    set(&mut retire, s.choice("retire", &policies));
    set(&mut proof, s.duration("proof"));
    set(&mut concurrency, s.number("concurrency", 1..=1_000));
    let (written_grace, written_deadline) = (s.duration_or_none("grace"), s.duration("retire_deadline"));
    let place = written_deadline.as_ref().or(written_grace.as_ref()).map(Spanned::span);
    let deadline_is_default = written_deadline.is_none();
    set(&mut grace, written_grace);
    set(&mut retire_deadline, written_deadline);
    if deadline_is_default {
        retire_deadline = retire_deadline.max(grace.saturating_mul(2));
    }
    if let Some(span) = place.filter(|_| retire_deadline <= grace) {
        let (grace, deadline) = (duration::show(grace), duration::show(retire_deadline));
        s.wrong(&span, "retire_deadline", format_args!("is {deadline}, which is not after the grace of {grace}; make it longer"));
    }
    let deadline = s.duration("deadline").map(Spanned::into_inner);
    if let Some(written) = s.inline("backoff") {
        read_backoff(written, &mut backoff);
    }
    let required: &[_] = match shipped {
        Some(_) => &[],
        None => {
            &[("schedule", "it is no shipped class, so say when: \"weekly\", \"monthly\", \"quarterly\", \"annually\" or five cron fields")]
        }
    };
    s.finish(required);
    let window = window.map(Spanned::into_inner);
    let concurrency = concurrency as usize;
    let policy = Policy { schedule: schedule?, jitter, window, catch_up, backoff, deadline, concurrency };
    Some(Class { policy, retire, grace, retire_deadline, proof })
}

fn set<T>(place: &mut T, value: Option<Spanned<T>>) {
    if let Some(value) = value {
        *place = value.into_inner();
    }
}

fn read_backoff(mut s: Section<'_>, backoff: &mut Backoff) {
    set(&mut backoff.first, s.duration("first"));
    set(&mut backoff.longest, s.duration("longest"));
    if backoff.longest < backoff.first {
        s.problems().at(s.span(), format!("\"longest\" in {} is shorter than \"first\"", s.label()));
    }
    s.finish(&[]);
}

impl Section<'_> {
    /// A duration; `0s` too.
    fn duration_or_none(&mut self, key: &'static str) -> Option<Spanned<Duration>> {
        self.parsed(key, |text| if text == "0s" { Ok(Duration::ZERO) } else { duration::parse(text) })
    }
}
