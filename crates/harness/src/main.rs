//! Starts the shared servers and keeps them until standard input closes or the program is ended.
//!
//! Prints the path of their description, for `KEYWARD_TEST_SERVERS`: repeated test runs then need not start their own.

use std::io::{Read, Write};

use anyhow::Result;
use keyward_harness::{Servers, end_run};

fn main() -> Result<()> {
    let path = Servers::start_all()?;
    writeln!(std::io::stdout(), "{}", path.display())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    end_run()
}
