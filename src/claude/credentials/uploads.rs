//! The directory where an operator puts credentials files: which of them are new and complete.
//!
//! A file counts if its name ends in `.json` and does not begin with `..` (so Kubernetes' own entries do not). It is
//! given out once, when it has been the same for two looks or a while; a file that is changed is a new one.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::decide::Refusal;
use super::place::read_small;

/// A file that was not written to for so long is complete.
const SETTLED: Duration = Duration::from_secs(2);

/// The directory, and what was seen in it.
#[derive(Debug)]
pub struct Uploads {
    directory: PathBuf,
    /// Files by name, as they were last seen; forgotten once they are gone.
    seen: HashMap<OsString, Seen>,
}

/// A file that was brought.
#[derive(Debug)]
pub struct Upload {
    /// Its name in the directory.
    pub name: OsString,
    /// Its text, or why there is none.
    pub text: Result<SecretString, Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// Device, number, size, and the moments of the last changes.
    version: (u64, u64, u64, [i64; 4]),
    given_out: bool,
}

impl Uploads {
    /// Nothing has been seen yet.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, seen: HashMap::new() }
    }

    /// The files that are new and complete, by name. Blocks on the file system.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn look(&mut self) -> std::io::Result<Vec<Upload>> {
        let mut names: Vec<OsString> = std::fs::read_dir(&self.directory)?
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .filter(|name| is_credentials_file(name))
            .collect();
        names.sort();
        self.seen.retain(|name, _| names.contains(name));
        Ok(names.into_iter().filter_map(|name| self.look_at(name)).collect())
    }

    fn look_at(&mut self, name: OsString) -> Option<Upload> {
        let path = self.directory.join(&name);
        let metadata = path.metadata().ok().filter(Metadata::is_file)?;
        let version = version(&metadata);
        let before = self.seen.get(&name).filter(|seen| seen.version == version);
        if before.is_some_and(|seen| seen.given_out) {
            return None;
        }
        let is_old = metadata.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > SETTLED));
        let given_out = before.is_some() || is_old;
        self.seen.insert(name.clone(), Seen { version, given_out });
        let text = || match read_small(&path) {
            Ok(text) => text.map(SecretString::from).ok_or(Refusal::Garbled),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Refusal::Unreadable),
            Err(error) => Err(Refusal::Failed(error.kind())),
        };
        given_out.then(|| Upload { text: text(), name })
    }

    /// Gives that file out again at the next look.
    pub fn again(&mut self, name: &OsStr) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.given_out = false;
        }
    }

    /// Removes a file that has served. Where that can't be, it stays and is not given out again.
    pub fn remove(&self, name: &OsStr) {
        let _stays = std::fs::remove_file(self.directory.join(name));
    }
}

fn is_credentials_file(name: &OsStr) -> bool {
    name.as_bytes().ends_with(b".json") && !name.as_bytes().starts_with(b"..")
}

fn version(metadata: &Metadata) -> (u64, u64, u64, [i64; 4]) {
    let moments = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    (metadata.dev(), metadata.ino(), metadata.size(), moments)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use secrecy::ExposeSecret;

    use super::*;

    fn given(uploads: &mut Uploads) -> Vec<(String, Option<String>)> {
        let text = |upload: &Upload| upload.text.as_ref().ok().map(|text| text.expose_secret().to_owned());
        let found = uploads.look().unwrap();
        found.iter().map(|upload| (upload.name.clone().into_string().unwrap(), text(upload))).collect()
    }

    #[test]
    fn a_file_is_given_out_once_when_it_has_stayed_the_same() {
        let home = tempfile::tempdir().unwrap();
        let mut uploads = Uploads::new(home.path().to_owned());
        let file = home.path().join(".credentials.json");
        fs::write(&file, "half").unwrap();
        assert_eq!(given(&mut uploads), []);
        fs::write(&file, "the whole").unwrap();
        assert_eq!(given(&mut uploads), [], "it has changed since");
        assert_eq!(given(&mut uploads), [(".credentials.json".to_owned(), Some("the whole".to_owned()))]);
        assert_eq!(given(&mut uploads), []);
        uploads.again(OsStr::new(".credentials.json"));
        assert_eq!(given(&mut uploads).len(), 1);
        uploads.remove(OsStr::new(".credentials.json"));
        assert!(!file.exists());
    }

    #[test]
    fn one_that_lies_there_for_a_while_is_complete_at_the_first_look() {
        let home = tempfile::tempdir().unwrap();
        let file = fs::File::create(home.path().join("a.json")).unwrap();
        file.set_modified(std::time::SystemTime::now() - 2 * SETTLED).unwrap();
        assert_eq!(given(&mut Uploads::new(home.path().to_owned())).len(), 1);
    }

    #[test]
    fn a_link_that_is_swapped_under_it_is_a_new_file_and_other_names_do_not_count() {
        let home = tempfile::tempdir().unwrap();
        for version in ["..v1", "..v2"] {
            fs::create_dir(home.path().join(version)).unwrap();
            fs::write(home.path().join(version).join("login.json"), version).unwrap();
        }
        symlink("..v1", home.path().join("..data")).unwrap();
        symlink("..data/login.json", home.path().join("login.json")).unwrap();
        for name in ["notes.txt", "login.json.part", "..hidden.json"] {
            fs::write(home.path().join(name), "x").unwrap();
        }
        fs::create_dir(home.path().join("directory.json")).unwrap();
        let mut uploads = Uploads::new(home.path().to_owned());
        given(&mut uploads);
        assert_eq!(given(&mut uploads), [("login.json".to_owned(), Some("..v1".to_owned()))]);
        symlink("..v2", home.path().join("..data_tmp")).unwrap();
        fs::rename(home.path().join("..data_tmp"), home.path().join("..data")).unwrap();
        given(&mut uploads);
        assert_eq!(given(&mut uploads), [("login.json".to_owned(), Some("..v2".to_owned()))]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        assert!(Uploads::new(PathBuf::from("/nonexistent")).look().is_err());
    }
}
