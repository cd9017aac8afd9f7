//! Runs rotations: gathers, asks `keyward-rotation` what to do, acts through its ports, records.
//!
//! It never knows a concrete client: Vault, PostgreSQL, time and chance are traits in [`ports`], so that the very same
//! engine runs in the daemon, in the command line and under a simulation. It keeps no state of its own that a restart
//! could lose: everything that decides stands in the secret's record in Vault ([`stored`]).

pub mod agenda;
mod alive;
mod before;
mod closing;
mod drive;
mod failure;
mod heartbeat;
mod issue;
mod job;
mod kind;
pub mod kinds;
mod known;
mod observer;
mod pause;
pub mod ports;
mod prove;
mod published;
mod reconcile;
mod recording;
mod settings;
mod shape;
mod stage;
pub mod stored;
mod takeover;
mod tend;

pub use alive::Alive;
pub use drive::{Ask, Claims, Engine, Outcome, Spec};
pub use failure::{Class, Failure};
pub use kind::{Draft, DraftInput, Kind, StillUsed, Tended, Trouble, Work};
pub use observer::{Observer, Told, What};
pub use prove::{Noticed, Proof};
pub use reconcile::{Cure, Truth, Verdict};
pub use settings::Settings;
pub use shape::Shape;
pub use tend::TendReport;
