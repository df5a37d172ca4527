//! Which workspaces were made for processes that nobody has got yet: written down where a gateway that dies leaves it
//! for its next start.
//!
//! One empty file each, named by the id that the session will have. It is there before the workspace is, and goes when
//! the workspace has gone or has become a session's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The notes of one node.
#[derive(Debug)]
pub(super) struct Leftovers {
    directory: PathBuf,
}

impl Leftovers {
    /// Notes in that directory, which is made when it is needed.
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// A workspace is about to be made.
    pub(super) fn add(&self, id: Uuid) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        fs::write(self.directory.join(id.to_string()), "")
    }

    /// It is nobody's no more.
    pub(super) fn strike_out(&self, id: Uuid) {
        if let Err(error) = fs::remove_file(self.directory.join(id.to_string()))
            && error.kind() != io::ErrorKind::NotFound
        {
            // The next start finds a workspace that is not empty, or none, and leaves it.
            tracing::warn!(%error, session_id = %id, "a note of a warm process could not be removed");
        }
    }

    /// All that are noted.
    pub(super) fn all(&self) -> Vec<Uuid> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_found_until_it_is_struck_out() {
        let directory = tempfile::tempdir().unwrap();
        let leftovers = Leftovers::new(&directory.path().join("warm"));
        assert!(leftovers.all().is_empty());
        let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
        leftovers.add(first).unwrap();
        leftovers.add(second).unwrap();
        leftovers.strike_out(first);
        leftovers.strike_out(first);
        assert_eq!(Leftovers::new(&directory.path().join("warm")).all(), [second]);
    }
}
