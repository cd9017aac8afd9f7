//! Several Keywards over one company, each with its own folder, port and log, and with a way of its own to the servers.

use crate::postgres_proxy::PostgresProxy;
use crate::shop::Shop;
use crate::vault_proxy::VaultProxy;
use crate::{ports, run_folder, unique};
use anyhow::{Context, Result, ensure};
use std::fs;

impl<'a> Shop<'a> {
    /// Another Keyward over the same company: the configuration as it stands now, with a state folder, a port and a log of its own.
    pub fn beside(&self) -> Result<Shop<'a>> {
        let dir = run_folder()?.join(unique("shop"));
        fs::create_dir(&dir).with_context(|| format!("make the folder {}", dir.display()))?;
        let twin = Shop {
            config: dir.join("keyward.toml"),
            dir,
            port: ports::free_port()?,
            kv: self.kv.clone(),
            records: self.records.clone(),
            database: self.database.clone(),
            users: self.users.clone(),
            legacy: self.legacy.clone(),
            reporting: self.reporting.clone(),
            static_role: self.static_role.clone(),
            ..*self
        };
        fs::copy(&self.config, &twin.config).context("copy the configuration")?;
        twin.reword(&format!("state_dir = \"{}/state\"", self.dir.display()), &format!("state_dir = \"{}/state\"", twin.dir.display()))?;
        twin.reword(&format!("listen = \"127.0.0.1:{}\"", self.port), &format!("listen = \"127.0.0.1:{}\"", twin.port))?;
        Ok(twin)
    }

    /// Has this Keyward speak to Vault through a proxy. Nodes are watched directly all the same.
    pub fn speaks_through(&self, proxy: &VaultProxy) -> Result<()> {
        let text = fs::read_to_string(&self.config).context("read the configuration")?;
        let line = text.lines().find(|line| line.starts_with("address = ")).context("the configuration names no Vault")?;
        self.reword(line, &format!("address = \"{}\"", proxy.address))
    }

    /// Has this Keyward change passwords through a proxy. It proves them directly all the same.
    pub fn changes_through(&self, proxy: &PostgresProxy) -> Result<()> {
        let (host, port, database, ca) = (&self.postgres.host, self.postgres.port, &self.database, self.postgres.ca_pem_path.display());
        let direct = format!("@{host}:{port}/{database}?sslmode=verify-full&sslrootcert={ca}");
        self.reword(&direct, &format!("@127.0.0.1:{}/{database}?sslmode=disable", proxy.port))
    }

    /// Replaces every `from` in the configuration.
    fn reword(&self, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(&self.config).context("read the configuration")?;
        ensure!(text.contains(from), "{from} is not in the configuration");
        fs::write(&self.config, text.replace(from, to)).context("write the configuration")
    }
}
