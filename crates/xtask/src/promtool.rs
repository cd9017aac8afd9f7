//! Has Prometheus's own tool check the alert rules and run their unit tests; never judges a rule itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// What a YAML file under `alerts/` is, told by its first key.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Rules,
    Tests,
}

/// Checks all rules and runs all their tests; gives the number of files of each.
pub(crate) fn run() -> Result<(usize, usize)> {
    let (mut rules, mut tests) = (Vec::new(), Vec::new());
    for path in yaml_files(&cargo::root()?.join("alerts"))? {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        match kind(&text) {
            Some(Kind::Rules) => rules.push(path),
            Some(Kind::Tests) => tests.push(path),
            None => bail!("{} has neither rules (`groups:`) nor tests (`rule_files:`)", path.display()),
        }
    }
    promtool("check", &rules)?;
    promtool("test", &tests)?;
    Ok((rules.len(), tests.len()))
}

fn promtool(verb: &str, files: &[PathBuf]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("promtool");
    command.args([verb, "rules"]).args(files);
    cargo::run(&format!("promtool {verb} rules"), command)
}

fn kind(yaml: &str) -> Option<Kind> {
    yaml.lines().find_map(|line| match line.split(':').next() {
        Some("groups") => Some(Kind::Rules),
        Some("rule_files") => Some(Kind::Tests),
        _ => None,
    })
}

fn yaml_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !dir.is_dir() {
        return Ok(files);
    }
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry.with_context(|| format!("list {}", dir.display()))?.path();
        if path.is_dir() {
            files.extend(yaml_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_their_tests_are_told_apart() {
        assert_eq!(kind("# Why\n\ngroups:\n  - name: keyward\n"), Some(Kind::Rules));
        assert_eq!(kind("rule_files: [keyward.yml]\ntests:\n"), Some(Kind::Tests));
        assert_eq!(kind("receivers:\n  groups: no\n"), None);
    }
}
