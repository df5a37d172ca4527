//! The secret that signs access tokens: taken from the settings, read from its file, or made at first start.
//!
//! Invariants: a secret has at least [`MIN_SECRET_BYTES`] bytes and is no example; its file is readable by its
//! owner alone; when several gateways start at once on one directory, all end up with the same secret.
//! Must not know what is signed with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};

use crate::config::check::secret::{MIN_SECRET_BYTES, is_example};
use crate::config::settings::AuthSettings;

/// Random bytes of a secret that we make.
const MADE_BYTES: usize = 48;
/// Longest file that can be a secret; a larger one is some other file.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// The secret that signs access tokens. Its `Debug` shows nothing of it; its memory is wiped when dropped.
#[derive(Debug)]
pub struct SigningSecret(SecretSlice<u8>);

impl SigningSecret {
    /// A secret from its text; blanks and line ends around it do not belong to it.
    ///
    /// # Errors
    /// [`SecretError::TooShort`] or [`SecretError::Example`].
    pub fn from_text(text: &str) -> Result<Self, SecretError> {
        let bytes = text.trim().as_bytes();
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(SecretError::TooShort { found: bytes.len() });
        }
        if is_example(text.trim()) {
            return Err(SecretError::Example);
        }
        Ok(Self(bytes.to_vec().into()))
    }

    /// The key itself, for the signer.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// A short public name of this secret (a token's `kid`): the same for the same secret, and telling
    /// nothing about it.
    pub(super) fn key_id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"cc-gateway signing key id\0");
        hash.update(self.bytes());
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Why there is no signing secret. For the operator at start; may name a file, never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Too few bytes.
    #[error(
        "the signing secret has {found} bytes, it needs at least {MIN_SECRET_BYTES}; make one with `openssl rand -base64 48`"
    )]
    TooShort {
        /// How many it has.
        found: usize,
    },
    /// A text that people copy from manuals, or one that repeats a few characters.
    #[error("the signing secret is an example or easy to guess; make one with `openssl rand -base64 48`")]
    Example,
    /// A key that can't sign or be verified with.
    #[error("the key {0}")]
    Key(&'static str),
    /// Others could read or change the file.
    #[error("the secret file {} can be used by others (mode {mode:03o}); run `chmod 600` on it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a regular file of a sensible size and in UTF-8.
    #[error("{} is not a secret file: {problem}", path.display())]
    NotASecret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The content of the file will not do.
    #[error("the secret file {}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        problem: Box<SecretError>,
    },
    /// The file can't be read.
    #[error("the secret file {} can't be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file can't be made.
    #[error("the secret file {} can't be made: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The signing secret: `jwt_secret` if it is set, else the content of `jwt_secret_file`, else that of
/// `default_file`, which is made with a random secret and mode 0600 if it does not exist yet.
///
/// A file that the settings name is never made: a misspelt path must not become a new secret.
///
/// # Errors
/// See [`SecretError`]; each says what to do.
pub fn load_or_create(auth: &AuthSettings, default_file: &Path) -> Result<SigningSecret, SecretError> {
    if let Some(text) = &auth.jwt_secret {
        return SigningSecret::from_text(text.expose_secret());
    }
    if !auth.jwt_secret_file.as_os_str().is_empty() {
        return read(&auth.jwt_secret_file);
    }
    match read(default_file) {
        Err(SecretError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(default_file).map_err(|source| SecretError::Create { path: default_file.to_owned(), source })?;
            read(default_file)
        }
        other => other,
    }
}

fn read(path: &Path) -> Result<SigningSecret, SecretError> {
    SigningSecret::from_text(&read_text(path, true)?)
        .map_err(|problem| SecretError::Content { path: path.to_owned(), problem: Box::new(problem) })
}

/// The text of a file that holds a secret or a key; one that `is_private` only if nobody else can use it.
pub(super) fn read_text(path: &Path, is_private: bool) -> Result<String, SecretError> {
    let unreadable = |source| SecretError::Read { path: path.to_owned(), source };
    // Mode and content come from one open file, so that nobody can swap it in between.
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let not_a_secret = |problem| SecretError::NotASecret { path: path.to_owned(), problem };
    if !metadata.is_file() {
        return Err(not_a_secret("it is not a regular file"));
    }
    let mode = metadata.mode() & 0o777;
    if is_private && is_open(mode, metadata.uid(), rustix::process::geteuid().as_raw()) {
        return Err(SecretError::Mode { path: path.to_owned(), mode });
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(not_a_secret("it is larger than 16 KiB"));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(|source| {
        if source.kind() == io::ErrorKind::InvalidData { not_a_secret("it is not text") } else { unreadable(source) }
    })?;
    Ok(text)
}

/// Could others use a file of that mode and owner? Root's own may be read by its group: so Kubernetes gives secrets to a
/// pod that is not root, and nobody but root can have put this process into that group.
fn is_open(mode: u32, owner: u32, own: u32) -> bool {
    let closed_to = if owner == 0 && own != 0 { 0o037 } else { 0o077 };
    mode & closed_to != 0
}

/// Makes the file whole or not at all: written under another name first, then linked. If another gateway
/// was faster, its file stays.
fn create(path: &Path) -> io::Result<()> {
    let mut random = [0_u8; MADE_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", uuid::Uuid::new_v4()));
    let draft = PathBuf::from(draft);
    let written = write_draft(&draft, &STANDARD.encode(random)).and_then(|()| match fs::hard_link(&draft, path) {
        Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    match fs::remove_file(&draft) {
        // Nothing to remove if the draft could not even be opened: the first reason counts.
        Err(problem) if written.is_ok() => Err(problem),
        _ => written,
    }
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GOOD: &str = "q8Zt3vN1kLx0WmC7rYbE5uHsJd2FgPaT";

    #[test]
    fn only_roots_files_may_be_read_by_their_group() {
        for (mode, owner, own, open) in [
            (0o600, 7, 7, false),
            (0o400, 0, 7, false),
            (0o640, 7, 7, true),
            (0o440, 0, 7, false),
            (0o640, 0, 7, false),
            (0o660, 0, 7, true),
            (0o444, 0, 7, true),
            (0o440, 0, 0, true),
        ] {
            assert_eq!(is_open(mode, owner, own), open, "{mode:o} {owner} {own}");
        }
    }

    fn file_with(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt-secret");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    fn names_in(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_first_start_makes_a_private_file_and_the_second_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt-secret");
        let made = load_or_create(&AuthSettings::default(), &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(STANDARD.decode(fs::read_to_string(&path).unwrap().trim()).unwrap().len(), MADE_BYTES);
        assert_eq!(names_in(dir.path()), ["jwt-secret"], "no draft is left");
        assert_eq!(load_or_create(&AuthSettings::default(), &path).unwrap().bytes(), made.bytes());
    }

    #[test]
    fn two_first_starts_make_two_secrets() {
        let [one, two] = [(), ()].map(|()| {
            let dir = tempfile::tempdir().unwrap();
            load_or_create(&AuthSettings::default(), &dir.path().join("jwt-secret")).unwrap()
        });
        assert_ne!(one.bytes(), two.bytes());
        assert_ne!(one.key_id(), two.key_id());
    }

    #[test]
    fn gateways_that_start_at_once_share_one_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt-secret");
        let keys: std::collections::BTreeSet<Vec<u8>> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| load_or_create(&AuthSettings::default(), &path).unwrap().bytes().to_vec()))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert_eq!(keys.len(), 1);
        assert_eq!(names_in(dir.path()), ["jwt-secret"]);
    }

    #[test]
    fn the_setting_wins_and_no_file_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt-secret");
        let settings = AuthSettings { jwt_secret: Some(GOOD.into()), ..AuthSettings::default() };
        assert_eq!(load_or_create(&settings, &path).unwrap().bytes(), GOOD.as_bytes());
        assert!(!path.exists());
    }

    #[test]
    fn the_same_text_in_setting_and_file_is_the_same_secret() {
        let (_dir, path) = file_with(&format!("{GOOD}\n"), 0o600);
        assert_eq!(read(&path).unwrap().bytes(), SigningSecret::from_text(GOOD).unwrap().bytes());
    }

    #[test]
    fn a_file_that_others_can_use_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666] {
            let (_dir, path) = file_with(GOOD, mode);
            let refused = load_or_create(&AuthSettings::default(), &path).unwrap_err();
            assert!(matches!(refused, SecretError::Mode { mode: found, .. } if found == mode), "{mode:o}: {refused}");
            assert!(refused.to_string().contains("chmod 600"));
        }
        for mode in [0o600, 0o400] {
            let (_dir, path) = file_with(GOOD, mode);
            assert!(load_or_create(&AuthSettings::default(), &path).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn c3_a_secret_of_31_bytes_is_too_short_and_one_of_32_will_do() {
        let refused = SigningSecret::from_text(&GOOD[..31]).unwrap_err();
        assert!(matches!(refused, SecretError::TooShort { found: 31 }));
        assert!(SigningSecret::from_text(GOOD).is_ok());
        let (_dir, path) = file_with(&GOOD[..31], 0o600);
        let refused = load_or_create(&AuthSettings::default(), &path).unwrap_err();
        assert!(matches!(refused, SecretError::Content { .. }), "{refused}");
        assert!(!refused.to_string().contains(&GOOD[..31]), "the secret is not shown");
    }

    #[test]
    fn c3_an_example_secret_is_refused() {
        for text in [
            "change-me-change-me-change-me-change-me",
            "your_secret_key_with_at_least_32_bytes",
            "CHANGE THIS to something long and random",
            "this-is-an-example-secret-of-40-bytes-ok",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "12341234123412341234123412341234",
        ] {
            assert!(matches!(SigningSecret::from_text(text), Err(SecretError::Example)), "{text}");
        }
    }

    #[test]
    fn an_empty_a_binary_and_a_huge_file_are_refused() {
        let (_dir, path) = file_with("", 0o600);
        assert!(matches!(read(&path), Err(SecretError::Content { .. })));
        let (_dir, path) = file_with(&"q8Zt3vN1kLx0WmC7".repeat(1_100), 0o600);
        assert!(matches!(read(&path), Err(SecretError::NotASecret { .. })));
        let (_dir, path) = file_with("", 0o600);
        fs::write(&path, [0xff_u8; 64]).unwrap();
        assert!(matches!(read(&path), Err(SecretError::NotASecret { .. })));
        assert!(matches!(read(Path::new("/")), Err(SecretError::NotASecret { .. })));
    }

    #[test]
    fn a_named_file_that_does_not_exist_is_an_error_and_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let (named, default_file) = (dir.path().join("named"), dir.path().join("jwt-secret"));
        let settings = AuthSettings { jwt_secret_file: named, ..AuthSettings::default() };
        assert!(matches!(load_or_create(&settings, &default_file), Err(SecretError::Read { .. })));
        assert!(names_in(dir.path()).is_empty());
    }

    #[test]
    fn a_secret_can_not_be_printed() {
        let shown = format!("{:?}", SigningSecret::from_text(GOOD).unwrap());
        assert!(!shown.contains("q8Z") && !shown.contains("113, 56"), "{shown}");
    }
}
