//! What Vault's database engine needs in PostgreSQL: a login of its own, and roles that hold the rights of the users it hands out.
//!
//! It never gives a role that it did not make another password, and takes no right away. What it makes bears a comment that says so.

use super::admin::{Admin, AdminError};
use super::session::Connected;
use super::url::Endpoint;
use super::verifier::verifier_of;
use keyward_secret::Secret;
use std::fmt::Write as _;
use tokio_postgres::types::Type;

/// The first version in which a role that may create roles needs each of them granted to alter it.
const ADMIN_OPTION_NEEDED: u32 = 16;

/// A role as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineUser {
    /// Its comment; empty where it has none.
    pub comment: String,
    /// Whether it may create and alter other roles.
    pub may_create_roles: bool,
    /// Whether it is a superuser, which Vault's login must not be.
    pub is_superuser: bool,
    /// Whether it may log in.
    pub may_log_in: bool,
}

/// What the users of one role of the engine may do in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// The role that holds the rights, without a login.
    pub group: String,
    /// Who gets the group with the right to hand it on: Vault's login.
    pub keeper: String,
    /// A user that the group is granted to, made if it is absent; `None` where Vault makes the users.
    pub user: Option<String>,
    /// Whether changes are allowed, or reading alone.
    pub may_write: bool,
    /// The schemas.
    pub schemas: Vec<String>,
    /// The roles whose future tables are covered too; empty: the administrator's.
    pub owners: Vec<String>,
}

impl Rights {
    fn on_tables(&self) -> &'static [&'static str] {
        if self.may_write { &["SELECT", "INSERT", "UPDATE", "DELETE"] } else { &["SELECT"] }
    }

    fn on_sequences(&self) -> &'static [&'static str] {
        if self.may_write { &["USAGE", "SELECT"] } else { &[] }
    }
}

impl Admin {
    /// Whether the fence is installed.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn has_fence(&self) -> Result<bool, AdminError> {
        let (endpoint, connected) = self.primary().await?;
        let format = self.installed_format(endpoint, &connected).await;
        connected.close().await;
        Ok(format?.is_some())
    }

    /// A role; `None` where there is none of this name.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn engine_user(&self, name: &str) -> Result<Option<EngineUser>, AdminError> {
        let (endpoint, connected) = self.primary().await?;
        let sql = "SELECT coalesce(shobj_description(oid, 'pg_authid'), ''), rolcreaterole, rolsuper, rolcanlogin FROM pg_roles WHERE rolname = $1";
        let row = self.within(endpoint, connected.client.query_typed_opt(sql, &[(&name, Type::TEXT)])).await;
        connected.close().await;
        let Some(row) = row? else { return Ok(None) };
        let shape = |_| AdminError::Answer { endpoint: endpoint.to_string() };
        Ok(Some(EngineUser {
            comment: row.try_get(0).map_err(shape)?,
            may_create_roles: row.try_get(1).map_err(shape)?,
            is_superuser: row.try_get(2).map_err(shape)?,
            may_log_in: row.try_get(3).map_err(shape)?,
        }))
    }

    /// Makes Vault's login with this password and comment, or gives the one with that comment this password. The server sees a verifier.
    ///
    /// # Errors
    /// [`AdminError`]; [`AdminError::ForeignUser`] for a role that bears another comment.
    pub async fn make_engine_user(&self, name: &str, comment: &str, password: &Secret) -> Result<(), AdminError> {
        let verb = match self.engine_user(name).await? {
            None => "CREATE",
            Some(user) if user.comment == comment => "ALTER",
            Some(_) => return Err(AdminError::ForeignUser { name: name.to_owned() }),
        };
        let role = quoted(name);
        let verifier = verifier_of(password);
        let sql = Secret::new(format!(
            "BEGIN; {verb} ROLE {role} LOGIN CREATEROLE PASSWORD {}; COMMENT ON ROLE {role} IS {}; COMMIT",
            literal(verifier.expose()),
            literal(comment)
        ));
        self.execute(&sql).await
    }

    /// What is missing of these rights, in words; empty where nothing is.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn lacking_rights(&self, rights: &Rights) -> Result<Vec<String>, AdminError> {
        let (endpoint, connected) = self.primary().await?;
        let lacking = self.look_for_rights(endpoint, &connected, rights).await;
        connected.close().await;
        lacking
    }

    async fn look_for_rights(&self, endpoint: &Endpoint, connected: &Connected, rights: &Rights) -> Result<Vec<String>, AdminError> {
        let exists = "SELECT count(*) FROM pg_roles WHERE rolname = $1";
        let mut lacking = Vec::new();
        if self.count(endpoint, connected, exists, &[&rights.group]).await? == 0 {
            lacking.push(format!("the role {} does not exist", rights.group));
            return Ok(lacking);
        }
        let member = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member \
                      WHERE g.rolname = $1 AND u.rolname = $2";
        let keeper = format!("{member} AND m.admin_option");
        if self.count(endpoint, connected, &keeper, &[&rights.group, &rights.keeper]).await? == 0 {
            lacking.push(format!("{} may not hand {} on", rights.keeper, rights.group));
        }
        if let Some(user) = &rights.user {
            if self.count(endpoint, connected, member, &[&rights.group, user]).await? == 0 {
                lacking.push(format!("{user} is no member of {}", rights.group));
            }
            if connected.major >= ADMIN_OPTION_NEEDED && self.count(endpoint, connected, &keeper, &[user, &rights.keeper]).await? == 0 {
                lacking.push(format!("{} may not alter {user}", rights.keeper));
            }
        }
        for schema in &rights.schemas {
            self.look_in_schema(endpoint, connected, rights, schema, &mut lacking).await?;
        }
        Ok(lacking)
    }

    async fn look_in_schema(
        &self,
        endpoint: &Endpoint,
        connected: &Connected,
        rights: &Rights,
        schema: &str,
        lacking: &mut Vec<String>,
    ) -> Result<(), AdminError> {
        let there = "SELECT count(*) FROM pg_namespace WHERE nspname = $1";
        if self.count(endpoint, connected, there, &[schema]).await? == 0 {
            return Err(AdminError::NoSchema { endpoint: endpoint.to_string(), schema: schema.to_owned() });
        }
        let used = "SELECT count(*) FROM pg_namespace WHERE nspname = $2 AND has_schema_privilege($1::text::name, oid, 'USAGE')";
        if self.count(endpoint, connected, used, &[&rights.group, schema]).await? == 0 {
            lacking.push(format!("{} may not use the schema {schema}", rights.group));
        }
        for (kinds, function, rights_on, what) in [
            ("'r','p','v','m','f'", "has_table_privilege", rights.on_tables(), "tables"),
            ("'S'", "has_sequence_privilege", rights.on_sequences(), "sequences"),
        ] {
            let all: Vec<String> = rights_on.iter().map(|right| format!("{function}($1::text::name, c.oid, '{right}')")).collect();
            if all.is_empty() {
                continue;
            }
            // The order of a WHERE clause is the server's; a CASE's is not: the functions refuse what is of another kind.
            let sql = format!(
                "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $2 AND CASE WHEN c.relkind IN ({kinds}) THEN NOT ({}) ELSE false END",
                all.join(" AND ")
            );
            let missing = self.count(endpoint, connected, &sql, &[&rights.group, schema]).await?;
            if missing > 0 {
                lacking.push(format!("{} may not {} {missing} {what} of {schema}", rights.group, rights_on.join(", ")));
            }
        }
        for owner in self.owners(rights) {
            let sql = format!(
                "SELECT count(DISTINCT a.privilege_type) FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace \
                 JOIN pg_roles o ON o.oid = d.defaclrole, aclexplode(d.defaclacl) a JOIN pg_roles g ON g.oid = a.grantee \
                 WHERE g.rolname = $1 AND n.nspname = $2 AND o.rolname = $3 AND d.defaclobjtype = 'r' AND a.privilege_type IN ({})",
                rights.on_tables().iter().map(|right| literal(right)).collect::<Vec<_>>().join(", ")
            );
            let found = self.count(endpoint, connected, &sql, &[&rights.group, schema, owner]).await?;
            if usize::try_from(found).unwrap_or(0) < rights.on_tables().len() {
                lacking.push(format!("{} gets no rights on what {owner} makes in {schema} later", rights.group));
            }
        }
        Ok(())
    }

    fn owners<'a>(&'a self, rights: &'a Rights) -> Vec<&'a str> {
        if rights.owners.is_empty() { vec![self.user()] } else { rights.owners.iter().map(String::as_str).collect() }
    }

    /// Makes these rights true, in one transaction; those that are there stay as they are.
    ///
    /// # Errors
    /// [`AdminError`]; [`AdminError::StillLacking`] where the server took the statements and granted nothing.
    pub async fn grant_rights(&self, rights: &Rights) -> Result<(), AdminError> {
        let mut sql = String::from("BEGIN; ");
        if self.engine_user(&rights.group).await?.is_none() {
            // Writing to a String cannot fail.
            let _ = write!(sql, "CREATE ROLE {} NOLOGIN; ", quoted(&rights.group));
        }
        if let Some(user) = &rights.user {
            if self.engine_user(user).await?.is_none() {
                let _ = write!(sql, "CREATE ROLE {} LOGIN; ", quoted(user));
            }
            let _ = write!(sql, "GRANT {} TO {}; ", quoted(&rights.group), quoted(user));
        }
        sql.push_str(&grants(rights, &self.owners(rights)));
        if let Some(user) = &rights.user {
            let _ = write!(sql, "{}", self.alteration(user, &rights.keeper).await?);
        }
        sql.push_str("COMMIT");
        self.execute(&Secret::new(sql)).await?;
        let lacking = self.lacking_rights(rights).await?;
        if lacking.is_empty() { Ok(()) } else { Err(AdminError::StillLacking { lacking: lacking.join("; ") }) }
    }

    /// What lets Vault's login alter a user that it did not make.
    async fn alteration(&self, user: &str, keeper: &str) -> Result<String, AdminError> {
        let (_, connected) = self.primary().await?;
        let major = connected.major;
        connected.close().await;
        let needed = major >= ADMIN_OPTION_NEEDED;
        Ok(if needed { format!("GRANT {} TO {} WITH ADMIN OPTION; ", quoted(user), quoted(keeper)) } else { String::new() })
    }

    async fn count(&self, endpoint: &Endpoint, connected: &Connected, sql: &str, texts: &[&str]) -> Result<i64, AdminError> {
        let arguments: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), Type)> =
            texts.iter().map(|text| (text as &(dyn tokio_postgres::types::ToSql + Sync), Type::TEXT)).collect();
        let row = self.within(endpoint, connected.client.query_typed_one(sql, &arguments)).await?;
        row.try_get(0).map_err(|_| AdminError::Answer { endpoint: endpoint.to_string() })
    }

    async fn execute(&self, sql: &Secret) -> Result<(), AdminError> {
        let (endpoint, connected) = self.primary().await?;
        // A transaction left open by an error ends with the connection.
        let done = self.within(endpoint, connected.client.batch_execute(sql.expose())).await;
        connected.close().await;
        done
    }
}

fn grants(rights: &Rights, owners: &[&str]) -> String {
    let (group, tables, sequences) = (quoted(&rights.group), rights.on_tables().join(", "), rights.on_sequences().join(", "));
    let mut sql = format!("GRANT {group} TO {} WITH ADMIN OPTION; ", quoted(&rights.keeper));
    for schema in rights.schemas.iter().map(|schema| quoted(schema)) {
        // Writing to a String cannot fail.
        let _ = write!(sql, "GRANT USAGE ON SCHEMA {schema} TO {group}; GRANT {tables} ON ALL TABLES IN SCHEMA {schema} TO {group}; ");
        if !sequences.is_empty() {
            let _ = write!(sql, "GRANT {sequences} ON ALL SEQUENCES IN SCHEMA {schema} TO {group}; ");
        }
        for owner in owners.iter().map(|owner| quoted(owner)) {
            let later = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT");
            let _ = write!(sql, "{later} {tables} ON TABLES TO {group}; ");
            if !sequences.is_empty() {
                let _ = write!(sql, "{later} {sequences} ON SEQUENCES TO {group}; ");
            }
        }
    }
    sql
}

/// An identifier in SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL; sessions of ours have `standard_conforming_strings` on.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn readers_get_no_sequences_and_no_writing() {
        let rights = |may_write| Rights {
            group: "g".into(),
            keeper: "vault".into(),
            user: None,
            may_write,
            schemas: vec!["public".into()],
            owners: Vec::new(),
        };
        let sql = grants(&rights(false), &["owner"]);
        assert!(!sql.contains("SEQUENCES") && !sql.contains("DELETE"), "{sql}");
        let sql = grants(&rights(true), &["owner"]);
        assert!(sql.contains("ALTER DEFAULT PRIVILEGES FOR ROLE \"owner\" IN SCHEMA \"public\" GRANT USAGE, SELECT ON SEQUENCES"), "{sql}");
    }
}
