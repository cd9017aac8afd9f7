//! The admin of one node: adds and removes a user's passwords, writes them down, sees who is connected.
//!
//! It never sends a clear password but for its own login, never creates a user, and never changes anything of one but the passwords it is
//! told of. Redis offers no precondition for a change: see [`Admin::add`] for what that leaves open.

use super::digest::{digest, mark_of};
use super::failure::{FailureClass, NodeFailure};
use super::node::Node;
use super::session::{Session, bounded};
use keyward_secret::Secret;
use redis::{Value, cmd};
use std::collections::HashMap;
use std::time::Duration;

/// More connections than this are not listed.
const CONNECTIONS_LISTED: usize = 1_000;

/// Where a node can write down its users, so that a restart does not forget them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// In the file that `aclfile` names, by `ACL SAVE`.
    AclFile,
    /// In the configuration file it was started with, by `CONFIG REWRITE`.
    ConfigFile,
    /// Nowhere.
    None,
}

/// What became of a password that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone now.
    Now,
    /// The user did not have it.
    Absent,
}

/// A client that is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Where, as `host:port`.
    pub node: String,
    /// The client's address and port.
    pub addr: String,
    /// What it calls itself; may be empty.
    pub name: String,
    /// For how long it has been connected.
    pub age: Duration,
}

/// A user, as `ACL GETUSER` shows it.
struct User {
    is_on: bool,
    takes_any_password: bool,
    digests: Vec<String>,
}

/// Who may change users at one node.
#[derive(Debug)]
pub struct Admin<'a> {
    node: &'a Node,
    user: &'a str,
    password: &'a Secret,
    limit: Duration,
}

impl<'a> Admin<'a> {
    /// An admin; nothing is contacted. `limit` bounds each task, connecting included.
    pub fn new(node: &'a Node, user: &'a str, password: &'a Secret, limit: Duration) -> Self {
        Self { node, user, password, limit }
    }

    /// Looks whether everything is there that a rotation of `user` needs; changes nothing.
    ///
    /// # Errors
    /// [`NodeFailure`], which says what is missing and what to do.
    pub async fn preflight(&self, user: &str) -> Result<Persistence, NodeFailure> {
        bounded(self.node, self.limit, async {
            let session = &mut self.open().await?;
            let found = self.user(session, user).await?;
            let other = |detail: String| Err(NodeFailure::new(self.node, FailureClass::Other, detail));
            if !found.is_on {
                return other(format!("the user {user} is switched off; ACL SETUSER {user} on"));
            }
            if found.takes_any_password {
                return other(format!("the user {user} takes any password (nopass): nothing can be proved; ACL SETUSER {user} resetpass"));
            }
            if replicates_as(session).await?.as_deref() == Some(user) {
                return other(format!("this replica logs in to its master as {user} (masteruser); give replication a user of its own"));
            }
            let persistence = persistence(session).await?;
            let words: &[&str] = match persistence {
                Persistence::AclFile => &["ACL", "SAVE"],
                Persistence::ConfigFile => &["CONFIG", "REWRITE"],
                Persistence::None => {
                    return other("it has neither an aclfile nor a configuration file, so a restart would forget the password".into());
                }
            };
            for words in [&["ACL", "SETUSER", user, "reset"], words, &["CLIENT", "LIST"]] {
                self.may(session, words).await?;
            }
            Ok(persistence)
        })
        .await
    }

    /// Adds a password to the user's, as its digest. Adding one that is there already changes nothing.
    ///
    /// Redis has no fence: an actor that was frozen right before this and goes on after others have rolled the rotation back leaves a
    /// password behind whose clear text nobody has any more.
    ///
    /// # Errors
    /// [`NodeFailure`]; [`FailureClass::NoSuchUser`] rather than a new user.
    pub async fn add(&self, user: &str, password: &Secret) -> Result<(), NodeFailure> {
        bounded(self.node, self.limit, async {
            let session = &mut self.open().await?;
            self.user(session, user).await?;
            let rule = format!("#{}", digest(password));
            session.run(cmd("ACL").arg("SETUSER").arg(user).arg(&rule), &[&rule]).await
        })
        .await
    }

    /// Removes the password that has this [`mark`](super::mark).
    ///
    /// # Errors
    /// [`NodeFailure`].
    pub async fn remove(&self, user: &str, mark: &str) -> Result<Removed, NodeFailure> {
        bounded(self.node, self.limit, async {
            let session = &mut self.open().await?;
            let found = self.user(session, user).await?;
            let Some(digest) = found.digests.iter().find(|digest| mark_of(digest) == mark) else { return Ok(Removed::Absent) };
            let rule = format!("!{digest}");
            session.run::<()>(cmd("ACL").arg("SETUSER").arg(user).arg(&rule), &[digest]).await?;
            Ok(Removed::Now)
        })
        .await
    }

    /// Whether the user has the password with this mark.
    ///
    /// # Errors
    /// [`NodeFailure`].
    pub async fn has(&self, user: &str, mark: &str) -> Result<bool, NodeFailure> {
        bounded(self.node, self.limit, async {
            let session = &mut self.open().await?;
            Ok(self.user(session, user).await?.digests.iter().any(|digest| mark_of(digest) == mark))
        })
        .await
    }

    /// Writes all users down, as they are now, so that a restart finds them.
    ///
    /// # Errors
    /// [`NodeFailure`], also where there is nowhere to write.
    pub async fn persist(&self) -> Result<Persistence, NodeFailure> {
        bounded(self.node, self.limit, async {
            let session = &mut self.open().await?;
            let persistence = persistence(session).await?;
            match persistence {
                Persistence::AclFile => session.run::<()>(cmd("ACL").arg("SAVE"), &[]).await?,
                Persistence::ConfigFile => session.run::<()>(cmd("CONFIG").arg("REWRITE"), &[]).await?,
                Persistence::None => {
                    let detail = "it has neither an aclfile nor a configuration file to write its users to";
                    return Err(NodeFailure::new(self.node, FailureClass::Other, detail));
                }
            }
            Ok(persistence)
        })
        .await
    }

    /// Who is connected as `user` now (at most 1,000).
    ///
    /// # Errors
    /// [`NodeFailure`].
    pub async fn connections(&self, user: &str) -> Result<Vec<Connection>, NodeFailure> {
        let asked = async { self.open().await?.run(cmd("CLIENT").arg("LIST"), &[]).await };
        let list: String = bounded(self.node, self.limit, asked).await?;
        Ok(list.lines().filter_map(|line| connection(self.node, line, user)).take(CONNECTIONS_LISTED).collect())
    }

    async fn open(&self) -> Result<Session<'a>, NodeFailure> {
        Session::open(self.node, self.user, self.password).await
    }

    async fn user(&self, session: &mut Session<'_>, user: &str) -> Result<User, NodeFailure> {
        let shown: Option<HashMap<String, Value>> = session.run(cmd("ACL").arg("GETUSER").arg(user), &[]).await?;
        let absent = || NodeFailure::new(self.node, FailureClass::NoSuchUser, format!("there is no user {user}; users are not replicated"));
        let shown = shown.ok_or_else(absent)?;
        let list = |key: &str| -> Vec<String> {
            shown.get(key).cloned().and_then(|value| redis::from_redis_value(value).ok()).unwrap_or_default()
        };
        let flags = list("flags");
        let has = |flag: &str| flags.iter().any(|f| f == flag);
        Ok(User { is_on: has("on"), takes_any_password: has("nopass"), digests: list("passwords") })
    }

    /// Sees that we may run a command, where the server can tell without running it (Redis 7) and lets us ask.
    async fn may(&self, session: &mut Session<'_>, words: &[&str]) -> Result<(), NodeFailure> {
        match session.run::<String>(cmd("ACL").arg("DRYRUN").arg(self.user).arg(words), &[]).await {
            Ok(verdict) if verdict != "OK" => {
                let detail = format!("the administrator {} may not run {}: {verdict}", self.user, words.join(" "));
                Err(NodeFailure::new(self.node, FailureClass::InsufficientPrivilege, detail))
            }
            // An older server, or an administrator who may not ask: the rotation itself will tell, before anything is published.
            Ok(_) | Err(NodeFailure { class: FailureClass::Other | FailureClass::InsufficientPrivilege, .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

async fn persistence(session: &mut Session<'_>) -> Result<Persistence, NodeFailure> {
    let configured: HashMap<String, String> = session.run(cmd("CONFIG").arg("GET").arg("aclfile"), &[]).await?;
    if configured.get("aclfile").is_some_and(|file| !file.is_empty()) {
        return Ok(Persistence::AclFile);
    }
    let info: String = session.run(cmd("INFO").arg("server"), &[]).await?;
    Ok(if field(&info, "config_file").is_some_and(|file| !file.is_empty()) { Persistence::ConfigFile } else { Persistence::None })
}

/// The user that a replica logs in to its master with; `None` for a master.
async fn replicates_as(session: &mut Session<'_>) -> Result<Option<String>, NodeFailure> {
    let info: String = session.run(cmd("INFO").arg("replication"), &[]).await?;
    if field(&info, "role") != Some("slave") {
        return Ok(None);
    }
    let configured: HashMap<String, String> = session.run(cmd("CONFIG").arg("GET").arg("masteruser"), &[]).await?;
    Ok(Some(configured.get("masteruser").filter(|user| !user.is_empty()).cloned().unwrap_or_else(|| "default".into())))
}

/// `key:value` of an `INFO` answer.
fn field<'t>(info: &'t str, key: &str) -> Option<&'t str> {
    info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// A line of `CLIENT LIST`, if it is a connection of this user.
fn connection(node: &Node, line: &str, user: &str) -> Option<Connection> {
    // Values hold no blanks: Redis refuses them in names.
    let value = |key: &str| line.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    (value("user") == Some(user)).then(|| Connection {
        node: node.to_string(),
        addr: value("addr").unwrap_or_default().to_owned(),
        name: value("name").unwrap_or_default().to_owned(),
        age: Duration::from_secs(value("age").and_then(|age| age.parse().ok()).unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_read_from_its_line() {
        let node = Node::parse("redis://host").unwrap_or_else(|e| panic!("{e}"));
        let line = "id=3 addr=127.0.0.1:52555 laddr=127.0.0.1:6379 fd=8 name=web age=12 idle=0 flags=N db=0 cmd=client|list user=app redir=-1 resp=2";
        let expected =
            Connection { node: "host:6379".into(), addr: "127.0.0.1:52555".into(), name: "web".into(), age: Duration::from_secs(12) };
        assert_eq!(connection(&node, line, "app"), Some(expected));
        assert_eq!(connection(&node, line, "ap"), None);
        assert_eq!(connection(&node, "", "app"), None);
    }

    #[test]
    fn a_field_of_an_answer_is_found_by_its_whole_name() {
        let info = "# Server\r\nconfig_file_x:1\r\nconfig_file:/etc/redis.conf\r\nrole:slave\r\n";
        assert_eq!(field(info, "config_file"), Some("/etc/redis.conf"));
        assert_eq!(field(info, "executable"), None);
    }
}
