//! A notice as the text of a mail: for somebody who is woken at three and reads it on a telephone.
//!
//! It never contains more than the alerts say, keeps every text of others on its own side of a line break (a subject is one line), and
//! is the same in every attempt.

use crate::book::{Notice, Told, Why};
use jiff::Timestamp;
use std::fmt::Write as _;

/// How many alerts of one notice are told in full.
const IN_FULL: usize = 20;

/// How many further ones are told by a line each.
const LISTED: usize = 200;

/// The longest subject, in characters.
const MAX_SUBJECT: usize = 150;

/// A mail's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// One line, such as `[keyward] CRITICAL backend-database: rotation failed`.
    pub subject: String,
    /// Plain text, lines ending with `\n`.
    pub body: String,
}

/// Renders a notice. Times are RFC 3339 in UTC, to the second.
pub fn render(notice: &Notice) -> Text {
    Text { subject: subject(notice), body: body(notice) }
}

fn subject(notice: &Notice) -> String {
    let word = if notice.why == Why::Resolved { "RESOLVED" } else { notice.severity().shout() };
    let mut line = format!("[keyward] {word} ");
    match notice.alerts.as_slice() {
        [] => line.push_str("nothing to tell"),
        [one] => line.push_str(&one.alert.headline()),
        [first, rest @ ..] => {
            let _ = write!(line, "{} alerts: {} and {} more", notice.alerts.len(), first.alert.headline(), rest.len());
        }
    }
    line.push_str(match (notice.why, notice.alerts.iter().all(|told| told.over.is_some())) {
        (Why::First, true) => " (already over)",
        (Why::First | Why::Resolved, _) => "",
        (Why::Repeat(_), _) => " (still)",
        (Why::Worse, _) => " (worse than told)",
    });
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.chars().count() <= MAX_SUBJECT { clean } else { clean.chars().take(MAX_SUBJECT - 1).chain(['…']).collect() }
}

fn body(notice: &Notice) -> String {
    let mut text = String::new();
    if notice.alerts.len() > 1 {
        let _ = writeln!(text, "{} alerts, the worst first:", notice.alerts.len());
        for told in notice.alerts.iter().take(IN_FULL + LISTED) {
            let _ = writeln!(text, "  {}", line_of(told));
        }
        let unlisted = notice.alerts.len().saturating_sub(IN_FULL + LISTED);
        if unlisted > 0 {
            let _ = writeln!(text, "  and {unlisted} more, which `keyward status` lists");
        }
        text.push_str("\n----------------------------------------\n\n");
    }
    for (place, told) in notice.alerts.iter().take(IN_FULL).enumerate() {
        if place > 0 {
            text.push_str("\n----------------------------------------\n\n");
        }
        entry(&mut text, told);
    }
    if notice.alerts.len() > IN_FULL {
        let _ = writeln!(text, "\nOnly the first {IN_FULL} are told in full; `keyward status` shows every one.");
    }
    let _ = writeln!(text, "\n-- \n{}\nNotice {} of {}.", ending(notice), notice.id, time(notice.at));
    text
}

fn line_of(told: &Told) -> String {
    let word = if told.over.is_some() { "OVER" } else { told.alert.severity.shout() };
    one_line(&format!("{word} {}", told.alert.headline()))
}

fn entry(text: &mut String, told: &Told) {
    let _ = writeln!(text, "{}", line_of(told));
    let mut facts = format!("Since {}", time(told.since));
    if let Some(before) = told.before {
        let _ = write!(facts, "; was {}, is {} now", before.label(), told.alert.severity.label());
    }
    if told.seen > 1 {
        let _ = write!(facts, "; seen {} times", told.seen);
    }
    if told.returns > 0 {
        let _ = write!(facts, "; came back {} times lately", told.returns);
    }
    if told.times > 0 {
        let _ = write!(facts, "; told {} before", if told.times == 1 { "once".to_owned() } else { format!("{} times", told.times) });
    }
    let _ = writeln!(text, "{facts}.");
    if let Some(owner) = &told.alert.owner {
        let _ = writeln!(text, "Owner: {}.", one_line(owner));
    }
    if let Some(over) = &told.over {
        section(text, &format!("Over since {}", time(over.at)), &over.what);
        section(text, "What had happened", &told.alert.account.happened);
        return;
    }
    let account = &told.alert.account;
    section(text, "What happened", &account.happened);
    section(text, "What is true now", &account.now);
    section(text, "What happens next", &account.next);
    section(text, "What you can do", &account.act);
}

fn section(text: &mut String, title: &str, content: &str) {
    if content.trim().is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}");
    for line in content.lines() {
        let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(text, "{}", format!("  {clean}").trim_end());
    }
}

fn ending(notice: &Notice) -> String {
    if notice.why == Why::Resolved || notice.alerts.iter().all(|told| told.over.is_some()) {
        return "Nothing more will be sent about this unless it comes back.".to_owned();
    }
    let again = notice.alerts.iter().filter(|told| told.over.is_none()).map(|told| told.again).min();
    let again = again.map_or_else(String::new, |at| format!(" at about {}", time(at)));
    if notice.alerts.iter().all(|told| told.alert.passes_after.is_some()) {
        return format!("If it happens again you are told{again}.");
    }
    format!("While it lasts you are told again{again}, then less often; and once when it is over.")
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
