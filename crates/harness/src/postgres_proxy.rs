//! A way to a PostgreSQL server that can be watched: something is done at the very moment when the answer to a COMMIT passes, or a
//! statement is held up for as long as a test likes, and then goes on: as if its sender had been frozen.
//!
//! Speaks no TLS, since it has to read what passes; clients connect with `sslmode=disable`, or are told so.

use crate::hold::{Barrier, Hold, hold};
use crate::postgres::PostgresServer;
use crate::run::lock;
use anyhow::{Context, Result};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// No message of a handshake or an answer to a change is longer; longer ones (rows) pass in pieces, unread.
const READ_AT_ONCE: usize = 16 * 1024;
/// The first message of a client that asks for TLS, or for GSS encryption: its length, and a number that is no protocol version.
const ENCRYPTION_REQUESTS: [[u8; 8]; 2] = [[0, 0, 0, 8, 4, 210, 22, 47], [0, 0, 0, 8, 4, 210, 22, 48]];

type Act = Box<dyn FnOnce() + Send>;

/// A proxy on 127.0.0.1; it ends when dropped, and with it every connection through it.
pub struct PostgresProxy {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    at_commit: Mutex<Option<Act>>,
    held: Mutex<Option<Held>>,
    connections: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

/// The statement that is to be held up.
struct Held {
    text: String,
    /// So many that hold this text pass before the one that is meant.
    pass: usize,
    barrier: Barrier,
}

/// What was held up on a connection and has gone on: it is answered when the server is ready for the next.
type Awaited = Mutex<Option<Barrier>>;

impl PostgresProxy {
    /// Starts one in front of a server.
    pub fn start(postgres: &PostgresServer) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for the proxy")?;
        let (port, shared) = (listener.local_addr().context("the proxy's address")?.port(), Arc::new(Shared::default()));
        let (server, own) = ((postgres.host.clone(), postgres.port), Arc::clone(&shared));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if own.is_over.load(Ordering::Relaxed) {
                    return;
                }
                // A client or a server that is gone is no failure of the proxy: whoever waits on it hears of it.
                let _ = client.and_then(|client| connect(client, &server, &own));
            }
        });
        Ok(Self { port, shared })
    }

    /// Does this when the server has answered the next COMMIT, before the client hears of it.
    pub fn at_next_commit(&self, act: impl FnOnce() + Send + 'static) {
        *lock(&self.shared.at_commit) = Some(Box::new(act));
    }

    /// Holds up the next message from a client in which this text stands, after `pass` of them.
    #[must_use]
    pub fn hold(&self, text: &str, pass: usize) -> Hold {
        let (held, barrier) = hold(text);
        *lock(&self.shared.held) = Some(Held { text: text.to_owned(), pass, barrier });
        held
    }

    /// Whether what [`Self::at_next_commit`] was given has been begun.
    pub fn was_triggered(&self) -> bool {
        lock(&self.shared.at_commit).is_none()
    }
}

impl Drop for PostgresProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for connection in lock(&self.shared.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn connect(mut client: TcpStream, server: &(String, u16), shared: &Arc<Shared>) -> io::Result<()> {
    let mut upstream = TcpStream::connect((server.0.as_str(), server.1))?;
    lock(&shared.connections).extend([client.try_clone()?, upstream.try_clone()?]);
    let (mut answers, mut to_client, awaited) = (upstream.try_clone()?, client.try_clone()?, Arc::new(Awaited::default()));
    let (own, waiting) = (Arc::clone(shared), Arc::clone(&awaited));
    std::thread::spawn(move || {
        let _ = pass_answers(&mut answers, &mut to_client, &own, &waiting);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let own = Arc::clone(shared);
    std::thread::spawn(move || {
        let _ = pass_requests(&mut client, &mut upstream, &own, &awaited);
        let _ = upstream.shutdown(Shutdown::Both);
    });
    Ok(())
}

fn pass_requests(client: &mut TcpStream, upstream: &mut TcpStream, shared: &Shared, awaited: &Awaited) -> io::Result<()> {
    let mut first = [0; 8];
    client.read_exact(&mut first)?;
    while ENCRYPTION_REQUESTS.contains(&first) {
        client.write_all(b"N")?;
        client.read_exact(&mut first)?;
    }
    upstream.write_all(&first)?;
    let rest = u32::from_be_bytes([first[0], first[1], first[2], first[3]]).saturating_sub(8);
    io::copy(&mut client.take(u64::from(rest)), upstream)?;
    loop {
        let (head, body, rest) = read_message(client)?;
        if let Some(barrier) = shared.meant(&body) {
            barrier.wait();
            *lock(awaited) = Some(barrier);
        }
        upstream.write_all(&head)?;
        upstream.write_all(&body)?;
        io::copy(&mut client.take(rest), upstream)?;
    }
}

fn pass_answers(server: &mut TcpStream, client: &mut TcpStream, shared: &Shared, awaited: &Awaited) -> io::Result<()> {
    loop {
        let (head, body, rest) = read_message(server)?;
        if head[0] == b'C' && body.starts_with(b"COMMIT\0") {
            let act = lock(&shared.at_commit).take();
            if let Some(act) = act {
                act();
            }
        }
        let passed = client.write_all(&head).and_then(|()| client.write_all(&body)).and_then(|()| io::copy(&mut server.take(rest), client));
        if head[0] == b'Z'
            && let Some(barrier) = lock(awaited).take()
        {
            barrier.answered("");
        }
        passed?;
    }
}

/// A message: a letter, a length that counts itself, a body. Of a long body only the beginning is read, and how much is left is said.
fn read_message(from: &mut TcpStream) -> io::Result<([u8; 5], Vec<u8>, u64)> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]).saturating_sub(4);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut body = vec![0; length.min(READ_AT_ONCE)];
    from.read_exact(&mut body)?;
    Ok((head, body, (length - length.min(READ_AT_ONCE)) as u64))
}

impl Shared {
    /// The stop for this message, if it is the one that is meant.
    fn meant(&self, body: &[u8]) -> Option<Barrier> {
        let mut held = lock(&self.held);
        let meant = held.as_mut().filter(|held| memchr::memmem::find(body, held.text.as_bytes()).is_some())?;
        if meant.pass > 0 {
            meant.pass -= 1;
            return None;
        }
        held.take().map(|held| held.barrier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_waits_for_its_statement() {
        let (_, barrier) = hold("it");
        let shared = Shared { held: Mutex::new(Some(Held { text: "apply".into(), pass: 1, barrier })), ..Shared::default() };
        assert!(shared.meant(b"SELECT 1").is_none() && shared.meant(b"SELECT apply(1)").is_none());
        assert!(shared.meant(b"SELECT apply(2)").is_some());
        assert!(shared.meant(b"SELECT apply(3)").is_none());
    }
}
