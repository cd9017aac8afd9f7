//! Real Prometheus and Alertmanager servers, each with the caller's configuration; never shared between callers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::http::Http;
use crate::ports::{free_port, retry_bind};
use crate::process::{Folder, Process, Signal, Stop, clean_command, find_program, start_server};
use crate::run::run;

const START_LIMIT: Duration = Duration::from_mins(1);

/// A Prometheus server on 127.0.0.1; it ends when dropped.
#[derive(Debug)]
pub struct PrometheusServer {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    server: Server,
}

/// An Alertmanager on 127.0.0.1; it ends when dropped.
#[derive(Debug)]
pub struct AlertmanagerServer {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    /// `127.0.0.1:PORT`, as Prometheus's configuration wants it.
    pub target: String,
    server: Server,
}

#[derive(Debug)]
struct Server {
    http: Http,
    process: Process,
    folder: Folder,
}

impl PrometheusServer {
    /// Starts one with `config` (YAML), in which the paths of rule files must be absolute.
    pub fn start(config: &str) -> Result<Self> {
        let program = program("prometheus", &["prometheus"])?;
        // An alert that fires before Prometheus has found its Alertmanager is sent again at once, not after a minute.
        let flags = ["--storage.tsdb.path=data", "--rules.alert.resend-delay=1s"];
        let (address, _, server) = start("prometheus", &program, config, &flags)?;
        Ok(Self { address, server })
    }

    /// The result of an instant query: an array of `{"metric": {…}, "value": [time, "text"]}`.
    pub fn query(&self, promql: &str) -> Result<Vec<Value>> {
        let encoded = utf8_percent_encode(promql, NON_ALPHANUMERIC);
        let answer = self.server.get(&format!("/api/v1/query?query={encoded}"))?;
        array(&answer, "/data/result")
    }

    /// The alerts that are pending or firing now: `{"labels": {…}, "state": …}` each.
    pub fn alerts(&self) -> Result<Vec<Value>> {
        array(&self.server.get("/api/v1/alerts")?, "/data/alerts")
    }

    /// The state of what it scrapes: `{"labels": {…}, "health": "up", "lastError": …}` each.
    pub fn targets(&self) -> Result<Vec<Value>> {
        array(&self.server.get("/api/v1/targets")?, "/data/activeTargets")
    }

    /// Replaces its configuration and has it read anew (SIGHUP).
    pub fn reload(&self, config: &str) -> Result<()> {
        fs::write(self.server.folder.0.join("config.yml"), config).context("write Prometheus's configuration")?;
        self.server.process.signal(Signal::HUP)
    }
}

impl AlertmanagerServer {
    /// Starts one with `config` (YAML).
    pub fn start(config: &str) -> Result<Self> {
        let program = program("prometheus-alertmanager", &["alertmanager", "prometheus-alertmanager"])?;
        let flags = ["--storage.path=data", "--cluster.listen-address="];
        let (address, target, server) = start("alertmanager", &program, config, &flags)?;
        Ok(Self { address, target, server })
    }

    /// The alerts that it holds now: `{"labels": {…}, "status": {…}}` each.
    pub fn alerts(&self) -> Result<Vec<Value>> {
        array(&self.server.get("/api/v2/alerts")?, "")
    }
}

impl Server {
    fn get(&self, path: &str) -> Result<Value> {
        let (status, answer) = self.http.call("GET", path, &[], None)?;
        ensure!(status == 200, "GET {path} answered {status}: {answer}");
        Ok(answer)
    }
}

/// Gives the address, the same without its scheme, and the server. Every flag but the listening address is in `flags`.
fn start(name: &str, program: &Path, config: &str, flags: &[&str]) -> Result<(String, String, Server)> {
    retry_bind(|| {
        let folder = Folder::new(run()?, name)?;
        fs::write(folder.0.join("config.yml"), config).with_context(|| format!("write the configuration of {name}"))?;
        let port = free_port()?;
        let target = format!("127.0.0.1:{port}");
        let address = format!("http://{target}");
        let http = Http::new(&address, None)?;
        let mut command = clean_command(program, &folder.0);
        command.arg(format!("--web.listen-address={target}")).arg("--config.file=config.yml").args(flags);
        let ready = || http.call("GET", "/-/ready", &[], None).is_ok_and(|(status, _)| status == 200);
        let process = start_server(name, command, Stop::Kill, &folder.0.join("server.log"), START_LIMIT, ready)?;
        Ok((address, target, Server { http, process, folder }))
    })
}

fn program(package: &str, names: &[&str]) -> Result<PathBuf> {
    find_program(names, &[]).with_context(|| format!("{} is not installed (Debian's {package}); `cargo xtask setup` installs it", names[0]))
}

fn array(answer: &Value, pointer: &str) -> Result<Vec<Value>> {
    let found = answer.pointer(pointer).and_then(Value::as_array);
    found.cloned().with_context(|| format!("the answer has no list at {pointer:?}: {answer}"))
}
