//! A real SMTP server (aiosmtpd) that keeps every mail it accepts.
//!
//! Never sends a mail on: what it accepts ends in a file of the run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ports::{free_port, retry_bind};
use crate::process::{Folder, Process, Stop, clean_command, start_server};
use crate::random::{password, unique};
use crate::run::{lock, run};

const SCRIPT: &str = include_str!("../smtp/server.py");
const START_LIMIT: Duration = Duration::from_secs(30);
const BANNER_LIMIT: Duration = Duration::from_secs(2);

/// An SMTP server on 127.0.0.1 with three ports. A recipient whose name begins with `refuse` is refused for good (550), one
/// whose name begins with `later` for now (451); every other mail is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct SmtpServer {
    /// No TLS, no login.
    pub plain_port: u16,
    /// STARTTLS and then AUTH are demanded.
    pub starttls_port: u16,
    /// TLS from the first byte; AUTH is demanded.
    pub tls_port: u16,
    /// The only user.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// The authority that signed the server's certificate (valid for `localhost` and 127.0.0.1).
    pub ca_pem_path: PathBuf,
    hostname: String,
    mailbox: PathBuf,
    #[serde(skip)]
    own: Mutex<Option<Own>>,
}

#[derive(Debug)]
struct Own {
    process: Option<Process>,
    folder: Folder,
}

/// A mail as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The decoded subject.
    pub subject: String,
    /// The decoded text part; the HTML part where there is no text.
    pub body: String,
    /// All header lines in order: (name, value).
    pub headers: Vec<(String, String)>,
    /// The way it came: `plain`, `starttls` or `tls`.
    pub port: String,
}

impl SmtpServer {
    /// Starts a server of one's own; it ends when dropped.
    pub fn start() -> Result<Self> {
        let python = python().context("aiosmtpd is not installed (Debian's python3-aiosmtpd); `cargo xtask setup` installs it")?;
        retry_bind(|| start_with(&python))
    }

    /// All mails accepted so far, oldest first.
    ///
    /// # Panics
    /// When the mailbox cannot be read.
    pub fn messages(&self) -> Vec<Message> {
        crate::or_panic(read(&self.mailbox))
    }

    /// The first mail for which `wanted` says yes, once it is there; `None` when `limit` passes before.
    pub fn wait_for(&self, mut wanted: impl FnMut(&Message) -> bool, limit: Duration) -> Option<Message> {
        crate::poll(limit, || self.messages().into_iter().find(&mut wanted)).ok()
    }

    /// Stops a server of one's own; clients find nobody at its ports.
    pub fn stop(&self) -> Result<()> {
        let mut own = lock(&self.own);
        own.as_mut().context("a shared SMTP server cannot be stopped; start one of your own")?.process = None;
        Ok(())
    }

    /// Starts a stopped server again, on the same ports and with the mails it had.
    pub fn restart(&self) -> Result<()> {
        let python = python().context("aiosmtpd has gone")?;
        let mut own = lock(&self.own);
        let own = own.as_mut().context("a shared SMTP server cannot be restarted; start one of your own")?;
        own.process = None;
        own.process = Some(self.launch(&python, &own.folder.0)?);
        Ok(())
    }

    fn launch(&self, python: &str, dir: &Path) -> Result<Process> {
        let mut command = clean_command(python, dir);
        command.env("PYTHONDONTWRITEBYTECODE", "1").args(["-u", "server.py", "config.json"]);
        start_server("aiosmtpd", command, Stop::Kill, &dir.join("server.log"), START_LIMIT, || self.greets().unwrap_or(false))
    }

    /// The last port is bound last; the greeting tells our server from any other.
    fn greets(&self) -> Result<bool> {
        TcpStream::connect(("127.0.0.1", self.tls_port))?;
        let stream = TcpStream::connect(("127.0.0.1", self.plain_port))?;
        stream.set_read_timeout(Some(BANNER_LIMIT))?;
        let mut banner = String::new();
        BufReader::new(stream).read_line(&mut banner)?;
        Ok(banner.starts_with("220 ") && banner.contains(&self.hostname))
    }
}

fn start_with(python: &str) -> Result<SmtpServer> {
    let run = run()?;
    let folder = Folder::new(run, "smtp")?;
    let tls = crate::tls::tls(run)?;
    let server = SmtpServer {
        plain_port: free_port()?,
        starttls_port: free_port()?,
        tls_port: free_port()?,
        user: "keyward".to_owned(),
        password: password()?,
        ca_pem_path: tls.ca_pem.clone(),
        hostname: unique("mail"),
        mailbox: folder.0.join("mailbox.jsonl"),
        own: Mutex::default(),
    };
    let config = json!({
        "hostname": server.hostname,
        "certificate": tls.server_pem,
        "key": tls.server_key,
        "user": server.user,
        "password": server.password,
        "mailbox": server.mailbox,
        "plain_port": server.plain_port,
        "starttls_port": server.starttls_port,
        "tls_port": server.tls_port,
    });
    fs::write(folder.0.join("server.py"), SCRIPT).context("write the SMTP server's program")?;
    fs::write(folder.0.join("config.json"), config.to_string()).context("write the SMTP server's configuration")?;
    fs::write(&server.mailbox, "").context("make the mailbox")?;
    let process = server.launch(python, &folder.0)?;
    *lock(&server.own) = Some(Own { process: Some(process), folder });
    Ok(server)
}

/// Complete lines only: the last one may still be on its way.
fn read(mailbox: &Path) -> Result<Vec<Message>> {
    let text = fs::read_to_string(mailbox).with_context(|| format!("read {}", mailbox.display()))?;
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete.lines().map(|line| serde_json::from_str(line).context("read a mail from the mailbox")).collect()
}

/// A Python that has aiosmtpd: the one on `PATH` need not be Debian's.
pub(crate) fn python() -> Option<String> {
    let has = |python: &&str| {
        let check = Command::new(python).args(["-c", "import aiosmtpd"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        check.is_ok_and(|status| status.success())
    };
    ["/usr/bin/python3", "python3"].iter().find(|p| has(p)).map(|p| (*p).to_owned())
}
