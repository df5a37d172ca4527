//! The place where Claude keeps its login: what is there, whose it is, and whether a renewed login can be saved.
//!
//! What is told is what the thread that looks may do: where agents run as another user, it must look as that user.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::content::Content;
use super::sources::{Variables, variable};

/// Larger than any credentials file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The credentials file as it was found.
#[derive(Debug)]
pub(super) struct Place {
    pub path: PathBuf,
    /// The file, after links; `None` if there is none or it can't be looked at.
    pub facts: Option<FileFacts>,
    pub symlink: bool,
    pub saving: Saving,
    pub found: Found,
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileFacts {
    pub owner: u32,
    /// The bits of permission.
    pub mode: u32,
}

/// Can a renewed login be saved? Claude makes its lock in the directory and replaces the file there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saving {
    Possible,
    /// Claude can't lock, so it does not renew.
    DirectoryReadOnly,
    /// Claude can lock, so it renews, and then can't save: the refresh token is used up for nothing.
    FileReadOnly,
}

/// What lies there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Missing,
    /// A link that leads nowhere.
    DanglingLink,
    Directory,
    /// A pipe, a socket, a device.
    NotAFile,
    /// The file may not be read.
    FileForbidden,
    /// The way to the file may not be gone.
    WayForbidden,
    /// The file system failed.
    Failed,
    File(Content),
}

/// Where Claude keeps its login.
pub(super) fn credentials_path(env: &Variables) -> Option<PathBuf> {
    Some(config_dir(env)?.join(".credentials.json"))
}

/// Claude's configuration directory.
pub(super) fn config_dir(env: &Variables) -> Option<PathBuf> {
    match variable(env, "CLAUDE_CONFIG_DIR") {
        Some(directory) => Some(PathBuf::from(directory)),
        None => Some(Path::new(variable(env, "HOME")?).join(".claude")),
    }
}

impl Place {
    pub(super) fn look(path: PathBuf) -> Self {
        let symlink = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        let metadata = path.metadata();
        let facts =
            metadata.as_ref().ok().map(|metadata| FileFacts { owner: metadata.uid(), mode: metadata.mode() & 0o7777 });
        let found = look_inside(&path, metadata, symlink);
        let directory = path.parent().unwrap_or(Path::new("/"));
        let saving = match may(directory, Access::WRITE_OK | Access::EXEC_OK) {
            Err(_) => Saving::DirectoryReadOnly,
            // A file without the write bit is replaced all the same; one on a read-only mount can't be.
            Ok(()) => match may(&path, Access::WRITE_OK) {
                Err(Errno::ROFS) => Saving::FileReadOnly,
                _ => Saving::Possible,
            },
        };
        Self { facts, symlink, saving, found, path }
    }

    pub(super) fn is_readable(&self) -> bool {
        matches!(self.found, Found::File(_))
    }
}

/// May this thread do that? Its effective identity counts, not its real one.
fn may(path: &Path, access: Access) -> rustix::io::Result<()> {
    rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS)
}

fn look_inside(path: &Path, metadata: std::io::Result<Metadata>, symlink: bool) -> Found {
    match metadata {
        Err(error) => match error.kind() {
            ErrorKind::NotFound if symlink => Found::DanglingLink,
            ErrorKind::NotFound | ErrorKind::NotADirectory => Found::Missing,
            ErrorKind::PermissionDenied => Found::WayForbidden,
            _ => Found::Failed,
        },
        Ok(metadata) if metadata.is_dir() => Found::Directory,
        Ok(metadata) if !metadata.is_file() => Found::NotAFile,
        Ok(_) => match read_small(path) {
            Ok(Some(text)) => Found::File(Content::of(&text)),
            Ok(None) => Found::File(Content::Garbled),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Found::FileForbidden,
            Err(error) if error.kind() == ErrorKind::NotFound => Found::Missing,
            Err(_) => Found::Failed,
        },
    }
}

/// The text of a regular file; `None` if it is none of text, or too large.
///
/// # Errors
/// It can't be opened or read, or is no regular file.
pub(super) fn read_small(path: &Path) -> std::io::Result<Option<String>> {
    // Opening a pipe would wait, had it taken the file's place meanwhile.
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).ok().filter(|_| read as u64 <= MAX_FILE_BYTES))
}

/// A file of Claude's beside its login.
pub(super) fn beside(env: &Variables, name: &str) -> Option<PathBuf> {
    Some(config_dir(env)?.join(OsString::from(name)))
}
