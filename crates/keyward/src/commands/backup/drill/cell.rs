//! The cell from within: a network that is loopback and nothing else, and a root folder that holds a server's program and its libraries.
//!
//! **Invariant:** a server is started only after the kernel has said that there is no interface but loopback.

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount_bind, mount_bind_recursive, mount_remount};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Loopback is the first interface of every network.
const LOOPBACK: i32 = 1;
const IFF_UP: u32 = 1;
const RTM_NEWLINK: u16 = 16;
/// A request that wants an acknowledgement.
const REQUEST: u16 = 1 | 4;
const NLMSG_ERROR: u16 = 2;

/// Sees that there is no way out, and switches loopback on.
///
/// # Errors
/// There is another interface: this is no cell.
pub fn close() -> Result<()> {
    let table = fs::read_to_string("/proc/net/dev").context("cannot see which networks there are")?;
    let others: Vec<&str> = interfaces(&table).filter(|name| *name != "lo").collect();
    if !others.is_empty() {
        bail!("there is a way out of here ({}), so nothing is run", others.join(", "));
    }
    // Without a further protocol, netlink is about routes and interfaces.
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).context("cannot ask for loopback")?;
    rustix::net::sendto(&socket, &switch_on(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).context("cannot ask for loopback")?;
    let mut answer = [0_u8; 64];
    rustix::net::recv(&socket, &mut answer, RecvFlags::empty()).context("loopback does not answer")?;
    if is_done(&answer) { Ok(()) } else { bail!("the kernel does not switch loopback on") }
}

/// The interfaces in the kernel's table, whose first two lines are its head.
fn interfaces(table: &str) -> impl Iterator<Item = &str> {
    table.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim())
}

/// The message by which loopback is switched on (rtnetlink(7)).
fn switch_on() -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]); // number and sender
    message.extend([0; 4]); // no address family, no type
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes()); // so it shall be
    message.extend(IFF_UP.to_ne_bytes()); // and only that is meant
    message
}

/// Whether the answer is an acknowledgement: an error message with the error 0.
fn is_done(answer: &[u8; 64]) -> bool {
    answer.get(4..6) == Some(&NLMSG_ERROR.to_ne_bytes()) && answer.get(16..20) == Some(&[0; 4])
}

/// Makes a root folder for a server's program and gives the program's path in it. What the server writes anywhere stays below `root`.
///
/// # Errors
/// The kernel's.
pub fn furnish(root: &Path, program: &Path) -> Result<PathBuf> {
    let made = |path: &Path| format!("cannot make {}", path.display());
    for name in ["etc", "tmp", "drill", "dev"] {
        fs::create_dir_all(root.join(name)).with_context(|| made(&root.join(name)))?;
    }
    // A program that is linked dynamically needs its libraries; Vault's own builds are not, OpenBao's may be.
    for name in ["usr", "lib", "lib64"] {
        let (there, here) = (Path::new("/").join(name), root.join(name));
        match fs::read_link(&there) {
            Ok(target) => std::os::unix::fs::symlink(target, &here).with_context(|| made(&here))?,
            Err(_) if there.is_dir() => {
                fs::create_dir(&here).with_context(|| made(&here))?;
                mount_bind_recursive(&there, &here).with_context(|| format!("cannot mount {}", here.display()))?;
                // Where that is refused, the server's user may write nothing there in any case.
                let _ = mount_remount(&here, MountFlags::BIND | MountFlags::RDONLY, c"");
            }
            Err(_) => {}
        }
    }
    for name in ["null", "urandom", "random"] {
        let here = root.join("dev").join(name);
        File::create(&here).with_context(|| made(&here))?;
        mount_bind(Path::new("/dev").join(name), &here).with_context(|| format!("cannot mount {}", here.display()))?;
    }
    let here = root.join("drill/server");
    File::create(&here).with_context(|| made(&here))?;
    mount_bind(program, &here).with_context(|| format!("cannot mount {}", program.display()))?;
    Ok(PathBuf::from("/drill/server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_is_seen() {
        let table = "Inter-|   Receive\n face |bytes\n    lo:       0       0\n  eth0: 1 2 3\n";
        assert_eq!(interfaces(table).collect::<Vec<_>>(), ["lo", "eth0"]);
    }

    #[test]
    fn only_an_acknowledgement_without_error_will_do() {
        let mut answer = [0_u8; 64];
        assert!(!is_done(&answer));
        if let Some(kind) = answer.get_mut(4..6) {
            kind.copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        }
        assert!(is_done(&answer));
        if let Some(error) = answer.get_mut(16..20) {
            error.copy_from_slice(&(-1_i32).to_ne_bytes());
        }
        assert!(!is_done(&answer));
        assert_eq!(switch_on().len(), 32);
    }
}
