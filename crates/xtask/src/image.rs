//! `cargo xtask image`: builds the Dockerfile where there is no container engine, and runs the binary that it yields.
//!
//! Never part of the ordinary test run: it makes two Debians and a release build, which takes some ten minutes.

use crate::cargo;
use anyhow::{Context, Result, bail, ensure};
use keyward_harness::{packages, run_folder};
use std::process::Command;

const SCRIPT: &str = include_str!("image.sh");

const NEEDED: &[packages::Package] = &[
    packages::Package { name: "buildah", purpose: "builds images", present: || packages::on_path(&["buildah"]) },
    packages::Package { name: "debootstrap", purpose: "makes a Debian to stand on", present: || packages::on_path(&["debootstrap"]) },
];

pub(crate) fn run() -> Result<()> {
    packages::ensure(NEEDED)?;
    ensure!(rustix::process::geteuid().is_root(), "debootstrap and a build in a chroot need root: run this as root");
    cargo::run("cargo fetch", {
        let mut fetch = cargo::cargo()?;
        fetch.args(["fetch", "--locked"]);
        fetch
    })?;
    let dir = run_folder()?.join("image");
    std::fs::create_dir(&dir).with_context(|| format!("make the folder {}", dir.display()))?;
    let mut build = Command::new("sh");
    build.args(["-c", SCRIPT, "image"]).arg(&dir).arg(cargo::root()?).arg(mirror()?).arg(rust_tag()?);
    cargo::run("the build of the image", build)
}

/// Where this machine's own apt has Debian from.
fn mirror() -> Result<String> {
    let output = Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]).output();
    let output = output.context("ask apt-get for its mirrors")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().next() {
        Some(first) => Ok(first.to_owned()),
        None => bail!("apt-get knows no mirror: run apt-get update"),
    }
}

/// The tag of the Rust image that the Dockerfile is built from.
fn rust_tag() -> Result<String> {
    let path = cargo::root()?.join("Dockerfile");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let tag = text.lines().find_map(|line| line.strip_prefix("FROM rust:")?.split_whitespace().next());
    Ok(tag.context("the Dockerfile has no line FROM rust:…")?.to_owned())
}
