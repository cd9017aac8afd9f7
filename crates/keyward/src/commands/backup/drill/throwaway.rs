//! The Vault of a drill: started, empty, on loopback, and killed with everything it started when it is let go.

use super::cell;
use crate::commands::by_hand::Declined;
use anyhow::{Context, Result, bail};
use keyward_targets::process_group::ProcessGroup;
use keyward_vault::{Client, Initialisation, NodeState, Options};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long each change of state may take.
const LIMIT: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(100);
/// Names of the server's program, for a search on `PATH`.
const NAMES: [&str; 2] = ["vault", "bao"];
const PATHS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running one.
pub struct Throwaway {
    /// A client for it, with the root token of its first moment.
    pub client: Client,
    child: Child,
    log: PathBuf,
    launch: Launch,
}

/// How it is started.
struct Launch {
    argv: Vec<PathBuf>,
    home: PathBuf,
    folder: PathBuf,
}

/// The server's program: the named one, else one on `PATH`.
///
/// # Errors
/// There is none.
pub fn program(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        return path.canonicalize().map_err(|e| Declined::usage(format!("there is no server's program at {}: {e}", path.display())).into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = NAMES.iter().flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)).collect::<Vec<_>>());
    let none = || Declined::usage("there is neither vault nor bao on PATH to drill with; name one with --vault, or as `vault` in [backup]");
    Ok(all.filter_map(|path| path.canonicalize().ok()).find(|path| path.is_file()).ok_or_else(none)?)
}

impl Throwaway {
    /// Starts one in `folder`, empty and open; `enclosed`: with a root folder of its own.
    ///
    /// # Errors
    /// It does not come up; the end of its log is said.
    pub async fn start(folder: &Path, program: &Path, enclosed: bool) -> Result<Self> {
        let root = folder.join("root");
        fs::create_dir(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let (home, argv) = if enclosed {
            let own = cell::furnish(&root, program)?;
            (PathBuf::from("/drill"), vec!["chroot".into(), root.clone(), own])
        } else {
            fs::create_dir(root.join("drill")).context("cannot make the server's folder")?;
            (root.join("drill"), vec![program.to_owned()])
        };
        fs::create_dir(root.join("drill/raft")).context("cannot make the server's folder")?;
        let (port, cluster) = if enclosed { (8200, 8201) } else { (free()?, free()?) };
        fs::write(root.join("drill/server.hcl"), server_file(&home, port, cluster)).context("cannot write the server's file")?;
        let launch = Launch { argv, home, folder: folder.to_owned() };
        let child = launch.start()?;
        let address = format!("http://127.0.0.1:{port}");
        let client = Client::new(&Options { address, ..Options::default() })?;
        let mut throwaway = Self { client, child, log: launch.log(), launch };
        throwaway.come_up().await?;
        Ok(throwaway)
    }

    /// Starts it anew with its data: after a restore it would go on to count shares as its former key had them.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.child.kill().await.context("cannot end the drill's server")?;
        self.child = self.launch.start()?;
        self.until("answer", |state| !matches!(state, NodeState::Unreachable { .. })).await
    }

    async fn come_up(&mut self) -> Result<()> {
        self.until("answer", |state| !matches!(state, NodeState::Unreachable { .. })).await?;
        let first = self.client.initialise(&Initialisation { shares: 1, threshold: 1, pgp_keys: Vec::new() }).await?;
        let address = self.client.address().to_owned();
        for share in &first.shares {
            self.client.unseal(&address, share).await?;
        }
        self.client.set_token(&first.root_token)?;
        self.active().await
    }

    /// Waits until it is open and in charge.
    ///
    /// # Errors
    /// It does not become so; the end of its log is said.
    pub async fn active(&mut self) -> Result<()> {
        self.until("become active", |state| *state == NodeState::Active).await
    }

    async fn until(&mut self, what: &str, is: impl Fn(&NodeState) -> bool) -> Result<()> {
        let (began, address) = (Instant::now(), self.client.address().to_owned());
        loop {
            if is(&self.client.health(&address).await.state) {
                return Ok(());
            }
            let ended = self.child.try_wait().ok().flatten().is_some();
            if ended || began.elapsed() > LIMIT {
                let why = if ended { "ended" } else { "did not" };
                bail!("the drill's server was to {what} and {why}; it last complained: {}", self.complaint());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The last error of its log, which never holds a value.
    fn complaint(&self) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let is_error = |line: &&str| line.contains("[ERROR]") || line.contains("rror ");
        text.lines().rev().find(is_error).or_else(|| text.lines().last()).unwrap_or("nothing").to_owned()
    }
}

impl Launch {
    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn start(&self) -> Result<Child> {
        let out = File::options().create(true).append(true).open(self.log()).context("cannot make the server's log")?;
        let (program, arguments) = self.argv.split_first().context("no program is named")?;
        let mut command = Command::new(program);
        command.args(arguments).arg("server").arg(format!("-config={}", self.home.join("server.hcl").display()));
        command.env_clear().env("PATH", PATHS).env("HOME", &self.home).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0).kill_on_drop(true);
        command.spawn().with_context(|| format!("cannot start {}", program.display()))
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        drop(ProcessGroup::of(&self.child));
    }
}

/// A port that nobody uses at the moment.
fn free() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port")?;
    Ok(listener.local_addr().context("there is no free port")?.port())
}

fn server_file(home: &Path, port: u16, cluster: u16) -> String {
    format!(
        r#"storage "raft" {{
  path    = "{}"
  node_id = "drill"
}}
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_disable     = true
}}
api_addr      = "http://127.0.0.1:{port}"
cluster_addr  = "https://127.0.0.1:{cluster}"
disable_mlock = true
"#,
        home.join("raft").display()
    )
}
