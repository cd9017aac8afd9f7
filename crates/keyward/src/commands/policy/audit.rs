//! `policy audit`: looks through all policies and tokens for what is too wide or without end, and through the audit log for what nobody uses.

use super::hcl::{self, Rule};
use crate::cli::Exit;
use crate::commands::alone::Alone;
use crate::commands::audit::archive;
use crate::commands::check::report::{Finding, Report};
use crate::commands::output::Output;
use crate::commands::token::{self, MOST_TOKENS};
use crate::config::{Config, Environment};
use anyhow::{Context, Result};
use clap::Args;
use jiff::{Timestamp, ToSpan};
use keyward_vault::{Client, Kind};
use serde::Deserialize;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// `policy audit`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "\
Names every policy with a wildcard, with sudo, or over everything; every token that never ends, by its accessor; and every right that no call
in the audit log used. A right is used by a call that was allowed to a token with that policy. Logs that reach back less far than --days leave
it open whether a right is used. Needs what `keyward policy admin` prints. Ends with 1 if a token or policy is as good as root.

Examples:
  keyward policy audit
  keyward policy audit --audit-log /var/log/vault/audit.log.2.gz --audit-log /var/log/vault/audit.log")]
pub struct Audit {
    /// An audit log, plain or compressed; may be said more than once; without it, the configured ones
    #[arg(long, value_name = "FILE")]
    pub audit_log: Vec<PathBuf>,
    /// A right that was not used for so many days is named
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    pub days: u16,
}

/// Looks through everything, and prints what was found.
///
/// # Errors
/// No login, the policies may not be listed, or a log cannot be read.
pub async fn run(config: Config, environment: &Environment, wish: Audit, out: Output) -> Result<Exit> {
    let logs =
        if wish.audit_log.is_empty() { config.vault.nodes.iter().filter_map(|n| n.audit_log.clone()).collect() } else { wish.audit_log };
    for log in &logs {
        // Before anything else is said: what is named wrongly is no finding.
        std::fs::File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
    }
    let alone = Alone::log_in(config, environment).await?;
    let client = alone.live.vault.client();
    let mut report = Report::saying(out, "No policy and no token is as good as root", "Something is as good as root");
    let policies = policies(client).await?;
    report.add("Policies", policies.iter().flat_map(|(name, rules)| wide(name, rules.as_deref())).collect());
    report.add("Tokens", tokens(client).await?);
    let rules: BTreeMap<String, Vec<Rule>> = policies.into_iter().filter_map(|(name, rules)| Some((name, rules?))).collect();
    report.add("Rights that nobody used", unused(rules, logs, wish.days).await?);
    Ok(report.finish())
}

/// All policies but Vault's own two; `None` for one that cannot be read.
async fn policies(client: &Client) -> Result<BTreeMap<String, Option<Vec<Rule>>>> {
    let mut policies = BTreeMap::new();
    for name in client.names_below("sys/policies/acl").await.context("listing the policies")? {
        if matches!(name.as_str(), "root" | "default") {
            continue;
        }
        let text = client.policy(&name).await.with_context(|| format!("reading the policy {name}"))?.unwrap_or_default();
        policies.insert(name, hcl::parse(&text));
    }
    Ok(policies)
}

fn wide(name: &str, rules: Option<&[Rule]>) -> Vec<Finding> {
    let Some(rules) = rules else { return vec![Finding::unknown(format!("{name}: its text cannot be read"))] };
    let grants = |rule: &&Rule| !rule.capabilities.iter().all(|c| c == "deny");
    let mut findings = Vec::new();
    for rule in rules.iter().filter(grants) {
        let what = rule.capabilities.join(", ");
        // Whoever writes policies of any name writes his own.
        let over_all = rule.path == "auth/*" || ["sys/policies/acl/any-name", "sys/policy/any-name"].iter().any(|path| rule.covers(path));
        if over_all && rule.capabilities.iter().any(|c| matches!(c.as_str(), "update" | "create" | "sudo")) {
            findings.push(Finding::wrong(format!("{name}: {what} on {}: whoever has it can give itself everything", rule.path)));
        } else if rule.capabilities.iter().any(|c| c == "sudo") {
            findings.push(Finding::warning(format!("{name}: sudo on {}", rule.path)));
        } else if rule.has_wildcard() {
            findings.push(Finding::warning(format!("{name}: a wildcard, {what} on {}", rule.path)));
        }
        if rule.path.contains("/*/") {
            findings.push(Finding::warning(format!(
                "{name}: {} grants nothing: `*` stands for anything at the end only, `+` for one part",
                rule.path
            )));
        }
    }
    findings
}

/// Tokens that never end, by accessor.
async fn tokens(client: &Client) -> Result<Vec<Finding>> {
    let accessors = match client.token_accessors().await {
        Ok(accessors) => accessors,
        Err(error) if error.kind == Kind::Denied => {
            return Ok(vec![
                Finding::unknown("tokens: yours may not list them")
                    .cure("path \"auth/token/accessors\" { capabilities = [\"list\", \"sudo\"] }"),
            ]);
        }
        Err(error) => return Err(error).context("listing the tokens"),
    };
    let mut findings = Vec::new();
    for info in token::look_up(client, accessors.iter().take(MOST_TOKENS)).await? {
        let accessor = &info.accessor;
        let who = format!("{} ({accessor})", info.display_name);
        if info.policies.iter().any(|p| p == "root") {
            findings.push(Finding::wrong(format!("{who}: a root token")).cure(format!("keyward token revoke --accessor {accessor}")));
        } else if info.never_expires() {
            findings.push(Finding::warning(format!("{who}: never ends")).cure(format!("keyward token revoke --accessor {accessor}")));
        }
    }
    if accessors.len() > MOST_TOKENS {
        findings.push(Finding::unknown(format!("{} more tokens were not looked at", accessors.len() - MOST_TOKENS)));
    }
    if findings.is_empty() {
        findings.push(Finding::well(format!("each of {} tokens ends", accessors.len())));
    }
    Ok(findings)
}

/// The part of a line that says who used which right.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    auth: LineAuth<'a>,
    #[serde(borrow)]
    request: LineRequest<'a>,
}

#[derive(Default, Deserialize)]
struct LineAuth<'a> {
    #[serde(borrow, default)]
    policies: Vec<Cow<'a, str>>,
    policy_results: Option<LineResults>,
}

#[derive(Deserialize)]
struct LineResults {
    #[serde(default)]
    allowed: bool,
}

#[derive(Deserialize)]
struct LineRequest<'a> {
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    path: Cow<'a, str>,
}

/// Which rights were used, as the lines go by.
struct Use {
    rules: BTreeMap<String, Vec<Rule>>,
    /// Policy, number of the rule, capability.
    used: BTreeSet<(String, usize, &'static str)>,
    since: Timestamp,
    /// The oldest entry seen.
    oldest: Option<Timestamp>,
}

impl Use {
    fn take(&mut self, line: &[u8]) {
        // A line that cannot be read is no use of anything; `audit replay` counts them.
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return };
        let Ok(time) = line.time.parse::<Timestamp>() else { return };
        self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        if line.kind != "request" || time < self.since || !line.auth.policy_results.as_ref().is_some_and(|results| results.allowed) {
            return;
        }
        let Some(capability) = capability(&line.request.operation) else { return };
        // Vault notes a listed folder with a slash at its end, and allows it by a rule without one, too.
        let (path, folder) = (&line.request.path, line.request.path.trim_end_matches('/'));
        let is_it = |rule: &Rule| rule.covers(path) || capability == "list" && rule.covers(folder);
        // Of all rules that fit, the most exact one decides; whatever is wider was not used.
        let mut decisive: Vec<(&str, usize, &Rule)> = Vec::new();
        for policy in &line.auth.policies {
            for (number, rule) in self.rules.get(policy.as_ref()).into_iter().flatten().enumerate().filter(|(_, rule)| is_it(rule)) {
                match decisive.first().map_or(Ordering::Greater, |(_, _, best)| rule.exactness().cmp(&best.exactness())) {
                    Ordering::Less => continue,
                    Ordering::Equal => {}
                    Ordering::Greater => decisive.clear(),
                }
                decisive.push((policy.as_ref(), number, rule));
            }
        }
        self.used.extend(decisive.into_iter().map(|(policy, number, _)| (policy.to_owned(), number, capability)));
    }
}

/// `create` and `update` are one: which of them it is depends on what stood there.
fn capability(operation: &str) -> Option<&'static str> {
    match operation {
        "read" => Some("read"),
        "list" => Some("list"),
        "create" | "update" => Some("write"),
        "patch" => Some("patch"),
        "delete" => Some("delete"),
        _ => None,
    }
}

async fn unused(rules: BTreeMap<String, Vec<Rule>>, logs: Vec<PathBuf>, days: u16) -> Result<Vec<Finding>> {
    if logs.is_empty() {
        return Ok(vec![
            Finding::unknown("there is no audit log to look into").cure("name it: --audit-log FILE, or audit_log in [[vault.node]]"),
        ]);
    }
    let since = Timestamp::now().checked_sub((i64::from(days) * 24).hours()).context("--days reaches back too far")?;
    let mut seen = Use { rules, used: BTreeSet::new(), since, oldest: None };
    let seen = tokio::task::spawn_blocking(move || archive::read(&logs, |_, line, _| seen.take(line), || {}).map(|_| seen))
        .await
        .context("reading the logs ended abnormally")??;
    Ok(tell(&seen, days))
}

fn tell(seen: &Use, days: u16) -> Vec<Finding> {
    let reaches = seen.oldest.is_some_and(|oldest| oldest <= seen.since);
    let mut findings = Vec::new();
    if !reaches {
        let from =
            seen.oldest.map_or_else(|| "they are empty".to_owned(), |at| format!("they begin at {}", at.strftime("%Y-%m-%dT%H:%M:%SZ")));
        findings.push(Finding::unknown(format!("the logs do not reach back {days} days ({from}): what follows may still be used")));
    }
    for (policy, rules) in &seen.rules {
        for (number, rule) in rules.iter().enumerate() {
            let is_used = |c: &&String| capability(c).is_none_or(|c| seen.used.contains(&(policy.clone(), number, c)));
            let idle: Vec<&str> = rule.capabilities.iter().filter(|c| !is_used(c)).map(String::as_str).collect();
            if !idle.is_empty() {
                let says = format!("{policy}: {} on {}", idle.join(", "), rule.path);
                findings.push(if reaches { Finding::warning(says) } else { Finding::unknown(says) });
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::well(format!("every right was used within {days} days")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::report::Mark;

    fn seen(lines: &[&str]) -> Use {
        let rules = hcl::parse(
            "path \"kv/data/*\" { capabilities = [\"read\", \"create\", \"update\"] }\npath \"x\" { capabilities = [\"read\", \"deny\"] }\npath \"l\" { capabilities = [\"list\"] }",
        );
        let since = Timestamp::from_second(1_000_000).unwrap_or_default();
        let mut seen =
            Use { rules: BTreeMap::from([("app".to_owned(), rules.unwrap_or_default())]), used: BTreeSet::new(), since, oldest: None };
        for line in lines {
            seen.take(line.as_bytes());
        }
        seen
    }

    fn line(time: &str, operation: &str, path: &str, allowed: bool) -> String {
        format!(
            r#"{{"time":"{time}","type":"request","auth":{{"policies":["default","app"],"policy_results":{{"allowed":{allowed}}}}},"request":{{"operation":"{operation}","path":"{path}"}}}}"#
        )
    }

    fn says(lines: &[String]) -> Vec<(Mark, String)> {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        tell(&seen(&lines), 90).into_iter().map(|f| (f.mark, f.says)).collect()
    }

    #[test]
    fn a_right_is_used_by_a_call_that_was_allowed_within_the_days() {
        let (old, new) = ("1970-01-01T00:00:00Z", "1990-01-01T00:00:00.5Z");
        let lines = [line(old, "read", "x", true), line(new, "read", "kv/data/a", true), line(new, "update", "kv/data/a", false)];
        let expected = ["create, update on kv/data/*", "read on x", "list on l"].map(|says| (Mark::Warning, format!("app: {says}")));
        assert_eq!(says(&lines), expected);
        let all = [
            line(old, "list", "y", true),
            line(new, "list", "l/", true),
            line(new, "read", "kv/data/a", true),
            line(new, "create", "kv/data/b", true),
            line(new, "read", "x", true),
        ];
        assert_eq!(says(&all), [(Mark::Well, "every right was used within 90 days".to_owned())]);
    }

    #[test]
    fn what_a_more_exact_rule_allowed_is_no_use_of_a_wider_one() {
        let rules = |text: &str| hcl::parse(text).unwrap_or_default();
        let wide = rules("path \"kv/*\" { capabilities = [\"read\"] }");
        let exact = rules("path \"kv/data/+\" { capabilities = [\"read\"] }\npath \"kv/data/a\" { capabilities = [\"read\"] }");
        let mut seen = seen(&[]);
        seen.rules = BTreeMap::from([("default".to_owned(), wide), ("app".to_owned(), exact)]);
        seen.take(line("1990-01-01T00:00:00Z", "read", "kv/data/a", true).as_bytes());
        assert_eq!(seen.used, BTreeSet::from([("app".to_owned(), 1, "read")]));
    }

    #[test]
    fn logs_that_begin_too_late_leave_it_open() {
        let marks: Vec<Mark> = says(&[line("1990-01-01T00:00:00Z", "read", "x", true)]).into_iter().map(|(mark, _)| mark).collect();
        assert_eq!(marks, [Mark::Unknown; 3]);
    }

    #[test]
    fn what_is_as_good_as_root_is_wrong_and_what_is_wide_is_a_warning() {
        let marks = |text: &str| wide("p", hcl::parse(text).as_deref()).into_iter().map(|f| f.mark).collect::<Vec<_>>();
        assert_eq!(marks("path \"*\" { capabilities = [\"update\"] }"), [Mark::Wrong]);
        assert_eq!(marks("path \"sys/policies/acl/*\" { capabilities = [\"create\", \"read\"] }"), [Mark::Wrong]);
        assert_eq!(marks("path \"sys/policies/acl/*\" { capabilities = [\"read\"] }"), [Mark::Warning]);
        assert_eq!(marks("path \"*\" { capabilities = [\"deny\"] }"), []);
        assert_eq!(marks("path \"sys/audit\" { capabilities = [\"read\", \"sudo\"] }"), [Mark::Warning]);
        assert_eq!(
            marks("path \"kv/data/*\" { capabilities = [\"read\"] }\npath \"kv/data/a\" { capabilities = [\"read\"] }"),
            [Mark::Warning]
        );
        assert_eq!(marks("path \"transit/keys/*/rotate\" { capabilities = [\"update\"] }"), [Mark::Warning]);
        assert_eq!(wide("p", None).len(), 1);
    }
}
