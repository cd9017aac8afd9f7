//! tail.
