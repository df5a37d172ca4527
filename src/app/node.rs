//! The node's id, kept in the gateway's own directory.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use uuid::Uuid;

use super::error::AppError;

const FILE: &str = "node-id";

/// This node's id: the same for every start on this directory, so that a start knows what its predecessor
/// left behind.
///
/// # Errors
/// [`AppError::NodeId`].
pub(super) fn id(directory: &Path) -> Result<String, AppError> {
    let refuse = |source| AppError::NodeId { path: directory.to_owned(), source };
    if let Some(known) = known(directory) {
        return Ok(known);
    }
    let path = directory.join(FILE);
    let id = Uuid::new_v4().to_string();
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(refuse)?;
    file.write_all(id.as_bytes()).and_then(|()| file.sync_all()).map_err(refuse)?;
    Ok(id)
}

/// The id that an earlier start has left there.
#[must_use]
pub fn known(directory: &Path) -> Option<String> {
    let text = fs::read_to_string(directory.join(FILE)).ok()?;
    Uuid::try_parse(text.trim()).is_ok().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_id_and_a_damaged_one_is_made_anew() {
        let path = tempfile::tempdir().unwrap();
        let first = id(path.path()).unwrap();
        assert_eq!(id(path.path()).unwrap(), first);
        fs::write(path.path().join("node-id"), "garbage").unwrap();
        assert_ne!(id(path.path()).unwrap(), first);
    }
}
