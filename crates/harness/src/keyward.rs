//! Finds the daemon's binary for tests that run the whole; never builds it, because tests run under a build already.

use std::path::{Path, PathBuf};

use crate::process::is_executable;

/// The environment variable with the path of the `keyward` binary; `cargo xtask test` builds it and sets this.
pub const KEYWARD_ENV: &str = "KEYWARD_TEST_KEYWARD";

/// The `keyward` binary: the one that [`KEYWARD_ENV`] names, else the one beside the running test in the target folder.
///
/// # Panics
/// When it is not there.
pub fn keyward_binary() -> PathBuf {
    let named = std::env::var_os(KEYWARD_ENV).filter(|v| !v.is_empty()).map(PathBuf::from);
    let binary = named.unwrap_or_else(|| beside(&crate::or_panic(std::env::current_exe())));
    assert!(
        is_executable(&binary),
        "there is no keyward binary at {}: run `cargo build -p keyward` first, or the tests by `cargo xtask test`",
        binary.display()
    );
    binary
}

/// Tests and benches live in `target/<profile>/deps`, programs in `target/<profile>`.
fn beside(program: &Path) -> PathBuf {
    let dir = program.parent().unwrap_or(Path::new("."));
    let dir = if dir.ends_with("deps") || dir.ends_with("examples") { dir.parent().unwrap_or(dir) } else { dir };
    dir.join("keyward")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_looked_for_beside_tests_and_programs() {
        let expected = Path::new("/t/debug/keyward");
        for program in ["/t/debug/deps/whole-1f", "/t/debug/examples/tour", "/t/debug/xtask"] {
            assert_eq!(beside(Path::new(program)), expected, "{program}");
        }
    }
}
