//! The commands. Those that act talk to the running daemon over its socket; where none runs they work alone, by the same
//! record in Vault.

pub mod adopt;
mod alone;
pub mod approle;
pub mod audit;
pub mod backup;
mod borrowed;
pub mod by_hand;
pub mod check;
mod confirm;
mod daemon_client;
pub mod doctor;
pub mod emergency;
mod exact;
mod hand;
pub mod import;
pub mod init;
pub mod manual;
mod output;
pub mod paths;
pub mod pause;
pub mod plan;
pub mod policy;
pub mod reconcile;
pub mod rotate;
pub mod secret;
mod setup;
pub mod status;
mod stop;
pub mod tls;
pub mod token;
mod unclaimed;
pub mod unseal;
mod usage;

pub use alone::Alone;
pub use borrowed::give_back;
pub use daemon_client::{Daemon, person};
pub use hand::Request;
pub use output::{Output, json, line, lost, note, table};
pub use setup::{Alert, alert_test, health, init_postgres};
pub use stop::breakable;

use crate::cli::Exit;
use keyward_engine::Class;

/// What a failure's class means for whoever called: see the exit codes in `keyward help`.
pub fn exit_of(class: Class) -> Exit {
    match class {
        Class::Unreachable | Class::Timeout | Class::Sealed | Class::Tls => Exit::Unavailable,
        Class::Denied => Exit::Denied,
        Class::InUse => Exit::Temporary,
        _ => Exit::Failed,
    }
}
