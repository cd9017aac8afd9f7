//! A listener on 127.0.0.1 whose connections end with it: what every way stands on.

use crate::run::lock;
use anyhow::{Context, Result};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Shared {
    connections: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

/// Accepts until it is dropped, and closes every connection then.
pub(crate) struct Listening {
    /// Where.
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

impl Listening {
    /// Every connection is served in a thread of its own. A client that is gone is no failure: whoever waits on it hears of it.
    pub(crate) fn start(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for a way")?;
        let port = listener.local_addr().context("the way's address")?.port();
        let (shared, serve) = (Arc::new(Shared::default()), Arc::new(serve));
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if own.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let Ok(held) = client.try_clone() else { continue };
                let (serve, own) = (Arc::clone(&serve), Arc::clone(&own));
                lock(&own.connections).push(held);
                std::thread::spawn(move || {
                    let ended = client.try_clone();
                    let _ = serve(client);
                    if let Ok(ended) = ended {
                        let _ = ended.shutdown(Shutdown::Both);
                    }
                    // Those that have ended are let go, so that a long test does not run out of files.
                    lock(&own.connections).retain(|held| held.peer_addr().is_ok());
                });
            }
        });
        Ok(Self { port, shared })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for connection in lock(&self.shared.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}
