//! The user a program runs as. Looked up once, from the system's account database.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Uid, User, getgrouplist};

/// A system user and everything needed to become it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// All its groups, the primary one included.
    pub groups: Vec<u32>,
    /// Its name, for `USER` and `LOGNAME`.
    pub name: String,
    /// Its home directory, for `HOME`.
    pub home: PathBuf,
}

/// The home of a user whom the database does not know; `agent_env` may name another.
const UNKNOWN_HOME: &str = "/";

/// `uid:gid`, if the name is that. The highest number means "nobody" to the kernel's calls.
fn numbers(name: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &u32| digits && *number != u32::MAX)
    };
    let (uid, gid) = name.split_once(':')?;
    Some((number(uid)?, number(gid)?))
}

/// Why a user could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// There is no user of that name.
    #[error("there is no such user on this machine")]
    Unknown,
    /// The account database could not be asked.
    #[error("the users of this machine can't be read: {0}")]
    Lookup(String),
}

impl RunAs {
    /// Looks `name` up. Blocks (the account database may be a network service): call it at start.
    ///
    /// `uid:gid` names a user by numbers, with no group but that one, and need not be in the database: containers choose
    /// numbers at their start that fit the owners of what is mounted into them.
    pub fn lookup(name: &str) -> Result<Self, UserError> {
        let failed = |error: nix::Error| UserError::Lookup(error.desc().to_owned());
        if let Some((uid, gid)) = numbers(name) {
            let known = User::from_uid(Uid::from_raw(uid)).map_err(failed)?;
            let (name, home) =
                known.map_or_else(|| (uid.to_string(), PathBuf::from(UNKNOWN_HOME)), |user| (user.name, user.dir));
            return Ok(Self { uid, gid, groups: vec![gid], name, home });
        }
        let c_name = CString::new(name).map_err(|_| UserError::Unknown)?;
        let user = User::from_name(name).map_err(failed)?.ok_or(UserError::Unknown)?;
        let groups = getgrouplist(&c_name, user.gid).map_err(failed)?;
        Ok(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
            name: user.name,
            home: user.dir,
        })
    }

    /// Is it who this process runs as? Becoming that needs no privilege, and an ordinary user has none.
    #[must_use]
    pub fn is_this_process(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw() && self.gid == rustix::process::getegid().as_raw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_user_is_found_with_its_groups() {
        let root = RunAs::lookup("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(root.name, "root");
    }

    #[test]
    fn a_user_may_be_named_by_numbers_that_nobody_has() {
        let user = RunAs::lookup("4000001:4000002").unwrap();
        assert_eq!((user.uid, user.gid, user.groups), (4_000_001, 4_000_002, vec![4_000_002]));
        assert_eq!((user.name.as_str(), user.home), ("4000001", PathBuf::from("/")));
        assert_eq!(RunAs::lookup("0:7").unwrap().name, "root");
        for wrong in ["4000001", "1:", ":1", "1:2:3", "+1:2", "-1:2", "1:4294967295", "1: 2"] {
            assert_eq!(RunAs::lookup(wrong), Err(UserError::Unknown), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_apart() {
        assert_eq!(RunAs::lookup("no-such-user-here"), Err(UserError::Unknown));
        assert_eq!(RunAs::lookup("ro\0ot"), Err(UserError::Unknown));
    }
}
