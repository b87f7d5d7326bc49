//! Who the work is on the host: a user of its own for each running sandbox, never root.
use super::{error::EmbeddedError, plan::Outside};
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with},
    process::{getegid, geteuid},
    thread::{CapabilitySet, capabilities},
};
use serde::{Deserialize, Serialize};

/// Numbers of users and groups that nothing else on the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Default for Users {
    /// 65536 numbers from two thousand million on: above what distributions, directories and containers give away.
    fn default() -> Self {
        Self { first: 2_000_000_000, count: 65_536 }
    }
}

/// A user number, held against other sandboxes, of other programs too, until dropped.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) outside: Outside,
    /// A bound abstract address; gone with this process, whatever becomes of it.
    _held: Option<OwnedFd>,
}

/// Whether this process may give its children another user.
pub(super) fn privileged() -> bool {
    let wanted = CapabilitySet::SETUID | CapabilitySet::SETGID;
    capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted))
}

/// A user for one sandbox: one of the range where this process is privileged, else its own.
pub(super) fn lease(users: Users) -> Result<Lease, EmbeddedError> {
    if !privileged() {
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        if user == 0 || group == 0 {
            return Err(EmbeddedError::Unable("root without the rights to set users would be root inside".into()));
        }
        return Ok(Lease { outside: Outside { user, group, other: false }, _held: None });
    }
    let last = users.first.checked_add(users.count).filter(|_| users.first > 0 && users.count > 0);
    let last = last.ok_or_else(|| EmbeddedError::Unable("the range of users is empty, or has root in it".into()))?;
    for user in users.first..last {
        if let Some(held) = hold(user) {
            return Ok(Lease { outside: Outside { user, group: user, other: true }, _held: Some(held) });
        }
    }
    Err(EmbeddedError::Unable("all users of the range are in use".into()))
}

fn hold(user: u32) -> Option<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    let name = format!("prism-sandbox/user/{user}");
    bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes()).ok()?).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_held_until_dropped() {
        // A number far from the default range.
        let held = hold(1_900_000_001);
        assert!(held.is_some());
        assert!(hold(1_900_000_001).is_none());
        drop(held);
        assert!(hold(1_900_000_001).is_some());
    }

    #[test]
    fn nobody_is_root() {
        let none = lease(Users { first: 0, count: 10 });
        assert!(none.is_err() || none.is_ok_and(|lease| lease.outside.user != 0));
    }
}
