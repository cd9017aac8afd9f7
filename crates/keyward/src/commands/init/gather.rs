//! Looks at what is there of each thing. It changes nothing.

use super::plan::Found;
use super::wanted::{Item, Thing};
use crate::config::Admin;
use crate::ports::POSTGRES_LIMIT;
use crate::references::Resolver;
use keyward_targets::postgres as target;
use keyward_vault::{Client, VaultError};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Who can be asked.
pub struct Eyes<'a> {
    /// Vault, with a token.
    pub client: &'a Client,
    /// For the passwords of databases' administrators.
    pub resolver: &'a Resolver,
}

/// What is mounted: engines and login methods, each path with its slash.
#[derive(Default)]
pub struct Tables {
    secret: Map<String, Value>,
    auth: Map<String, Value>,
}

impl Tables {
    /// The engines: path → type.
    pub fn engines(&self) -> BTreeMap<String, String> {
        let kind = |mount: &Value| mount.get("type").and_then(Value::as_str).map(str::to_owned);
        self.secret.iter().filter_map(|(path, mount)| Some((path.clone(), kind(mount)?))).collect()
    }

    fn at(&self, is_auth: bool, path: &str) -> Option<(String, Option<u8>)> {
        let table = if is_auth { &self.auth } else { &self.secret };
        let mount = table.get(&format!("{path}/"))?;
        let kind = mount.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let version = mount.pointer("/options/version").and_then(Value::as_str).and_then(|v| v.parse().ok());
        Some((kind, version))
    }
}

impl Eyes<'_> {
    /// The tables of mounts.
    ///
    /// # Errors
    /// The token may not read them: nothing can be compared without.
    pub async fn tables(&self) -> Result<Tables, VaultError> {
        let [secret, auth] = ["sys/mounts", "sys/auth"];
        Ok(Tables {
            secret: self.client.object(secret).await?.unwrap_or_default(),
            auth: self.client.object(auth).await?.unwrap_or_default(),
        })
    }

    /// What is there of a thing.
    pub async fn look(&self, item: &Item, tables: &Tables) -> Found {
        self.try_look(&item.thing, tables).await.unwrap_or_else(|error| Found::Unknown(format!("it cannot be looked at: {error:#}")))
    }

    async fn try_look(&self, thing: &Thing, tables: &Tables) -> anyhow::Result<Found> {
        Ok(match thing {
            Thing::Audit { .. } => Found::Devices(self.client.audit_devices().await?),
            Thing::Mount { is_auth, path, .. } => Found::Mount(tables.at(*is_auth, path)),
            Thing::Policy { name, .. } => {
                let policy = self.client.object(&format!("sys/policies/acl/{name}")).await?;
                Found::Policy(policy.and_then(|p| p.get("policy").and_then(Value::as_str).map(str::to_owned)))
            }
            Thing::Object { path, .. } => Found::Object(self.client.object(path).await?),
            Thing::Connection { path, admin, user, .. } => {
                Found::Connection(self.client.object(path).await?, self.admin(admin).await?.engine_user(user).await?)
            }
            Thing::EngineUser { admin, user, connection, .. } => {
                let has_connection = self.client.object(connection).await?.is_some();
                Found::EngineUser(self.admin(admin).await?.engine_user(user).await?, has_connection)
            }
            Thing::Rights { admin, rights } => Found::Lacking(self.admin(admin).await?.lacking_rights(rights).await?),
            Thing::Fence { admin } => Found::Fence(self.admin(admin).await?.has_fence().await?),
            Thing::Login { role_id, secret_id, .. } => {
                let homeless = [role_id, secret_id].into_iter().filter_map(|file| file.parent()).find(|folder| !folder.is_dir());
                match homeless {
                    Some(folder) => Found::Unknown(format!(
                        "the folder {} does not exist here; bring the ids there as its owner does: keyward approle create",
                        folder.display()
                    )),
                    None => Found::Files(role_id.exists(), secret_id.exists()),
                }
            }
        })
    }

    /// An administrator of a database.
    pub async fn admin(&self, admin: &Admin) -> anyhow::Result<target::Admin> {
        let password = self.resolver.resolve(&admin.password).await?;
        Ok(target::Admin::new(admin.url.clone(), password, POSTGRES_LIMIT)?)
    }
}
