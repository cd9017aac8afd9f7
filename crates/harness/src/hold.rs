//! A stop on the way of a call: it comes there, waits, and goes on when a test says so, however long ago its sender was frozen.

use anyhow::Context;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Nothing that is held up has to wait longer; it goes on by itself then.
const LIMIT: Duration = Duration::from_mins(10);

/// A call that is held up, seen by the test. Dropping it lets the call go on.
pub struct Hold {
    what: String,
    came: Receiver<()>,
    gate: Sender<()>,
    answered: Receiver<String>,
}

/// The same, seen by the proxy on whose way it is.
pub(crate) struct Barrier {
    came: Sender<()>,
    gate: Receiver<()>,
    answered: Sender<String>,
}

/// Both sides of one stop; `what` is held up there.
pub(crate) fn hold(what: &str) -> (Hold, Barrier) {
    let ((came, has_come), (open, gate), (answered, answer)) = (channel(), channel(), channel());
    (Hold { what: what.to_owned(), came: has_come, gate: open, answered: answer }, Barrier { came, gate, answered })
}

impl Hold {
    /// Waits until the call is there.
    ///
    /// # Panics
    /// When it does not come within ten minutes.
    pub fn has_come(&self) {
        crate::or_panic(self.came.recv_timeout(LIMIT).with_context(|| format!("{} has not come", self.what)));
    }

    /// Lets it go on, and waits until its server has answered; the first line of the answer over HTTP, else nothing.
    ///
    /// # Panics
    /// When no answer comes within ten minutes, or its sender has given up the connection.
    pub fn release(self) -> String {
        // A proxy that has ended does not answer, which is said below.
        let _ = self.gate.send(());
        crate::or_panic(self.answered.recv_timeout(LIMIT).with_context(|| format!("{} was not answered", self.what)))
    }
}

impl Barrier {
    /// Says that the call is here, and waits until it may go on.
    pub(crate) fn wait(&self) {
        // A test that has ended lets everything go on.
        let _ = self.came.send(());
        let _ = self.gate.recv_timeout(LIMIT);
    }

    /// Says what the server answered.
    pub(crate) fn answered(&self, line: &str) {
        let _ = self.answered.send(line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_up_goes_on_when_it_is_released() {
        let (hold, barrier) = hold("it");
        let call = std::thread::spawn(move || {
            barrier.wait();
            barrier.answered("HTTP/1.1 200 OK");
        });
        hold.has_come();
        assert_eq!(hold.release(), "HTTP/1.1 200 OK");
        assert!(call.join().is_ok());
    }

    #[test]
    fn it_goes_on_too_when_nobody_holds_it_any_more() {
        let (hold, barrier) = hold("it");
        drop(hold);
        barrier.wait();
    }
}
