//! What a rotation is and when it is due: the words, schedules, step tables and the one function that drives them.
//!
//! It never does I/O, never reads a clock, never rolls dice and never holds a secret's value: time comes in as an
//! argument, values stay with the engine. So every decision here can be tested as data.
//!
//! - [`schedule`] and [`plan`] say which secret is due, and why another is not.
//! - [`table`] lists the steps of each kind of secret; [`saga`] drives them, live and on recovery alike.
//! - [`record`] is what Vault keeps of one secret: the lock, the memory, and whose turn it is; [`class`] of a class: its pause.

pub mod class;
pub mod plan;
pub mod record;
pub mod saga;
pub mod schedule;
pub mod table;

use jiff::{Timestamp, Unit};

/// A time to the second: fractions say nothing to a person.
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    at.round(Unit::Second).unwrap_or(at)
}

/// A secret's count of rotations: it never goes down and never repeats, also after a rollback.
pub type Number = u64;
