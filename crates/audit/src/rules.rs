//! The rules: which there are, how each is set, and the book that applies them. Never a mail, never a metric.

mod allow;
mod book;
mod settings;
mod window;

pub use allow::Allow;
pub use book::RuleBook;
pub use settings::{RuleError, RuleId, RuleOverride, RuleSettings};
