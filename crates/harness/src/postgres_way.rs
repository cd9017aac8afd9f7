//! A way to a PostgreSQL server on which every login and every statement can be seen, and one of them made to go wrong.
//!
//! Speaks no TLS, since it has to read what passes; clients connect with `sslmode=disable`. It never changes what passes. A login or a
//! statement is one exchange: it ends when the server says that it is ready for the next, or refuses the login.

use crate::listening::Listening;
use crate::postgres::PostgresServer;
use crate::traffic::{Fault, Reply, Traffic, carry_out};
use anyhow::Result;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// Longer messages are none of Keyward's.
const LONGEST_MESSAGE: usize = 16 << 20;
/// The first message of a client that asks for TLS: its length, and a number that is no protocol version.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Names who logs in, so that users who take turns have one name: a user to a word.
pub type Who = Box<dyn Fn(&str) -> String + Send + Sync>;

/// A proxy in front of one server; it ends when dropped.
pub struct PostgresWay {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    _listening: Listening,
}

impl PostgresWay {
    /// Starts one. Exchanges are named `postgres WHO login` and `postgres WHO STATEMENT`, the statement without its values.
    pub fn start(traffic: &Arc<Traffic>, postgres: &PostgresServer, who: Who) -> Result<Self> {
        let (traffic, server) = (Arc::clone(traffic), (postgres.host.clone(), postgres.port));
        let listening = Listening::start(move |client| {
            let upstream = TcpStream::connect((server.0.as_str(), server.1))?;
            Way { client, server: upstream, traffic: &traffic }.serve(&who)
        })?;
        Ok(Self { port: listening.port, _listening: listening })
    }
}

const WAY: &str = "postgres";

struct Way<'a> {
    client: TcpStream,
    server: TcpStream,
    traffic: &'a Traffic,
}

/// Whether the connection goes on.
type GoesOn = io::Result<bool>;

impl Way<'_> {
    fn serve(mut self, who: &Who) -> io::Result<()> {
        let start = self.start_up()?;
        if start.get(4..8) != Some(&[0, 3, 0, 0]) {
            // A request to cancel: it has no answer.
            return self.server.write_all(&start);
        }
        let user = who(&user(&start));
        if !self.exchange(&format!("{WAY} {user} login"), &start, Self::log_in)? {
            return Ok(());
        }
        // What the client has said of its next statement.
        let (mut said, mut name) = (Vec::new(), String::new());
        loop {
            let message = read_message(&mut self.client)?;
            match message.first() {
                Some(b'Q') => name = label(text_of(message.get(5..).unwrap_or_default())),
                Some(b'P') => name = label(text_of(after_text(message.get(5..).unwrap_or_default()))),
                Some(b'X') => return self.server.write_all(&message),
                _ => {}
            }
            let is_whole = matches!(message.first(), Some(b'Q' | b'S'));
            said.extend(message);
            if is_whole {
                let name = std::mem::take(&mut name);
                let name = format!("{WAY} {user} {}", if name.is_empty() { "more of it" } else { &name });
                if !self.exchange(&name, &std::mem::take(&mut said), Self::answer)? {
                    return Ok(());
                }
            }
        }
    }

    /// The first message; a wish for TLS before it is refused.
    fn start_up(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut first = [0; 8];
            self.client.read_exact(&mut first)?;
            if first == TLS_REQUEST {
                self.client.write_all(b"N")?;
                continue;
            }
            let length = usize::try_from(u32::from_be_bytes([first[0], first[1], first[2], first[3]])).unwrap_or(usize::MAX);
            let mut message = first.to_vec();
            message.resize(length.clamp(8, LONGEST_MESSAGE), 0);
            let (_, rest) = message.split_at_mut(8);
            self.client.read_exact(rest)?;
            return Ok(message);
        }
    }

    fn exchange(&mut self, name: &str, question: &[u8], answer: impl Fn(&mut Self, &[u8]) -> io::Result<Vec<u8>>) -> GoesOn {
        let plan = self.traffic.note(WAY, name);
        match carry_out(plan, || answer(self, question), refuse, |_| String::new())? {
            Reply::Answer(answer) if !goes_on(&answer) => Reply::End(answer),
            reply => reply,
        }
        .tell(&mut self.client)
    }

    /// The conversation of a login, up to its end; the last messages, which the client has not seen yet.
    fn log_in(&mut self, start: &[u8]) -> io::Result<Vec<u8>> {
        self.server.write_all(start)?;
        let mut last = Vec::new();
        loop {
            let message = read_message(&mut self.server)?;
            match message.first() {
                // The server asks for something: a mechanism, a proof. The final word of a proof and "you are in" want no answer.
                Some(b'R') if !matches!(message.get(5..9), Some([0, 0, 0, 0 | 12])) => {
                    last.extend(message);
                    self.client.write_all(&std::mem::take(&mut last))?;
                    let proof = read_message(&mut self.client)?;
                    self.server.write_all(&proof)?;
                }
                Some(b'E' | b'Z') => {
                    last.extend(message);
                    return Ok(last);
                }
                _ => last.extend(message),
            }
        }
    }

    fn answer(&mut self, question: &[u8]) -> io::Result<Vec<u8>> {
        self.server.write_all(question)?;
        let mut all = Vec::new();
        loop {
            let message = read_message(&mut self.server)?;
            let is_last = message.first() == Some(&b'Z');
            all.extend(message);
            if is_last {
                return Ok(all);
            }
        }
    }
}

/// An answer whose last message says that the server is ready.
fn goes_on(answer: &[u8]) -> bool {
    answer.len() >= 6 && answer.get(answer.len() - 6) == Some(&b'Z')
}

/// One message: a letter, a length that counts itself, a body.
fn read_message(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message)?;
    let length = message.get(1..5).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(4..LONGEST_MESSAGE).contains(&length) {
        return Err(io::Error::other("a message that is too long"));
    }
    message.resize(length + 1, 0);
    let (_, body) = message.split_at_mut(5);
    from.read_exact(body)?;
    Ok(message)
}

fn refuse(fault: Fault) -> Reply {
    let Fault::Refused(state) = fault else { return Reply::End(Vec::new()) };
    Reply::End(refusal(state))
}

/// A server's refusal as it ends a connection.
fn refusal(state: &str) -> Vec<u8> {
    let body = format!("SFATAL\0VFATAL\0C{state}\0Mplanned by a test\0\0");
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [b"E".as_slice(), &length.to_be_bytes(), body.as_bytes()].concat()
}

/// The user in a start-up message.
fn user(start: &[u8]) -> String {
    let words: Vec<&[u8]> = start.get(8..).unwrap_or_default().split(|b| *b == 0).collect();
    let named = words.chunks(2).find(|pair| pair.first() == Some(&b"user".as_slice()));
    named.and_then(|pair| pair.get(1)).map(|user| String::from_utf8_lossy(user).into_owned()).unwrap_or_default()
}

fn text_of(bytes: &[u8]) -> &str {
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
    std::str::from_utf8(text).unwrap_or_default()
}

fn after_text(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|b| *b == 0).and_then(|end| bytes.get(end + 1..)).unwrap_or_default()
}

/// A statement in a word or two that hold none of its values: the function of Keyward's fence that it calls, or what it does.
fn label(sql: &str) -> String {
    if let Some((_, rest)) = sql.split_once("keyward.") {
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        return format!("keyward.{name}");
    }
    let words: Vec<&str> = sql.split_whitespace().take(2).map(|word| word.trim_end_matches([';', ','])).collect();
    match words.as_slice() {
        [first, second] if second.bytes().all(|b| b.is_ascii_uppercase()) => format!("{first} {second}"),
        [first, ..] => (*first).to_owned(),
        [] => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_without_its_values() {
        for (sql, name) in [
            ("SELECT outcome FROM keyward.apply($1, $2)", "keyward.apply"),
            ("INSERT INTO keyward.role_fence AS f (role)", "keyward.role_fence"),
            ("BEGIN TRANSACTION READ ONLY; SET LOCAL x = 1", "BEGIN TRANSACTION"),
            ("ROLLBACK", "ROLLBACK"),
            ("ALTER ROLE \"v-x\" WITH PASSWORD 'secret'", "ALTER ROLE"),
            ("SELECT 1", "SELECT"),
            ("", "nothing"),
        ] {
            assert_eq!(label(sql), name, "{sql}");
        }
    }

    #[test]
    fn a_start_up_names_its_user() {
        assert_eq!(user(b"\0\0\0\x20\0\x03\0\0database\0d\0user\0keeper\0\0"), "keeper");
        assert_eq!(user(b"\0\0\0\x08\0\x03\0\0"), "");
    }

    #[test]
    fn only_an_answer_that_ends_in_readiness_goes_on() {
        assert!(goes_on(b"CxxxxxZ\0\0\0\x05I") && !goes_on(&refusal("53300")) && !goes_on(b"Z"));
    }
}
