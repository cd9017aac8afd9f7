//! The whole, as an operator meets it: the real binary against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that cannot go on must stop")]

mod adopt;
mod audit;
mod audit_counted;
mod audit_evidence;
mod audit_follow;
mod audit_replay;
mod audit_report;
mod bad_input;
mod check;
mod document;
mod emergency;
mod environment;
mod exported;
mod hostile;
mod import;
mod init;
mod init_world;
mod interleavings;
mod issued;
mod jwt;
mod leaks;
mod lease;
mod matrix;
mod pause;
mod plan;
mod provider;
mod reconcile;
mod redis;
mod reload;
mod root;
mod rotation;
mod secret;
mod unready;
mod world;
mod world_of_vault;
