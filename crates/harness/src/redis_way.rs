//! A way to a Redis node on which every command can be seen, and one of them made to go wrong.
//!
//! Speaks no TLS, since it has to read what passes. It never changes what passes.

use crate::listening::Listening;
use crate::redis::RedisServer;
use crate::traffic::{Fault, Reply, Traffic, carry_out};
use anyhow::Result;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// Longer commands and answers are none of Keyward's.
const LONGEST: usize = 16 << 20;

/// A proxy in front of one node; it ends when dropped.
pub struct RedisWay {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    _listening: Listening,
}

impl RedisWay {
    /// Starts one. Exchanges are named `NAME COMMAND`, such as `redis-1 ACL SETUSER`.
    pub fn start(traffic: &Arc<Traffic>, name: &str, redis: &RedisServer) -> Result<Self> {
        let (traffic, name, port) = (Arc::clone(traffic), name.to_owned(), redis.port);
        let listening = Listening::start(move |client| serve(client, TcpStream::connect(("127.0.0.1", port))?, &traffic, &name))?;
        Ok(Self { port: listening.port, _listening: listening })
    }
}

fn serve(client: TcpStream, server: TcpStream, traffic: &Traffic, way: &str) -> io::Result<()> {
    let (mut to_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let (mut from_client, mut from_server) = (BufReader::new(client), BufReader::new(server));
    while let Some(command) = read_value(&mut from_client)? {
        let send = || {
            to_server.write_all(&command)?;
            read_value(&mut from_server)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        let plan = traffic.note(way, &format!("{way} {}", name_of(&command)));
        let reply = carry_out(plan, send, refuse, |_| String::new())?;
        if !reply.tell(&mut to_client)? {
            break;
        }
    }
    Ok(())
}

fn refuse(fault: Fault) -> Reply {
    let Fault::Refused(words) = fault else { return Reply::End(Vec::new()) };
    Reply::End(format!("-{words}\r\n").into_bytes())
}

/// One value of the protocol (RESP 2 and 3) as it travels; `None` at the end of the stream.
fn read_value(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut value = Vec::new();
    // Values that are still to come.
    let mut left = 1_usize;
    while left > 0 {
        let mut line = Vec::new();
        if from.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line)? == 0 {
            return if value.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        left -= 1;
        let number = std::str::from_utf8(line.get(1..).unwrap_or_default()).ok().and_then(|text| text.trim().parse::<i64>().ok());
        // Minus one stands for nothing.
        let number = usize::try_from(number.unwrap_or(0)).unwrap_or(0);
        if number > LONGEST || value.len() > LONGEST {
            return Err(io::Error::other("a value that is too long"));
        }
        let is_bulk = matches!(line.first(), Some(b'$' | b'=' | b'!')) && !line.starts_with(b"$-1");
        match line.first() {
            Some(b'*' | b'~' | b'>') => left += number,
            Some(b'%') => left += 2 * number,
            _ => {}
        }
        value.extend(line);
        if is_bulk {
            let begin = value.len();
            value.resize(begin + number + 2, 0);
            let (_, body) = value.split_at_mut(begin);
            from.read_exact(body)?;
        }
    }
    Ok(Some(value))
}

/// The command, with its subcommand where it has one; never an argument.
fn name_of(command: &[u8]) -> String {
    let mut words = command.split(|b| *b == b'\n').skip(2).step_by(2);
    let mut word = || words.next().map(|word| String::from_utf8_lossy(word).trim().to_ascii_uppercase()).unwrap_or_default();
    let first = word();
    if ["ACL", "CONFIG", "CLIENT", "INFO"].contains(&first.as_str()) { format!("{first} {}", word()) } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| read_value(&mut bytes).unwrap_or_else(|e| panic!("{e}"))).collect()
    }

    #[test]
    fn values_are_told_apart_whatever_they_are_made_of() {
        let all =
            ["+OK\r\n", "*2\r\n$3\r\nfoo\r\n*1\r\n:5\r\n", "$-1\r\n", "*-1\r\n", "%1\r\n+a\r\n$2\r\n\r\n\r\n", "-ERR no\r\n", "$0\r\n\r\n"];
        assert_eq!(values(all.concat().as_bytes()), all.map(|one| one.as_bytes().to_vec()));
    }

    #[test]
    fn a_command_is_named_without_its_arguments() {
        assert_eq!(name_of(b"*4\r\n$3\r\nACL\r\n$7\r\nSETUSER\r\n$3\r\napp\r\n$6\r\n#ab12c\r\n"), "ACL SETUSER");
        assert_eq!(name_of(b"*3\r\n$4\r\nauth\r\n$3\r\napp\r\n$6\r\nhidden\r\n"), "AUTH");
    }
}
