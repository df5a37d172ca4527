//! Why a program could not be started. The texts name no path, user or address; they may reach a client.

use std::io;

use nix::libc;

/// A start that failed. Nothing of it is left: no process, no open descriptor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program (or a script's interpreter is missing).
    #[error("the program is not there")]
    NotFound,
    /// The file is there but can't be run.
    #[error("the program can't be executed: it is not an executable file, or its user may not run it")]
    NotExecutable,
    /// The directory to work in is missing, not a directory, or closed to the program's user.
    #[error("the workspace can't be entered")]
    BadWorkspace,
    /// An argument or variable holds a NUL byte, a variable's name is not one, or all of them are too long for the system.
    #[error("an argument or environment variable is not allowed: {0}")]
    BadArgument(&'static str),
    /// The gateway may not start programs as that user.
    #[error("the gateway may not start programs as the configured user: {0}")]
    CannotBecomeUser(String),
    /// The machine has no more processes, memory or descriptors to give at the moment.
    #[error("the machine is out of resources: {0}")]
    Resources(String),
    /// The gateway is ending.
    #[error("the gateway is ending")]
    Ending,
    /// Anything else the system refused.
    #[error("the system refused to start the program: {0}")]
    Other(String),
}

/// A step before the exec. Its failure comes back to the gateway as `step << 16 | errno`, because an `errno` alone does not say what failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Step {
    /// Session, umask, descriptors, signals.
    Setup = 1,
    /// Groups, gid, uid, privileges.
    User = 2,
    /// Entering the workspace.
    Workspace = 3,
    /// The gateway died meanwhile.
    Orphaned = 4,
}

impl Step {
    pub(super) fn encode(self, errno: i32) -> i32 {
        ((self as i32) << 16) | (errno & 0xffff)
    }
}

impl SpawnError {
    /// Can the same start succeed later, without anybody changing anything?
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Resources(_))
    }

    /// What the start of a process, a step in it, or its exec reported.
    pub(super) fn from_spawn(error: &io::Error) -> Self {
        let Some(code) = error.raw_os_error() else {
            return match error.kind() {
                io::ErrorKind::InvalidInput => Self::BadArgument("it holds a NUL byte"),
                kind => Self::Other(kind.to_string()),
            };
        };
        let (step, errno) = (code >> 16, code & 0xffff);
        let text = io::Error::from_raw_os_error(errno).to_string();
        if matches!(errno, libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) {
            return Self::Resources(text);
        }
        match step {
            0 => match errno {
                libc::ENOENT | libc::ENOTDIR => Self::NotFound,
                libc::EACCES | libc::EPERM | libc::ENOEXEC | libc::EISDIR | libc::ELIBBAD => Self::NotExecutable,
                libc::E2BIG => Self::BadArgument("they are too long"),
                _ => Self::Other(text),
            },
            step if step == Step::User as i32 => Self::CannotBecomeUser(text),
            step if step == Step::Workspace as i32 => Self::BadWorkspace,
            step if step == Step::Orphaned as i32 => Self::Ending,
            _ => Self::Other(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32) -> SpawnError {
        SpawnError::from_spawn(&io::Error::from_raw_os_error(code))
    }

    #[test]
    fn h9_only_a_lack_of_resources_is_worth_a_retry() {
        for errno in [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE] {
            assert!(matches!(of(errno), SpawnError::Resources(_)));
            assert!(of(errno).retryable());
            assert!(of(Step::User.encode(errno)).retryable());
        }
        for errno in [libc::ENOENT, libc::EACCES, libc::ENOEXEC, libc::E2BIG, libc::EIO] {
            assert!(!of(errno).retryable());
        }
    }

    #[test]
    fn h9_the_same_errno_means_different_things_at_different_steps() {
        assert_eq!(of(libc::ENOENT), SpawnError::NotFound);
        assert_eq!(of(Step::Workspace.encode(libc::ENOENT)), SpawnError::BadWorkspace);
        assert_eq!(of(libc::EPERM), SpawnError::NotExecutable);
        assert!(matches!(of(Step::User.encode(libc::EPERM)), SpawnError::CannotBecomeUser(_)));
    }
}
