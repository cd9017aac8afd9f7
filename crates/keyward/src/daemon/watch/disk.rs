//! Measures how much of the disk with a file is free. It never looks at the file itself, and blocks while the disk does not answer.

use std::io;
use std::path::Path;

/// The free share (0 to 1) of the disk that holds `log`, or would.
///
/// # Errors
/// The system's, when neither the file nor its folder is there.
pub fn free(log: &Path) -> io::Result<f64> {
    // Right after a rotation the file may not be there yet; its folder lies on the same disk.
    let found = rustix::fs::statvfs(log).or_else(|error| log.parent().map_or(Err(error), rustix::fs::statvfs));
    let disk = found?;
    Ok(share(disk.f_blocks, disk.f_bfree, disk.f_bavail))
}

/// As `df` counts: what is reserved for root counts as neither free nor used.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
fn share(blocks: u64, free: u64, available: u64) -> f64 {
    let used = blocks.saturating_sub(free);
    let usable = used.saturating_add(available);
    if usable == 0 { 1.0 } else { available as f64 / usable as f64 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_df() {
        for (blocks, free, available, expected) in [(100, 50, 50, 0.5), (100, 10, 0, 0.0), (100, 15, 10, 10.0 / 95.0), (0, 0, 0, 1.0)] {
            assert!((share(blocks, free, available) - expected).abs() < 1e-9, "{blocks} {free} {available}");
        }
    }

    #[test]
    fn a_real_disk_is_measured_by_a_file_that_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        assert!((0.0..=1.0).contains(&free(&folder.path().join("audit.log")).unwrap()));
        assert!(free(&folder.path().join("no/folder/audit.log")).is_err());
    }
}
