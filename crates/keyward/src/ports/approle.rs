//! An AppRole as the issuer of its secret ids.

use super::{VaultPort, failure_of};
use async_trait::async_trait;
use keyward_engine::kinds::ID;
use keyward_engine::ports::{Issued, Issuer};
use keyward_engine::{Class, Failure};
use keyward_secret::{Fields, Values};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The word under which a secret id carries its rotation's label.
const LABEL: &str = "keyward";
/// A role with more secret ids than this is looked through by nobody.
const MOST: usize = 10_000;

/// One role.
pub struct ApproleIssuer {
    /// Vault.
    pub vault: Arc<VaultPort>,
    /// The auth method's mount, without `auth/`.
    pub mount: String,
    /// The role's name.
    pub role: String,
    /// How long a wrapping token lives, where one is handed over.
    pub wrap: Option<Duration>,
    /// The longest that a secret id must live: until its successor's grace is over.
    pub must_live: Duration,
}

impl ApproleIssuer {
    fn told<T>(result: Result<T, keyward_vault::VaultError>) -> Result<T, Failure> {
        result.map_err(|e| failure_of(&e))
    }

    fn looked<T>(result: Result<T, keyward_vault::VaultError>) -> Result<T, Failure> {
        result.map_err(|e| Failure { unknown: false, ..failure_of(&e) })
    }
}

#[async_trait]
impl Issuer for ApproleIssuer {
    async fn ready(&self) -> Result<(), Failure> {
        let role = Self::looked(self.vault.client().approle(&self.mount, &self.role).await)?;
        let wrong = |text: String| Err(Failure::lasting(Class::Invalid, text));
        if !role.bind_secret_id {
            return wrong(format!("the role {} wants no secret id (bind_secret_id is off), so there is nothing to rotate", self.role));
        }
        if role.secret_id_num_uses == 1 {
            let what = "a secret id may be used once only, and the login that proves it would use it up";
            return wrong(format!("{what}; set secret_id_num_uses of {} to 0, or to one more than its consumer needs", self.role));
        }
        if !role.secret_id_ttl.is_zero() && role.secret_id_ttl < self.must_live {
            let (lives, must) = (role.secret_id_ttl.as_secs(), self.must_live.as_secs());
            return wrong(format!(
                "a secret id of {} dies after {lives} s, before its successor is in use ({must} s); raise secret_id_ttl",
                self.role
            ));
        }
        Ok(())
    }

    async fn create(&self, label: &str) -> Result<Issued, Failure> {
        let client = self.vault.client();
        let metadata = BTreeMap::from([(LABEL.to_owned(), label.to_owned())]);
        let made = Self::told(client.new_secret_id(&self.mount, &self.role, &metadata).await)?;
        let mut values = Values::new();
        if let Some(ttl) = self.wrap {
            let mut fields = Fields::new();
            fields.set_text("secret_id", &made.secret_id);
            let token = Self::told(client.wrap(&fields, ttl).await).map_err(|f| Failure { unknown: true, ..f.during("wrapping it") })?;
            values.insert("wrapping_token".into(), token);
        }
        values.insert("secret_id".into(), made.secret_id);
        Ok(Issued { id: made.accessor, values })
    }

    /// One login, once: five that are refused lock the role for everybody.
    async fn accepts(&self, values: &Values) -> Result<(), Failure> {
        let secret_id = values.get("secret_id").ok_or_else(|| Failure::lasting(Class::Invalid, "there is no secret id to log in with"))?;
        let client = self.vault.client();
        let role_id = Self::looked(client.approle_role_id(&self.mount, &self.role).await)?;
        let login = Self::looked(client.approle_login(&self.mount, &role_id, secret_id).await)?;
        // It proved what it had to; if this fails it ends by itself.
        let _ = client.revoke_other(&login.token).await;
        Ok(())
    }

    /// Asking the role costs no login, no use, and no chance of a lockout.
    async fn knows(&self, values: &Values) -> Result<(), Failure> {
        let client = self.vault.client();
        let known = match (values.get("secret_id"), values.get(ID)) {
            (Some(secret_id), _) => Self::looked(client.secret_id_lookup(&self.mount, &self.role, secret_id).await)?,
            (None, Some(accessor)) => Self::looked(client.secret_id_of_accessor(&self.mount, &self.role, accessor.expose()).await)?,
            (None, None) => None,
        };
        let gone = || Failure::lasting(Class::WrongPassword, format!("the role {} does not know this secret id (any more)", self.role));
        known.map(drop).ok_or_else(gone)
    }

    async fn labelled(&self, label: &str) -> Result<Option<Vec<String>>, Failure> {
        let client = self.vault.client();
        let accessors = Self::looked(client.secret_id_accessors(&self.mount, &self.role).await)?;
        if accessors.len() > MOST {
            let text = format!("the role {} has {} secret ids; destroy those that nobody uses", self.role, accessors.len());
            return Err(Failure::lasting(Class::Invalid, text));
        }
        let mut found = Vec::new();
        for accessor in accessors {
            let info = Self::looked(client.secret_id_of_accessor(&self.mount, &self.role, &accessor).await)?;
            if info.is_some_and(|info| info.metadata.get(LABEL).is_some_and(|l| l == label)) {
                found.push(accessor);
            }
        }
        Ok(Some(found))
    }

    async fn revoke(&self, id: &str) -> Result<(), Failure> {
        Self::looked(self.vault.client().destroy_secret_id(&self.mount, &self.role, id).await)
    }
}
