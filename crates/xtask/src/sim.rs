//! `cargo xtask sim`: replays a simulated world, or searches many for one that breaks.

use crate::cargo;
use anyhow::Result;

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let mut sim = cargo::cargo()?;
    sim.args(["run", "--quiet", "--package", "keyward-sim", "--"]).args(arguments);
    cargo::run("keyward-sim", sim)
}
