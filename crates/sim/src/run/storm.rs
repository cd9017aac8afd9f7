//! What happens to the servers of a world and what people do, until the calm.

use super::{BARS, DISTURBANCE, PERSON, Run, TICK, index};
use crate::daemon::{Asked, Daemon};
use crate::judge::Judge;
use crate::plan::{HOUR, MINUTE, SECOND};
use crate::world::{sealed, unreachable};

impl Run {
    /// From here on nothing goes wrong any more.
    pub(super) fn calm(&mut self) {
        self.is_calm = true;
        {
            let mut core = self.net.lock();
            core.rates = crate::net::Rates::default();
            let world = &mut core.world;
            (world.vault_out, world.database_out, world.database.bars_candidates) = (None, None, false);
            world.story.say(world.now, "world", || "calm begins".into());
        }
        let processes = self.net.lock().procs.len();
        for proc in 0..processes {
            self.thaw(proc);
        }
    }

    /// Every ten minutes: the judge looks at everything, and whoever is paged mends what only a person can.
    pub(super) fn tick(&mut self) {
        let calls = {
            let mut core = self.net.lock();
            core.world.judged(Judge::look_at_all);
            core.world.paged()
        };
        for (case, asked) in calls {
            self.ask(case, asked);
        }
        self.outside(MINUTE * 10 + self.plan.interval / 50, TICK);
    }

    pub(super) fn person(&mut self) {
        if self.is_calm {
            return;
        }
        let deed = self.chance.pick(self.plan.deeds);
        let case = index(u32::try_from(self.chance.next() % self.plan.cases.len() as u64).unwrap_or(0));
        let asked = self.net.lock().world.does(deed, case);
        if let Some(asked) = asked {
            self.ask(case, asked);
        }
        let wait = self.chance.between(MINUTE, 2 * self.plan.person_every);
        self.outside(wait, PERSON);
    }

    /// Asks a daemon that answers, or runs the command alone.
    fn ask(&mut self, case: usize, asked: Asked) {
        let works = |d: &&Daemon| self.net.lock().procs.get(d.port.proc).is_some_and(|p| p.alive && !p.frozen);
        let daemon = self.machines.iter().filter_map(|m| m.daemon.as_ref()).find(works).cloned();
        let alone = self.chance.per_mille(300);
        let daemon = if let Some(daemon) = daemon.filter(|_| !alone) {
            daemon
        } else {
            self.commands += 1;
            self.process(format!("command-{}", self.commands), format!("command-{}", self.commands), 0)
        };
        let proc = daemon.port.proc;
        self.net.lock().spawn(proc, Box::pin(daemon.asked(case, asked)));
    }

    /// Something happens to a server.
    pub(super) fn disturb(&mut self) {
        if self.is_calm {
            return;
        }
        let time = self.chance.pick(&[5 * SECOND, MINUTE, 10 * MINUTE, HOUR]);
        let what = self.chance.next() % if self.plan.restores { 7 } else { 3 };
        let mut core = self.net.lock();
        let world = &mut core.world;
        let until = world.now + time;
        let said = match what {
            0 => {
                world.vault_out = Some((until, sealed()));
                "Vault is sealed"
            }
            1 => {
                world.vault_out = Some((until, unreachable("Vault")));
                "Vault is out"
            }
            2 => {
                world.database_out = Some((until, unreachable("the database")));
                "the database is out"
            }
            3 => {
                self.snapshots.push(world.snapshot());
                "a snapshot of Vault is taken"
            }
            4 => {
                self.backups.push(world.database.clone());
                "a backup of the database is taken"
            }
            5 => {
                if let Some(snapshot) = self.snapshots.last() {
                    world.restore(snapshot);
                }
                "Vault is restored from the last snapshot"
            }
            _ => {
                if let Some(backup) = self.backups.last() {
                    world.restore_database(backup);
                }
                "the database is restored from the last backup"
            }
        };
        world.story.say(world.now, "world", || format!("{said} ({} s)", time / SECOND));
        drop(core);
        let wait = self.chance.between(MINUTE, 2 * self.plan.disturbed_every.unwrap_or(HOUR));
        self.outside(wait, DISTURBANCE);
    }

    /// Somebody switches a policy on, or off again, by which no new password is let in.
    pub(super) fn bar(&mut self) {
        if self.is_calm {
            return;
        }
        {
            let mut core = self.net.lock();
            let world = &mut core.world;
            world.database.bars_candidates = !world.database.bars_candidates;
            let barred = world.database.bars_candidates;
            world.story.say(world.now, "world", || format!("the database {} new passwords", if barred { "bars" } else { "lets in" }));
        }
        let wait = self.chance.between(MINUTE, 2 * self.plan.barred_every.unwrap_or(HOUR));
        self.outside(wait, BARS);
    }
}
