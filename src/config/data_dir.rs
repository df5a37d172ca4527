//! The gateway's own directory: made with mode 0700, and refused when others could look into it, since it
//! holds the signing secret and the store.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

/// Only the gateway's own user may look in.
const PRIVATE: u32 = 0o700;

/// Why a directory can't be the data directory. For the operator; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It is not there.
    #[error("the data directory {} does not exist; it is made at first start", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// It can't be made or looked at.
    #[error("the data directory {} can't be used: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something else has that name.
    #[error("{} is not a directory: set data_dir to one", path.display())]
    NotADirectory {
        /// What has the name.
        path: PathBuf,
    },
    /// It belongs to somebody else, who could change what is in it.
    #[error("the data directory {} belongs to user {owner}, this is user {own}: run as {owner}, or `chown -R {own}` it", path.display())]
    OtherOwner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this is.
        own: u32,
    },
    /// Others may look in.
    #[error("the data directory {} is open to others (mode {mode:04o}): `chmod 700` it", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Makes the directory if it is not there, with those above it, and judges it.
///
/// # Errors
/// [`DataDirError`].
pub fn prepare(path: &Path) -> Result<(), DataDirError> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            DataDirError::NotADirectory { path: path.to_owned() }
        }
        _ => DataDirError::Io { path: path.to_owned(), source },
    })?;
    inspect(path)
}

/// Judges the directory and changes nothing.
///
/// # Errors
/// [`DataDirError`].
pub fn inspect(path: &Path) -> Result<(), DataDirError> {
    let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DataDirError::Missing { path: path.to_owned() },
        _ => DataDirError::Io { path: path.to_owned(), source },
    })?;
    judge(path, &metadata, Uid::effective().as_raw())
}

fn judge(path: &Path, metadata: &Metadata, own: u32) -> Result<(), DataDirError> {
    let path = || path.to_owned();
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_dir() {
        Err(DataDirError::NotADirectory { path: path() })
    } else if metadata.uid() != own {
        Err(DataDirError::OtherOwner { path: path(), owner: metadata.uid(), own })
    } else if mode & 0o077 != 0 {
        Err(DataDirError::Open { path: path(), mode })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_private_with_those_above_it_and_found_good_again() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        assert!(matches!(inspect(&path), Err(DataDirError::Missing { .. })));
        prepare(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        prepare(&path).unwrap();
    }

    #[test]
    fn one_that_is_open_to_others_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(prepare(home.path()), Err(DataDirError::Open { mode: 0o750, .. })));
        assert_eq!(std::fs::metadata(home.path()).unwrap().mode() & 0o7777, 0o750);
    }

    #[test]
    fn another_users_directory_and_a_file_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let metadata = std::fs::metadata(home.path()).unwrap();
        let refused = judge(home.path(), &metadata, metadata.uid() + 1);
        assert!(matches!(refused, Err(DataDirError::OtherOwner { .. })));
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(prepare(&file), Err(DataDirError::NotADirectory { .. })));
        assert!(matches!(prepare(&file.join("below")), Err(DataDirError::NotADirectory { .. })));
    }
}
