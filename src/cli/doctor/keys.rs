//! The keys of access tokens: would a start take them?

use super::report::Check;
use crate::auth::Keys;
use crate::config::{Settings, paths};

/// Loads them as a start does, but makes none.
pub(super) fn keys(settings: &Settings) -> Check {
    const NAME: &str = "signing keys";
    let (auth, default_secret) = (&settings.auth, paths::default_secret_file(settings));
    let names_own = auth.jwt_secret.is_some()
        || [&auth.signing_key_file, &auth.jwt_secret_file].iter().any(|file| !file.as_os_str().is_empty());
    if !names_own && !default_secret.exists() {
        return Check::ok(NAME, format!("{} will be made at first start", default_secret.display()));
    }
    match Keys::load(auth, &default_secret) {
        Ok(keys) => Check::ok(NAME, format!("{} accepted, {} signs", keys.ids().len(), keys.algorithm())),
        Err(error) => Check::fail(NAME, error.to_string(), "mend it; the gateway does not start with it"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::super::report::Level;
    use super::*;

    fn settings(directory: &Path) -> Settings {
        let mut settings = Settings::default();
        settings.data.data_dir = directory.to_owned();
        settings
    }

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_that_is_not_there_yet_is_well_and_not_made() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(keys(&settings(directory.path())).level, Level::Ok);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_secret_that_a_start_would_refuse_fails() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("jwt-secret");
        let good = "kJ8s0dkQm1Zp4Yx7Vw2Bn5Lc9Ht3Rf6G";
        for (text, mode, level) in [("", 0o600, Level::Fail), (good, 0o640, Level::Fail), (good, 0o600, Level::Ok)] {
            write(&secret, text, mode);
            let check = keys(&settings(directory.path()));
            assert_eq!(check.level, level, "{check:?}");
            assert!(!check.found.contains(good));
        }
    }

    #[test]
    fn a_private_key_that_others_can_read_or_that_is_none_fails() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        let fixture = format!("{}/tests/fixtures/keys/ed25519-1.pem", env!("CARGO_MANIFEST_DIR"));
        let good = std::fs::read_to_string(fixture).unwrap();
        let mut settings = settings(directory.path());
        settings.auth.signing_key_file = file.clone();
        for (text, mode, level) in
            [(good.as_str(), 0o644, Level::Fail), ("no key", 0o600, Level::Fail), (&good, 0o600, Level::Ok)]
        {
            write(&file, text, mode);
            assert_eq!(keys(&settings).level, level, "{mode:o}");
        }
    }
}
