//! What the local store holds of a period, brought together. Reads only.

use super::{Calls, Day, Found, Gap, Identity, Node, Page, Reader, Rotation, Rule, Secret, Totals};
use crate::config::Config;
use crate::ports::UsageReaders;
use crate::view::whole_seconds;
use anyhow::Result;
use jiff::Timestamp;
use keyward_audit::{ChainSnapshot, Pipeline, RuleId};
use keyward_store::{LastSuccess, Sqlite, Store};
use std::collections::{BTreeMap, BTreeSet};

/// More findings, and more identities, are counted and not listed.
const LISTED: usize = 1_000;
/// So many addresses of an identity are named.
const ADDRESSES: usize = 6;

/// The page of a period.
///
/// # Errors
/// The local store cannot be read.
pub(super) async fn page(config: &Config, (from, to): (Timestamp, Timestamp), made: Timestamp) -> Result<Page> {
    let store = Sqlite::open_read_only(&config.store).await?;
    let mut page = Page {
        from: whole_seconds(from),
        to: whole_seconds(to),
        made: whole_seconds(made),
        version: env!("CARGO_PKG_VERSION"),
        ..Page::default()
    };
    let gaps = store.gaps_between(from, to).await?;
    page.gaps = gaps.into_iter().map(|gap| Gap { at: whole_seconds(gap.at), node: gap.node, text: gap.text }).collect();
    findings(&mut page, store.findings_between(from, to).await?);
    rotations(&mut page, store.rotations_between(from, to).await?);
    calls(&mut page, &store.calls_between(from, to).await?);
    nodes(&mut page, &store, (from, to)).await?;
    readers(&mut page, config, &store, (from, to)).await?;
    Ok(page)
}

fn findings(page: &mut Page, findings: Vec<keyward_store::Finding>) {
    let mut rules: BTreeMap<(String, String), usize> = BTreeMap::new();
    for finding in &findings {
        *rules.entry((finding.rule.clone(), finding.severity.clone())).or_default() += 1;
        page.totals.critical += usize::from(finding.severity == "critical");
        page.totals.warning += usize::from(finding.severity == "warning");
    }
    let says =
        |name: &str| RuleId::from_name(name).and_then(|rule| rule.page().lines().next()?.split_once(": ")).map_or("", |(_, says)| says);
    let rule = |((name, severity), count): ((String, String), usize)| Rule { says: says(&name), name, severity, count };
    page.rules = rules.into_iter().map(rule).collect();
    let order = ["critical", "warning", "info"];
    page.rules.sort_by_key(|rule| (order.iter().position(|severity| *severity == rule.severity), std::cmp::Reverse(rule.count)));
    page.findings_unlisted = findings.len().saturating_sub(LISTED);
    let found = |f: keyward_store::Finding| Found { at: whole_seconds(f.at), rule: f.rule, severity: f.severity, text: f.text };
    page.findings = findings.into_iter().take(LISTED).map(found).collect();
}

fn rotations(page: &mut Page, rotations: Vec<keyward_store::Rotation>) {
    for rotation in rotations {
        let Totals { rotated, not_rotated, .. } = &mut page.totals;
        let is_over = rotation.finished.is_some();
        *(if rotation.success { rotated } else { not_rotated }) += usize::from(is_over);
        page.rotations.push(Rotation {
            started: whole_seconds(rotation.started),
            secret: rotation.secret,
            class: rotation.class,
            kind: rotation.kind,
            outcome: if is_over { rotation.outcome.replace('_', " ") } else { "under way".to_owned() },
            success: rotation.success,
            text: rotation.text.unwrap_or_default(),
            asked_by: rotation.asked_by.unwrap_or_else(|| "the schedule".to_owned()),
        });
    }
}

fn calls(page: &mut Page, calls: &[keyward_store::Calls]) {
    let mut rows: BTreeMap<(&str, &str), Calls> = BTreeMap::new();
    let mut days: BTreeMap<Timestamp, (u64, u64)> = BTreeMap::new();
    for call in calls {
        let row = rows.entry((&call.mount, &call.operation)).or_default();
        let day = days.entry(call.day).or_default();
        page.totals.calls += call.count;
        day.0 += call.count;
        match call.result.as_str() {
            "ok" => row.ok += call.count,
            "denied" => {
                row.denied += call.count;
                day.1 += call.count;
                page.totals.denied += call.count;
            }
            _ => row.failed += call.count,
        }
    }
    page.calls = rows
        .into_iter()
        .map(|((mount, operation), row)| Calls { mount: mount.to_owned(), operation: operation.to_owned(), ..row })
        .collect();
    let most = days.values().map(|(calls, _)| *calls).max().unwrap_or(0).max(1);
    let day = |(day, (calls, denied)): (Timestamp, (u64, u64))| Day {
        date: day.to_string().chars().take(10).collect(),
        calls,
        denied,
        height: (100 * calls / most).max(1),
        denied_height: 100 * denied / calls.max(1),
    };
    page.days = days.into_iter().map(day).collect();
}

async fn nodes(page: &mut Page, store: &Sqlite, (from, to): (Timestamp, Timestamp)) -> Result<()> {
    let mut identities: BTreeMap<String, (BTreeSet<String>, Timestamp, Timestamp)> = BTreeMap::new();
    for name in store.audit_nodes().await? {
        let state = store.load_audit(&name).await?;
        let chain = state.as_ref().and_then(|state| serde_json::from_str::<ChainSnapshot>(state.chain_json.as_deref()?).ok());
        let bad_lines = state.as_ref().and_then(|state| {
            let figures = serde_json::from_str(&state.metrics_json).ok()?;
            Some(Pipeline::restore(figures).tally.bad().iter().sum())
        });
        let mut seals = store.seals(&name).await?;
        seals.retain(|seal| seal.at >= from && seal.at < to);
        let last_seal = seals.first().map_or_else(|| "never".to_owned(), |seal| whole_seconds(seal.at));
        for sighting in store.sightings(&name).await?.into_iter().filter(|s| s.last >= from && s.first < to) {
            let seen = identities.entry(sighting.identity).or_insert_with(|| (BTreeSet::new(), sighting.first, sighting.last));
            seen.0.insert(sighting.address);
            seen.1 = seen.1.min(sighting.first);
            seen.2 = seen.2.max(sighting.last);
        }
        page.nodes.push(Node {
            reached: state.map_or_else(|| "never".to_owned(), |state| whole_seconds(state.saved)),
            bad_lines: bad_lines.unwrap_or(0),
            chained: chain.map_or(0, |chain| chain.lines()),
            seals: seals.len(),
            last_seal,
            name,
        });
    }
    page.identities_unlisted = identities.len().saturating_sub(LISTED);
    let identity = |(name, (addresses, first, last)): (String, (BTreeSet<String>, Timestamp, Timestamp))| Identity {
        name,
        addresses: named(&addresses),
        first: whole_seconds(first),
        last: whole_seconds(last),
    };
    page.identities = identities.into_iter().take(LISTED).map(identity).collect();
    Ok(())
}

fn named(addresses: &BTreeSet<String>) -> String {
    let mut named: Vec<String> = addresses.iter().take(ADDRESSES).cloned().collect();
    if addresses.len() > ADDRESSES {
        named.push(format!("and {} more", addresses.len() - ADDRESSES));
    }
    named.join(", ")
}

async fn readers(page: &mut Page, config: &Config, store: &Sqlite, (from, to): (Timestamp, Timestamp)) -> Result<()> {
    let mut nodes = BTreeMap::new();
    for node in store.audit_nodes().await? {
        let state = store.load_audit(&node).await?;
        nodes.insert(node, state.and_then(|state| serde_json::from_str(state.usage_json.as_deref()?).ok()));
    }
    let usage = UsageReaders::at_rest(nodes);
    let successes: BTreeMap<String, LastSuccess> = store.last_successes().await?.into_iter().map(|s| (s.secret.clone(), s)).collect();
    for secret in &config.secrets {
        let rotated = successes.get(&secret.name).map(|success| success.finished);
        let usage = usage.usage(&secret.name, rotated);
        let within = usage.readers.into_iter().filter(|reader| reader.last_read >= from && reader.first_read < to);
        let reader = |reader: crate::ports::ReaderView| Reader {
            knows: match reader.knows.as_str() {
                "old" => "the value before the last rotation",
                "new" => "the present value",
                _ => "the only value there was",
            },
            name: reader.name,
            address: reader.address,
            last_read: whole_seconds(reader.last_read),
            reads: reader.reads,
        };
        page.secrets.push(Secret {
            name: secret.name.clone(),
            class: secret.class.clone(),
            kind: secret.kind.name().to_owned(),
            owner: secret.owner.clone().unwrap_or_else(|| "nobody".to_owned()),
            rotated: rotated.map_or_else(|| "never by Keyward".to_owned(), whole_seconds),
            readers: within.map(reader).collect(),
        });
    }
    Ok(())
}
