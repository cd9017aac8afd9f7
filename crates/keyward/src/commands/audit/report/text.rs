//! The report as text.

use super::Page;
use crate::commands::output::table;

/// The page, for a terminal or a mail.
pub(super) fn page(page: &Page) -> String {
    let mut out = vec![format!("What happened in Vault from {} to {} (UTC)", page.from, page.to), String::new(), totals(page)];
    let mut part = |title: &str, empty: &str, header: &[&str], rows: Vec<Vec<String>>| {
        out.push(format!("\n{title}\n{}", "-".repeat(title.len())));
        out.push(if rows.is_empty() { empty.to_owned() } else { table(header, &rows) });
    };
    let rows = page.gaps.iter().map(|g| vec![g.at.clone(), g.node.clone(), g.text.clone()]).collect();
    part("Gaps in the logs", "None is known.", &["NOTICED", "NODE", "WHAT HAPPENED"], rows);
    let rows = page.nodes.iter().map(|n| {
        let numbers = [n.bad_lines.to_string(), n.chained.to_string(), n.seals.to_string()];
        [vec![n.name.clone(), n.reached.clone()], numbers.to_vec(), vec![n.last_seal.clone()]].concat()
    });
    let header = ["NODE", "READ UP TO", "LINES NOT UNDERSTOOD, EVER", "LINES UNDER EVIDENCE", "SIGNED", "LAST SIGNED"];
    part("Logs", "No log was followed.", &header, rows.collect());
    let rows = page.rules.iter().map(|r| vec![r.name.clone(), r.severity.clone(), r.count.to_string(), r.says.to_owned()]).collect();
    part("Findings by rule", "No rule spoke.", &["RULE", "SEVERITY", "TIMES", "WHAT IT MEANS"], rows);
    let mut rows: Vec<Vec<String>> = page.findings.iter().map(|f| vec![f.at.clone(), f.severity.clone(), f.text.clone()]).collect();
    if page.findings_unlisted > 0 {
        rows.push(vec![String::new(), String::new(), format!("… and {} more", page.findings_unlisted)]);
    }
    part("Findings", "None.", &["WHEN", "SEVERITY", "WHAT, WHO AND FROM WHERE"], rows);
    let secret = |s: &super::Secret| [&s.name, &s.class, &s.kind, &s.owner, &s.rotated].map(String::clone).to_vec();
    let header = ["SECRET", "CLASS", "KIND", "ANSWERED FOR BY", "LAST ROTATED AND PROVED"];
    part("Managed secrets", "None.", &header, page.secrets.iter().map(secret).collect());
    let rotation = |r: &super::Rotation| [&r.started, &r.secret, &r.kind, &r.outcome, &r.asked_by, &r.text].map(String::clone).to_vec();
    let header = ["BEGAN", "SECRET", "KIND", "OUTCOME", "ASKED FOR BY", "WHY"];
    part("Rotations", "None.", &header, page.rotations.iter().map(rotation).collect());
    let readers = page.secrets.iter().flat_map(|secret| secret.readers.iter().map(move |reader| (secret, reader)));
    let rows = readers.map(|(secret, r)| {
        vec![secret.name.clone(), r.name.clone(), r.address.clone(), r.last_read.clone(), r.reads.to_string(), r.knows.to_owned()]
    });
    let header = ["SECRET", "WHO", "FROM", "LAST READ", "READS", "KNOWS"];
    part("Who reads the managed secrets", "Nobody was seen.", &header, rows.collect());
    let mut rows: Vec<Vec<String>> =
        page.identities.iter().map(|i| vec![i.name.clone(), i.addresses.clone(), i.first.clone(), i.last.clone()]).collect();
    if page.identities_unlisted > 0 {
        rows.push(vec![format!("… and {} more", page.identities_unlisted)]);
    }
    part("Who called, and from where", "Nobody was seen.", &["IDENTITY", "ADDRESSES", "FIRST SEEN", "LAST SEEN"], rows);
    let call = |c: &super::Calls| vec![c.mount.clone(), c.operation.clone(), c.ok.to_string(), c.denied.to_string(), c.failed.to_string()];
    part("Calls", "None.", &["MOUNT", "OPERATION", "DONE", "REFUSED", "FAILED"], page.calls.iter().map(call).collect());
    out.push("\nWhat no audit log shows\n-----------------------".to_owned());
    out.extend(super::LIMITS.map(|limit| format!("- {limit}")));
    out.push(format!("\nMade by Keyward {} on {} from its local store.", page.version, page.made));
    out.join("\n")
}

fn totals(page: &Page) -> String {
    let t = &page.totals;
    format!(
        "{} calls, {} of them refused. Findings: {} critical, {} warnings. Rotations: {} proved, {} failed. Gaps in the logs: {}.",
        t.calls,
        t.denied,
        t.critical,
        t.warning,
        t.rotated,
        t.not_rotated,
        page.gaps.len()
    )
}
