//! How fast the follower alone is: `cargo run --release -p keyward-tail --example lines_per_second FILE`.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use keyward_tail::{Follower, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("name a file")?;
    let mut follower = Follower::open(Path::new(&file), None, Options::default())?;
    let began = Instant::now();
    let mut longest = 0;
    while !follower.poll(&mut |line| longest = longest.max(line.bytes.len())).at_end {}
    let seconds = began.elapsed().as_secs_f64();
    let (lines, bytes) = (follower.counters().lines, follower.counters().bytes);
    #[expect(clippy::cast_precision_loss, reason = "a speed needs no 53 bits")]
    let (per_second, megabytes) = (lines as f64 / seconds, bytes as f64 / seconds / 1e6);
    writeln!(
        std::io::stdout(),
        "{lines} lines, the longest of {longest} bytes, in {seconds:.3} s: {per_second:.0} lines/s, {megabytes:.0} MB/s"
    )?;
    Ok(())
}
