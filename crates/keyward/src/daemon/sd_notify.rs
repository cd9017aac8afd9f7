//! Tells the service manager how the daemon stands (`sd_notify(3)`): one datagram each to the socket that it named.
//!
//! It does nothing where no socket is named, and never fails the daemon: a message that is lost shows as a timeout there.

use super::pulse;
use super::shared::Shared;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The daemon is up (after a start) or has its new configuration (after [`reloading`]).
pub fn ready() {
    tell("READY=1");
}

/// A new configuration is being read; [`ready`] follows.
pub fn reloading() {
    tell("RELOADING=1");
}

/// The daemon is about to end.
pub fn stopping() {
    tell("STOPPING=1");
}

/// Feeds the watchdog at half of its interval, while the planner looks and while the daemon stops. Returns at once where none is asked for.
pub async fn feed_watchdog(shared: Arc<Shared>) {
    let variable = |name| std::env::var(name).ok();
    let Some(limit) = watchdog_limit(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id()) else {
        return;
    };
    let mut ticks = tokio::time::interval(limit / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match pulse::standing_still(&shared) {
            Some(why) if !shared.is_stopping() => {
                tracing::error!(why, "The watchdog is not fed; the service manager will restart the daemon.");
            }
            _ => tell("WATCHDOG=1"),
        }
    }
}

/// The watchdog's interval if it is meant for this process.
fn watchdog_limit(microseconds: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let limit = Duration::from_micros(microseconds?.parse().ok()?);
    (limit > Duration::from_millis(1)).then_some(limit)
}

fn tell(message: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|s| !s.is_empty()) else { return };
    if let Err(error) = send(&socket, message) {
        tracing::warn!(%error, message, "The service manager could not be told.");
    }
}

fn send(socket: &OsStr, message: &str) -> io::Result<()> {
    // A socket named with '@' is one of the abstract namespace, which no file stands for.
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_message_arrives_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let at_path = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(received(&at_path), "READY=1");
        let name = format!("keyward-test-{}", std::process::id());
        let abstractly = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        assert_eq!(received(&abstractly), "STOPPING=1");
    }

    #[test]
    fn nobody_at_the_socket_is_an_error_and_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        assert!(send(folder.path().join("nobody").as_os_str(), "READY=1").is_err());
    }

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let own = 42;
        assert_eq!(watchdog_limit(Some("30000000"), None, own), Some(Duration::from_secs(30)));
        assert_eq!(watchdog_limit(Some("30000000"), Some("42"), own), Some(Duration::from_secs(30)));
        for (limit, pid) in [(None, None), (Some("0"), None), (Some("x"), None), (Some("30000000"), Some("41"))] {
            assert_eq!(watchdog_limit(limit, pid, own), None, "{limit:?} {pid:?}");
        }
    }
}
