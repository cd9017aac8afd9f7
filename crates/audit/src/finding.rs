//! What a rule saw, for a person to read. Texts of the log are cut short and made printable; they were chosen by callers.

use jiff::Timestamp;

use crate::fact::Fact;
use crate::rules::RuleId;

/// Longest text taken over from the log, in characters.
const TEXT: usize = 256;

/// How soon a person has to look. Ordered: `Info < Warning < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be looked at in working hours.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// All of them, mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The word for labels and configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity of a word.
    pub fn from_label(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.label() == word)
    }
}

/// One thing that a rule saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleId,
    /// How soon a person has to look.
    pub severity: Severity,
    /// When the event happened that made the rule speak, by the server's clock.
    pub time: Timestamp,
    /// Who: `approle/rotator`, `token-alice`, `nobody`.
    pub who: String,
    /// The caller's entity id; may be empty.
    pub entity_id: String,
    /// From which address; may be empty.
    pub from: String,
    /// What: operation and path.
    pub what: String,
    /// The managed secret concerned, if any.
    pub secret: Option<String>,
    /// How many events this finding stands for: those in the window, or those since the last finding of the same key.
    pub count: u64,
    /// The same for the same trouble: `denied-burst/address/10.0.0.7`.
    pub key: String,
    /// It fell into the rule's quiet hours: it counts and is kept, and nobody is told.
    pub is_quiet: bool,
}

impl Finding {
    pub(crate) fn of(rule: RuleId, severity: Severity, fact: &Fact<'_>, subject: &str, secret: Option<&str>, count: u64) -> Self {
        Self {
            rule,
            severity,
            time: fact.time,
            who: printable(&fact.who()),
            entity_id: printable(fact.identity.entity_id),
            from: printable(fact.address),
            what: printable(&format!("{} {}{}", fact.operation.label(), fact.namespace, fact.path)),
            secret: secret.map(str::to_owned),
            count,
            key: printable(&format!("{}/{subject}", rule.name())),
            is_quiet: false,
        }
    }
}

/// Cut to [`TEXT`] characters, control characters and those that turn the reading direction replaced.
pub(crate) fn printable(text: &str) -> String {
    let mut out: String = text.chars().take(TEXT).map(|c| if is_misleading(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(TEXT).is_some() {
        out.push('…');
    }
    out
}

fn is_misleading(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
