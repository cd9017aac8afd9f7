//! Whether a heavy test runs in its whole size. Never decides what is asserted: that is the same in either size.

/// The environment variable that asks for whole sizes when it is `1`; `cargo xtask test --full` sets it.
pub const FULL_ENV: &str = "KEYWARD_TEST_FULL";

/// Whether heavy tests are to run in their whole size. A test picks its size by it and asserts the same things in both:
/// `let lines = if full() { 5_000_000 } else { 100_000 };`
pub fn full() -> bool {
    std::env::var_os(FULL_ENV).is_some_and(|value| value == "1")
}
