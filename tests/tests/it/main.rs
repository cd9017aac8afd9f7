//! The whole, as an operator meets it: the real binary against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that cannot go on must stop")]

mod audit;
mod audit_replay;
mod bad_input;
mod check;
mod environment;
mod exported;
mod leaks;
mod reload;
mod rotation;
mod unready;
mod world;
