//! A way to an HTTP server on which every call can be seen, and one of them made to go wrong.
//!
//! Plain HTTP on 127.0.0.1, which Keyward allows there. It never changes what passes: a fault is a status instead of an answer, no
//! answer, a late one, or something done at the very moment before the call reaches the server or before its answer is seen. A call
//! can also be held up there for as long as a test likes, and then go on: as if its sender had been frozen.

use crate::http::Http;
use crate::listening::Listening;
use crate::traffic::{Fault, Reply, Traffic, carry_out};
use anyhow::Result;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// Longer bodies are no call of Keyward's.
const LONGEST_BODY: usize = 32 << 20;

/// A proxy in front of one server; it ends when dropped.
pub struct HttpWay {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    _listening: Listening,
}

impl HttpWay {
    /// Starts one in front of the server at `base`. Calls are named `METHOD PATH`, behind the way's name where it has one.
    pub fn start(traffic: &Arc<Traffic>, name: &str, base: &str, ca_pem: Option<&Path>) -> Result<Self> {
        let (traffic, name, upstream) = (Arc::clone(traffic), name.to_owned(), Http::new(base, ca_pem)?);
        let listening = Listening::start(move |client| serve(client, &traffic, &name, &upstream))?;
        Ok(Self { address: format!("http://127.0.0.1:{}", listening.port), _listening: listening })
    }
}

struct Call {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    /// Without what stands in the query.
    fn name(&self, way: &str) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        if way.is_empty() {
            format!("{} {}", self.method, path.trim_start_matches("/v1/"))
        } else {
            format!("{way} {} {path}", self.method)
        }
    }
}

fn serve(client: TcpStream, traffic: &Traffic, way: &str, upstream: &Http) -> io::Result<()> {
    let mut writer = client.try_clone()?;
    let mut reader = BufReader::new(client);
    while let Some(call) = read_call(&mut reader)? {
        let send = || upstream.raw(&call.method, &call.target, &call.headers, &call.body).map_err(io::Error::other);
        let reply = carry_out(traffic.note(way, &call.name(way)), send, refuse, first_line)?;
        if !reply.tell(&mut writer)? {
            break;
        }
    }
    Ok(())
}

/// A refusal has a status over HTTP; without one, there is no answer.
fn refuse(fault: Fault) -> Reply {
    let Fault::Status(status) = fault else { return Reply::End(Vec::new()) };
    let body = "{\"errors\":[\"planned by a test\"]}";
    let head = format!("HTTP/1.1 {status} Planned\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    Reply::Answer([head.as_bytes(), body.as_bytes()].concat())
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
        assert_eq!((call.name("").as_str(), call.name("shop").as_str()), ("PATCH kv/data/a", "shop PATCH /v1/kv/data/a"));
        assert_eq!(call.headers, [("x-vault-token".to_owned(), "t".to_owned())]);
        assert_eq!(read_call(&mut reader).ok().flatten().map(|c| c.target), Some("/v1/b".into()));
        assert!(read_call(&mut reader).is_ok_and(|call| call.is_none()));
    }
}
