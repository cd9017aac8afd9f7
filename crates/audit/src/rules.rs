//! The rules: which there are, how each is set, and the book that applies them. Never a mail, never a metric.

mod allow;
mod book;
mod distinct;
mod hours;
mod page;
mod settings;
mod sources;
mod window;

pub use allow::Allow;
pub use book::RuleBook;
pub use hours::Hours;
pub use settings::{RuleError, RuleId, RuleOverride, RuleSettings};
pub use sources::{MAX_IDENTITIES, MAX_PAIRS, Sighting};
