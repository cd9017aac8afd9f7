//! What a seed stands for: which secrets, how many daemons, what goes wrong and how often.
//!
//! Each seed draws its own mix, some faults often and others not at all: a world in which everything fails all the time
//! never gets far enough to fail interestingly.

use crate::Millis;
use crate::cases::{Case, What};
use crate::chance::Chance;
use crate::consumer::Consumer;
use crate::net::Rates;
use crate::person::Deed;
use keyward_engine::kinds::RetireWhen;
use keyward_rotation::schedule::{Backoff, CatchUp, Policy, Schedule};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const SECOND: Millis = 1_000;
pub(crate) const MINUTE: Millis = 60 * SECOND;
pub(crate) const HOUR: Millis = 60 * MINUTE;

/// A world as drawn from its seed.
pub(crate) struct Plan {
    pub(crate) cases: Vec<Case>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) machines: usize,
    pub(crate) rates: Rates,
    /// The time between two slots, and how long the world lasts before and after the calm.
    pub(crate) interval: Millis,
    pub(crate) storm: Millis,
    pub(crate) calm: Millis,
    /// How long a daemon rests between two looks.
    pub(crate) pace: Millis,
    /// How long it takes until a person does something, and what he may do.
    pub(crate) person_every: Millis,
    pub(crate) deeds: &'static [Deed],
    /// How often something happens to a server.
    pub(crate) disturbed_every: Option<Millis>,
    /// How often the database begins or ceases to bar new passwords.
    pub(crate) barred_every: Option<Millis>,
    /// Servers may be restored from the past.
    pub(crate) restores: bool,
    /// Wall clocks differ by up to this much.
    pub(crate) skew: Millis,
    /// How far the replica is behind.
    pub(crate) lag: Millis,
}

const KINDS: [What; 9] = [
    What::Password,
    What::Password,
    What::TwoUsers(RetireWhen::WhenUnused),
    What::TwoUsers(RetireWhen::AfterGrace),
    What::StaticRole,
    What::StaticRoleCopied,
    What::Random,
    What::Jwt,
    What::Manual,
];

/// Time between slots, and the schedule that says so.
const SCHEDULES: [(Millis, &str); 4] = [(HOUR, "0 * * * *"), (6 * HOUR, "0 */6 * * *"), (24 * HOUR, "30 2 * * *"), (168 * HOUR, "weekly")];

impl Plan {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let (interval, spec) = chance.pick(&SCHEDULES);
        let policy = Arc::new(policy(spec, interval, chance));
        let count = chance.pick(&[1, 1, 2]);
        let grace = interval / 3;
        let cases: Vec<Case> = (1..=count).map(|n| Case::new(n, chance.pick(&KINDS), Arc::clone(&policy), grace)).collect();
        let meddles = chance.per_mille(400);
        let mut plan = Self {
            consumers: Vec::new(),
            machines: usize::try_from(chance.pick(&[1, 2, 2, 2, 3])).unwrap_or(2),
            rates: Rates {
                lost_request: chance.pick(&[0, 0, 5, 40]),
                lost_answer: chance.pick(&[0, 0, 10, 60]),
                late: chance.pick(&[0, 0, 10, 40]),
                freeze: chance.pick(&[0, 5, 15, 40]),
                crash: chance.pick(&[0, 0, 5, 20]),
                jump: 0,
            },
            interval,
            storm: interval * chance.between(3, 5),
            calm: 5 * HOUR + interval,
            pace: interval / chance.between(6, 14),
            person_every: interval / chance.between(1, 3),
            deeds: if meddles { &Deed::ALL } else { &Deed::HARMLESS },
            disturbed_every: chance.per_mille(500).then_some(interval / 2),
            barred_every: chance.per_mille(200).then_some(interval / 3),
            restores: meddles && chance.per_mille(400),
            skew: 0,
            lag: chance.pick(&[0, 0, 300]),
            cases,
        };
        if chance.per_mille(250) {
            plan.bring_to_a_point(chance);
        }
        plan.draw_consumers(chance);
        if plan.consumers.is_empty() {
            plan.skew = chance.pick(&[0, 0, 30 * SECOND, 20 * MINUTE]);
            plan.rates.jump = if plan.skew > 0 { chance.pick(&[0, 5, 50]) } else { 0 };
        }
        plan
    }

    /// One login, rotated often, with rollbacks, freezes and deaths in the middle of nearly every rotation.
    fn bring_to_a_point(&mut self, chance: &mut Chance) {
        let what = chance.pick(&[What::Password, What::Password, What::TwoUsers(RetireWhen::AfterGrace)]);
        let policy = self.cases.first().map(|c| Arc::clone(&c.policy));
        self.cases = policy.into_iter().map(|policy| Case::new(1, what, policy, self.interval / 3)).collect();
        self.machines = 3;
        (self.rates.freeze, self.rates.crash) = (chance.pick(&[20, 40]), chance.pick(&[0, 20]));
        self.barred_every = Some(self.interval / 4);
        // Frozen daemons are soon found out, and those that go on soon meet what was done without them.
        self.pace = self.interval / 40;
        self.calm = 3 * HOUR + self.interval;
        (self.deeds, self.restores, self.disturbed_every) = (&Deed::HARMLESS, false, None);
    }

    /// Those who read a login. With `after-grace` all read again within the grace; with `when-unused` one may be a laggard.
    fn draw_consumers(&mut self, chance: &mut Chance) {
        for (number, case) in self.cases.iter().enumerate() {
            let What::TwoUsers(retire) = case.what else { continue };
            for consumer in 1..=2 {
                let lags = consumer == 2 && retire == RetireWhen::WhenUnused;
                let reads = if lags { self.interval * chance.between(1, 2) } else { case.grace * 2 / 3 };
                let name = format!("consumer-{consumer}-of-{}", case.name);
                self.consumers.push(Consumer::new(name, number, reads, reads / 4, chance.per_mille(500)));
            }
        }
    }
}

fn policy(spec: &str, interval: Millis, chance: &mut Chance) -> Policy {
    let schedule = Schedule::parse(spec, None).unwrap_or_else(|error| panic!("a schedule of the simulation's own: {error}"));
    Policy {
        schedule,
        jitter: Duration::from_millis(interval / chance.between(10, 100)),
        window: None,
        catch_up: chance.pick(&[CatchUp::RunOnce, CatchUp::RunOnce, CatchUp::Wait]),
        backoff: Backoff { first: Duration::from_mins(1), longest: Duration::from_millis(interval / 8) },
        deadline: None,
        concurrency: 1,
    }
}

/// A slot at every hour, and nothing left to chance.
pub(crate) fn hourly() -> Arc<Policy> {
    let schedule = Schedule::parse("0 * * * *", None).unwrap_or_else(|error| panic!("a schedule of the simulation's own: {error}"));
    let backoff = Backoff { first: Duration::ZERO, longest: Duration::ZERO };
    let (jitter, catch_up) = (Duration::ZERO, CatchUp::RunOnce);
    Arc::new(Policy { schedule, jitter, window: None, catch_up, backoff, deadline: None, concurrency: 1 })
}
