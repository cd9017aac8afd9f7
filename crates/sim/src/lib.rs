//! The real engine, planner and agenda in a made world: several daemons, people, consumers, servers that fail and are
//! restored from the past, and a network that loses and delays. Development only.
//!
//! Everything that happens comes from one seed, on one thread, in simulated time, so every run can be repeated to the letter
//! ([`run`]). A judge sees every change and says what must never be; that the judge sees enough is shown by mutants
//! ([`Mutant`]): the protocol with one rule broken, each caught.
//!
//! Beside the seeds, small worlds are explored to the end ([`explore()`]).
//!
//! It never opens a socket, never sleeps, and holds no copy of the engine's logic: only what stands around it is made.

mod cases;
mod chance;
mod consumer;
mod daemon;
mod explore;
mod judge;
mod mutant;
mod net;
mod person;
mod plan;
mod ports;
mod run;
mod story;
mod world;

pub use explore::{Explored, Small, explore};
pub use mutant::Mutant;
pub use run::{Report, run};
pub use story::Story;

/// Simulated milliseconds since a world began.
pub type Millis = u64;
