//! `[audit]`: the canary, the evidence, and what the file changes about the rules. It never says what a rule sees.

use super::duration;
use super::problem::{Problems, suggestion};
use super::section::Section;
use jiff::SignedDuration;
use keyward_audit::{Allow, Hours, RuleBook, RuleId, RuleOverride, Severity};
use keyward_rotation::schedule::Window;
use std::time::Duration;
use toml::Spanned;

/// How the audit logs are looked after, beside the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// How often each node is called so that the call is found again in its log; `None`: never.
    pub canary: Option<Duration>,
    /// Whether a hash chain is kept over what is read.
    pub evidence: Option<Evidence>,
}

/// The hash chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The transit engine's mount and key by which checkpoints are signed.
    pub key: Option<(String, String)>,
    /// How often.
    pub sign_every: Duration,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { canary: Some(Duration::from_mins(1)), evidence: None }
    }
}

/// Reads `[audit]`; the changes come in the file's order, each rule at most once.
pub(super) fn read(section: Option<Section<'_>>, problems: &Problems<'_>) -> (Vec<RuleOverride>, AuditConfig) {
    let mut config = AuditConfig::default();
    let Some(mut section) = section else { return (Vec::new(), config) };
    if let Some(canary) = section.parsed("canary", |text| if text == "off" { Ok(None) } else { duration::parse(text).map(Some) }) {
        config.canary = canary.into_inner();
    }
    config.evidence = section.section("evidence", "[audit.evidence]").map(read_evidence);
    let mut rules: Vec<RuleOverride> = Vec::new();
    for rule in section.sections("rule", "[[audit.rule]]") {
        let span = rule.span().clone();
        let Some(rule) = read_rule(rule) else { continue };
        if rules.iter().any(|r| r.rule == rule.rule) {
            problems.at(&span, format!("two [[audit.rule]] are named \"{}\"; write one", rule.rule));
        }
        if let Err(error) = RuleBook::with(std::slice::from_ref(&rule)) {
            problems.at(&span, error.to_string());
        }
        rules.push(rule);
    }
    section.finish(&[]);
    (rules, config)
}

fn read_evidence(mut s: Section<'_>) -> Evidence {
    let key = s.parsed("sign", |text| {
        let key = text.rsplit_once('/').filter(|(mount, key)| !mount.is_empty() && !key.is_empty());
        key.map(|(mount, key)| (mount.to_owned(), key.to_owned()))
            .ok_or_else(|| "must name a mount of the transit engine and a key in it, such as \"transit/keyward-audit\"".to_owned())
    });
    let sign_every = s.duration("sign_every").map_or(Duration::from_hours(1), Spanned::into_inner);
    s.finish(&[]);
    Evidence { key: key.map(Spanned::into_inner), sign_every }
}

fn read_rule(mut s: Section<'_>) -> Option<RuleOverride> {
    let problems = s.problems();
    let name = s.parsed("name", |name| match RuleId::from_name(name) {
        Some(id) => Ok(id.name().to_owned()),
        None => Err(format!("is no rule: \"{name}\"; {}", suggestion(name, &RuleId::ALL.map(RuleId::name), "rules"))),
    });
    let zone = s.text("zone");
    let zone = zone.as_ref().map(|zone| zone.get_ref().as_str());
    let mut hours = |key| s.parsed(key, |text| hours(text, zone)).map(Spanned::into_inner);
    let (quiet, hours) = (hours("quiet"), hours("hours"));
    let severities = Severity::ALL.map(|severity| (severity.label(), severity));
    let rule = RuleOverride {
        enabled: s.flag("enabled").map(Spanned::into_inner),
        severity: s.choice("severity", &severities).map(Spanned::into_inner),
        window: s.duration("window").map(signed),
        threshold: s.number("threshold", 1..=1_000_000).map(Spanned::into_inner),
        learning: s.duration("learning").map(signed),
        allow: s.inline("allow").map(read_allow),
        quiet,
        hours,
        paths: s.has("path").then(|| s.texts("path").into_iter().map(Spanned::into_inner).collect()),
        rule: String::new(),
    };
    s.finish(&[("name", "name the rule that is changed")]);
    let name = name?;
    if name.get_ref() != RuleId::AccessOffHours.name() && (rule.hours.is_some() || rule.paths.is_some()) {
        let only = RuleId::AccessOffHours.name();
        problems.at(
            &name.span(),
            format!("`hours` and `path` mean something to the rule \"{only}\" only; for hours in which nobody is told write `quiet`"),
        );
    }
    Some(RuleOverride { rule: name.into_inner(), ..rule })
}

fn hours(text: &str, zone: Option<&str>) -> Result<Hours, String> {
    let window = Window::parse(text, zone).map_err(|error| format!("cannot be used: {error}"))?;
    Ok(Hours::new(window.to_string(), move |at| window.contains(at)))
}

fn read_allow(mut s: Section<'_>) -> Allow {
    let mut list = |key| s.texts(key).into_iter().map(Spanned::into_inner).collect();
    let allow =
        Allow { display_names: list("display_name"), entity_ids: list("entity_id"), addresses: list("address"), paths: list("path") };
    s.finish(&[]);
    allow
}

/// Durations in a file are at most ten years, which both types hold.
fn signed(duration: Spanned<Duration>) -> SignedDuration {
    SignedDuration::try_from(duration.into_inner()).unwrap_or(SignedDuration::MAX)
}
