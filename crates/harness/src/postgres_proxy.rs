//! A way to a PostgreSQL server that can be watched: something is done at the very moment when the answer to a COMMIT passes.
//!
//! Speaks no TLS, since it has to read what passes; clients connect with `sslmode=disable`, or are told so.

use crate::postgres::PostgresServer;
use crate::run::lock;
use anyhow::{Context, Result};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// No message of a handshake or an answer to a change is longer; longer ones (rows) pass in pieces, unread.
const READ_AT_ONCE: usize = 16 * 1024;
/// The first message of a client that asks for TLS: its length, and a number that is no protocol version.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

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
    connections: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

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
    let (mut answers, mut to_client, own) = (upstream.try_clone()?, client.try_clone()?, Arc::clone(shared));
    std::thread::spawn(move || {
        let _ = pass_answers(&mut answers, &mut to_client, &own);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let _ = pass_requests(&mut client, &mut upstream);
        let _ = upstream.shutdown(Shutdown::Both);
    });
    Ok(())
}

fn pass_requests(client: &mut TcpStream, upstream: &mut TcpStream) -> io::Result<()> {
    let mut first = [0; 8];
    client.read_exact(&mut first)?;
    if first == TLS_REQUEST {
        client.write_all(b"N")?;
    } else {
        upstream.write_all(&first)?;
    }
    io::copy(client, upstream).map(drop)
}

/// Message by message: a letter, a length that counts itself, a body.
fn pass_answers(server: &mut TcpStream, client: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]).saturating_sub(4);
        let mut rest = usize::try_from(length).unwrap_or(usize::MAX);
        let mut body = vec![0; rest.min(READ_AT_ONCE)];
        server.read_exact(&mut body)?;
        if head[0] == b'C' && body.starts_with(b"COMMIT\0") {
            let act = lock(&shared.at_commit).take();
            if let Some(act) = act {
                act();
            }
        }
        client.write_all(&head)?;
        client.write_all(&body)?;
        rest -= body.len();
        io::copy(&mut server.take(rest as u64), client)?;
    }
}
