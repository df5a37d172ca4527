//! The store's file on disk: made with mode 0600, and held by one gateway at a time.
//!
//! Invariant: whoever has an [`InstanceLock`] is the only gateway that has the file open. The lock is an
//! `flock` on a file beside it, so it ends with the process, however that dies. Never lock or open the
//! database file itself here while SQLite has it open: closing it would drop SQLite's own locks.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::store::StoreError;

/// Only the gateway's own user may read what it keeps.
const PRIVATE: u32 = 0o600;

/// How long a taken lock is asked for again. When a gateway is killed while it starts a process, that process
/// has a copy of the lock until it notices or executes its program: for some milliseconds nobody lives who
/// holds it.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// Held for as long as the store is open.
#[derive(Debug)]
pub(super) struct InstanceLock {
    /// Its `flock` is the lock.
    held: File,
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        // Not left to the closing of the file: a process that is being started right now has a copy of it
        // until it executes its program, and would keep the lock for that long.
        if let Err(error) = rustix::fs::flock(&self.held, FlockOperation::Unlock) {
            tracing::warn!(store = "sqlite", %error, "the lock was not given back; it ends with the process");
        }
    }
}

/// Takes the lock beside `file`.
///
/// # Errors
/// [`StoreError::Away`] if another gateway has it, or if the lock file can't be made.
pub(super) fn lock(file: &Path) -> Result<InstanceLock, StoreError> {
    let held = open_private(&beside(file, ".lock")).map_err(|error| cannot("open the lock file", &error))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(InstanceLock { held }),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => {
                return Err(StoreError::Away(
                    "another gateway has its file open; stop that one or give this one a data directory of its own"
                        .to_owned(),
                ));
            }
            Err(error) => return Err(cannot("lock the lock file", &error.into())),
        }
    }
}

/// Makes sure that the database file is there and private. Only for the holder of the lock, before SQLite
/// opens it.
pub(super) fn prepare(file: &Path, _lock: &InstanceLock) -> Result<(), StoreError> {
    let made = open_private(file).map_err(|error| cannot("make the file", &error))?;
    let mode = made.metadata().map_err(|error| cannot("look at the file", &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(store = "sqlite", "others could read the store's file; its mode is now 0600");
        made.set_permissions(Permissions::from_mode(PRIVATE))
            .map_err(|error| cannot("make the file private", &error))?;
    }
    Ok(())
}

pub(super) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(path)
}

/// The file beside the database file whose name goes on with `suffix`.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn cannot(what: &'static str, error: &io::Error) -> StoreError {
    tracing::warn!(store = "sqlite", doing = what, %error, "the embedded store failed");
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Away("its directory does not exist".to_owned()),
        io::ErrorKind::PermissionDenied => StoreError::Away("its file may not be opened by this user".to_owned()),
        io::ErrorKind::StorageFull => StoreError::Away("the disk is full".to_owned()),
        _ => StoreError::Away("its file can't be opened".to_owned()),
    }
}
