//! The daemon: its tasks, what they share, and how it starts and stops.

pub mod board;
pub mod observer;
pub mod planner;
pub mod rotations;
pub mod shared;

use std::time::Duration;

/// How long a stop waits for rotations that are under way.
pub const DRAIN: Duration = Duration::from_secs(20);
