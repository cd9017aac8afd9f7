//! The login that Vault itself has in the database, and a Vault that may lose its password.

use super::World;
use async_trait::async_trait;
use keyward_engine::ports::{Canary, FenceCall, FencePhase, Root, RootDatabase};
use keyward_engine::{Class, Failure};
use keyward_secret::Secret;
use std::time::Duration;

#[derive(Default)]
pub struct State {
    /// What Vault logs in with.
    pub vault_has: String,
    /// Vault dies between the database's COMMIT and its own write.
    pub loses: bool,
    /// The database cannot be reached for a change, though for everything else.
    pub refuses_changes: bool,
    /// How often the canary is tried before Vault mends itself; 0: never.
    pub mends_after: u32,
    /// Canaries that were tried.
    pub canaries: u32,
    rotated: u32,
}

/// The user that Vault logs in as.
pub const USER: &str = "vault";

#[async_trait]
impl Root for World {
    async fn user(&self) -> Result<Option<String>, Failure> {
        self.call(|_| Ok(Some(USER.to_owned()))).await
    }
    async fn canary(&self) -> Result<Option<Canary>, Failure> {
        self.call(|_| Ok(Some(Canary { is_of_this_connection: true, longest: Duration::from_mins(5) }))).await
    }
    async fn try_canary(&self) -> Result<(), Failure> {
        self.call(|s| {
            s.root.canaries += 1;
            if s.root.canaries == s.root.mends_after {
                s.root.vault_has = s.roles[USER].password.clone();
            }
            let works = s.root.vault_has == s.roles[USER].password;
            if works { Ok(()) } else { Err(Failure::lasting(Class::WrongPassword, "the database refuses Vault")) }
        })
        .await
    }
    async fn hand_over(&self, password: &Secret) -> Result<(), Failure> {
        self.call(|s| {
            if s.roles[USER].password != password.expose() {
                return Err(Failure::lasting(Class::Invalid, "the database refuses it, so Vault keeps what it has"));
            }
            password.expose().clone_into(&mut s.root.vault_has);
            Ok(())
        })
        .await
    }
    async fn rotate(&self) -> Result<(), Failure> {
        self.call(|s| {
            s.root.rotated += 1;
            let made = format!("made by Vault {}", s.root.rotated);
            s.roles.get_mut(USER).unwrap().password.clone_from(&made);
            if std::mem::take(&mut s.root.loses) {
                return Err(Failure::unknown(Class::Unreachable, "Vault died"));
            }
            s.root.vault_has = made;
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl RootDatabase for World {
    async fn has_passed(&self, call: FenceCall<'_>) -> Result<bool, Failure> {
        let asked = (call.secret.to_owned(), call.number, call.phase as u8, call.rotation.to_owned());
        self.call(|s| Ok(s.roles[call.role].fence.as_ref() == Some(&asked))).await
    }
    async fn bar(&self, call: FenceCall<'_>) -> Result<bool, Failure> {
        let asked = (call.secret.to_owned(), call.number, call.phase as u8, call.rotation.to_owned());
        self.call(|s| {
            let role = s.roles.get_mut(call.role).unwrap();
            if role.fence.as_ref().is_none_or(|fence| fence.1 < call.number) {
                role.fence = Some((asked.0.clone(), asked.1, FencePhase::Undo as u8, asked.3.clone()));
            }
            Ok(role.fence.as_ref() != Some(&asked))
        })
        .await
    }
    async fn row_version(&self, role: &str) -> Result<String, Failure> {
        self.call(|s| Ok(format!("altered to {}", s.roles[role].password))).await
    }
}
