//! The parts of the Keyward binary: configuration, wiring, the daemon's tasks, the commands.
//!
//! It never decides about a rotation (`keyward-rotation` does) nor runs one by itself (`keyward-engine` does).

pub mod alerts;
pub mod assembly;
pub mod cli;
pub mod commands;
pub mod config;
pub mod consumers;
pub mod daemon;
pub mod metrics;
pub mod ports;
pub mod records;
pub mod references;
pub mod session;
pub mod view;
