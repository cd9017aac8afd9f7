//! Hours of the week. Never a calendar of its own: whoever reads the configuration knows zones and says how a moment is judged.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// Some hours, such as `Mon-Fri 07:00-19:00 Europe/Berlin`.
#[derive(Clone)]
pub struct Hours {
    says: String,
    contains: Arc<dyn Fn(Timestamp) -> bool + Send + Sync>,
}

impl Hours {
    /// Hours that are written `says`, zone included, and contain what `contains` says. What is written alike is taken for equal.
    pub fn new(says: impl Into<String>, contains: impl Fn(Timestamp) -> bool + Send + Sync + 'static) -> Self {
        Self { says: says.into(), contains: Arc::new(contains) }
    }

    /// Whether a moment falls into them.
    pub fn contain(&self, at: Timestamp) -> bool {
        (self.contains)(at)
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hours").field(&self.says).finish()
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl PartialEq for Hours {
    fn eq(&self, other: &Self) -> bool {
        self.says == other.says
    }
}

impl Eq for Hours {}
