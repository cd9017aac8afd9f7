//! A way to a Vault server on which every call can be seen, and one of them made to go wrong.
//!
//! Plain HTTP on 127.0.0.1, which Keyward allows there. It never changes what passes: a fault is a status instead of an answer, no
//! answer, a late one, or something done at the very moment before the call reaches the server or before its answer is seen. A call
//! can also be held up there for as long as a test likes, and then go on: as if its sender had been frozen.

use crate::hold::{Barrier, Hold, hold};
use crate::http::Http;
use crate::run::lock;
use crate::vault::VaultServer;
use anyhow::{Context, Result};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer bodies are no call of Keyward's.
const LONGEST_BODY: usize = 32 << 20;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before the call reaches the server.
    NotSent,
    /// The server does it, and its answer is lost.
    AnswerLost,
    /// The call does not reach the server; this status is the answer.
    Status(u16),
    /// The server's answer comes so much later.
    Late(Duration),
}

/// At which moment of a call something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The call has not reached the server.
    Before,
    /// The server has done it, nobody has heard of it.
    After,
}

type Act = Box<dyn FnOnce() + Send>;

enum Plan {
    Fault(Fault),
    /// Done once; the connection is closed afterwards.
    Act(Moment, Act),
    Hold(Moment, Barrier),
}

/// The call for which something is planned.
struct Planned {
    call: String,
    /// So many of these calls pass before the one that is meant.
    pass: usize,
    /// Further calls like it meet the same fault.
    again: usize,
    plan: Option<Plan>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<String>>,
    planned: Mutex<Option<Planned>>,
    connections: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

/// A proxy in front of one server; it ends when dropped.
pub struct VaultProxy {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    shared: Arc<Shared>,
}

impl VaultProxy {
    /// Starts one in front of a server.
    pub fn start(vault: &VaultServer) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for the proxy")?;
        let address = format!("http://{}", listener.local_addr().context("the proxy's address")?);
        let (shared, upstream) = (Arc::new(Shared::default()), Http::new(&vault.address, Some(&vault.ca_pem_path))?);
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if own.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let (own, upstream) = (Arc::clone(&own), upstream.clone());
                // A client that is gone is no failure of the proxy.
                std::thread::spawn(move || drop(serve(client, &own, &upstream)));
            }
        });
        Ok(Self { address, shared })
    }

    /// The calls that passed since this was last asked, as `METHOD PATH` without `/v1/`.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.seen))
    }

    /// Plans a fault for the call `call` (as in [`Self::seen`]) after `pass` of them, and for `again` more after that.
    pub fn plan(&self, call: &str, pass: usize, again: usize, fault: Fault) {
        *lock(&self.shared.planned) = Some(Planned { call: call.to_owned(), pass, again, plan: Some(Plan::Fault(fault)) });
    }

    /// Plans an act at a moment of the call `call` after `pass` of them.
    pub fn act(&self, call: &str, pass: usize, moment: Moment, act: impl FnOnce() + Send + 'static) {
        let plan = Some(Plan::Act(moment, Box::new(act)));
        *lock(&self.shared.planned) = Some(Planned { call: call.to_owned(), pass, again: 0, plan });
    }

    /// Holds up the call `call` after `pass` of them, before it reaches the server or before its answer is seen.
    #[must_use]
    pub fn hold(&self, call: &str, pass: usize, moment: Moment) -> Hold {
        let (held, barrier) = hold(call);
        *lock(&self.shared.planned) = Some(Planned { call: call.to_owned(), pass, again: 0, plan: Some(Plan::Hold(moment, barrier)) });
        held
    }

    /// Nothing is planned any more. Whether something was, that did not happen.
    pub fn clear(&self) -> bool {
        lock(&self.shared.planned).take().is_some_and(|planned| planned.plan.is_some())
    }

    /// Whether what was planned has happened.
    pub fn has_happened(&self) -> bool {
        lock(&self.shared.planned).as_ref().is_none_or(|planned| planned.plan.is_none())
    }
}

impl Drop for VaultProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for connection in lock(&self.shared.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the listener, which then ends.
        let _ = self.address.strip_prefix("http://").map(TcpStream::connect);
    }
}

impl Shared {
    /// Notes a call; what is planned for it.
    fn note(&self, call: &str) -> Option<Plan> {
        lock(&self.seen).push(call.to_owned());
        let mut planned = lock(&self.planned);
        let meant = planned.as_mut().filter(|planned| planned.call == call && planned.plan.is_some())?;
        if meant.pass > 0 {
            meant.pass -= 1;
            return None;
        }
        if meant.again > 0
            && let Some(Plan::Fault(fault)) = &meant.plan
        {
            meant.again -= 1;
            return Some(Plan::Fault(*fault));
        }
        meant.plan.take()
    }
}

struct Call {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn serve(client: TcpStream, shared: &Shared, upstream: &Http) -> io::Result<()> {
    lock(&shared.connections).push(client.try_clone()?);
    let mut writer = client.try_clone()?;
    let mut reader = BufReader::new(client);
    while let Some(call) = read_call(&mut reader)? {
        let path = call.target.trim_start_matches("/v1/");
        let name = format!("{} {}", call.method, path.split('?').next().unwrap_or_default());
        let send = || upstream.raw(&call.method, &call.target, &call.headers, &call.body).map_err(io::Error::other);
        match shared.note(&name) {
            None => writer.write_all(&send()?)?,
            Some(Plan::Fault(Fault::Late(time))) => {
                let answer = send()?;
                std::thread::sleep(time);
                writer.write_all(&answer)?;
            }
            Some(Plan::Fault(Fault::Status(status))) => {
                let body = "{\"errors\":[\"planned by a test\"]}";
                write!(
                    writer,
                    "HTTP/1.1 {status} Planned\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )?;
            }
            Some(Plan::Fault(Fault::NotSent)) => return writer.shutdown(Shutdown::Both),
            Some(Plan::Fault(Fault::AnswerLost)) => {
                send()?;
                return writer.shutdown(Shutdown::Both);
            }
            Some(Plan::Hold(moment, barrier)) => {
                let done = if moment == Moment::After { Some(send()?) } else { None };
                barrier.wait();
                let answer = done.map_or_else(send, Ok)?;
                barrier.answered(&first_line(&answer));
                writer.write_all(&answer)?;
            }
            Some(Plan::Act(moment, act)) => {
                if moment == Moment::After {
                    send()?;
                }
                act();
                return writer.shutdown(Shutdown::Both);
            }
        }
    }
    Ok(())
}

fn first_line(answer: &[u8]) -> String {
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

/// One call; `None` when the client has closed the connection.
fn read_call(reader: &mut impl BufRead) -> io::Result<Option<Call>> {
    let Some(first) = read_line(reader)? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(io::Error::other("no request line")) };
    let (mut headers, mut length) = (Vec::new(), 0);
    while let Some(line) = read_line(reader)?.filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        match name.as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "host" | "connection" | "accept-encoding" => {}
            _ => headers.push((name, value)),
        }
    }
    if length > LONGEST_BODY {
        return Err(io::Error::other("a body that is too long"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Call { method, target, headers, body }))
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if reader.take(64 << 10).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_with_its_body_and_the_connection_goes_on() {
        let text =
            "PATCH /v1/kv/data/a?x=1 HTTP/1.1\r\nHost: h\r\nX-Vault-Token: t\r\nContent-Length: 2\r\n\r\n{}GET /v1/b HTTP/1.1\r\n\r\n";
        let mut reader = text.as_bytes();
        let call = read_call(&mut reader).ok().flatten().unwrap_or_else(|| panic!());
        assert_eq!((call.method.as_str(), call.target.as_str(), call.body.as_slice()), ("PATCH", "/v1/kv/data/a?x=1", b"{}".as_slice()));
        assert_eq!(call.headers, [("x-vault-token".to_owned(), "t".to_owned())]);
        assert_eq!(read_call(&mut reader).ok().flatten().map(|c| c.target), Some("/v1/b".into()));
        assert!(read_call(&mut reader).is_ok_and(|call| call.is_none()));
    }

    #[test]
    fn a_plan_waits_for_its_call() {
        let shared = Shared::default();
        *lock(&shared.planned) = Some(Planned { call: "GET a".into(), pass: 1, again: 0, plan: Some(Plan::Fault(Fault::NotSent)) });
        assert!(shared.note("GET b").is_none() && shared.note("GET a").is_none());
        assert!(matches!(shared.note("GET a"), Some(Plan::Fault(Fault::NotSent))));
        assert!(shared.note("GET a").is_none());
    }
}
