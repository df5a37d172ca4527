//! Settings about who may call, beyond the signing secret: keys, outside issuers, lifetimes, names of this host.

use std::path::Path;

use super::{Check, forms, secret};

/// How a PEM text begins that can sign.
const PRIVATE: [&str; 2] = ["-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----"];
/// How one begins that can only be verified with.
const PUBLIC: [&str; 2] = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"];

impl Check<'_> {
    /// Adds what is wrong. Whether a key is good inside its PEM is seen when it is loaded, at the start.
    pub(super) fn callers(&mut self) {
        let auth = self.loaded.settings.auth.clone();
        if !auth.signing_key_file.as_os_str().is_empty() {
            if let Err(reason) = signing_key(&auth.signing_key_file) {
                self.wrong("signing_key_file", format!("{}: {reason}", auth.signing_key_file.display()));
            }
            for other in ["jwt_secret", "jwt_secret_file"] {
                if self.loaded.origins.contains_key(other) {
                    let other = self.loaded.origin(other);
                    let message = format!("a secret is given too ({other}): one of the two signs, set that one");
                    self.wrong("signing_key_file", message);
                }
            }
        }
        for path in &auth.accepted_key_files {
            for reason in accepted_keys(path) {
                self.wrong("accepted_key_files", reason);
            }
        }
        let mut seen = Vec::new();
        for issuer in &auth.trusted_issuers {
            for complaint in issuer.complaints() {
                self.wrong("trusted_issuers", format!("{:?}: {complaint}", issuer.issuer));
            }
            if seen.contains(&issuer.issuer) || issuer.issuer == auth.token_issuer {
                self.wrong("trusted_issuers", format!("{:?} is there twice or is `token_issuer`", issuer.issuer));
            }
            seen.push(issuer.issuer.clone());
        }
        for (leaf, complaint) in self.loaded.settings.oidc.complaints() {
            self.wrong(leaf, complaint);
        }
        let refresh = auth.refresh_token_seconds;
        // An access token's own limit is told elsewhere.
        let least = auth.access_token_seconds.min(30 * 86_400);
        if !(least..=400 * 86_400).contains(&refresh) {
            let message = format!("expected as much as access_token_seconds, up to 34560000; found {refresh}");
            self.wrong("refresh_token_seconds", message);
        }
        for host in self.loaded.settings.http.allowed_hosts.clone() {
            if let Err(expected) = forms::host(&host) {
                self.wrong("allowed_hosts", format!("{host:?}: {expected}"));
            }
        }
        for proxy in self.loaded.settings.http.trusted_proxies.clone() {
            if forms::network(&proxy).is_none() {
                let expected = "expected an IP address, or a network such as 10.0.0.0/8 or fd00::/8";
                self.wrong("trusted_proxies", format!("{proxy:?}: {expected}"));
            }
        }
    }
}

fn signing_key(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))?;
    if begins(&text, &PRIVATE) {
        Ok(())
    } else if begins(&text, &PUBLIC) {
        Err("is a public key: signing needs the private one".to_owned())
    } else {
        Err("is no private key in PEM; make one with `openssl genpkey -algorithm ed25519`".to_owned())
    }
}

/// What is wrong with a file of an accepted key, or with any in a directory of them.
fn accepted_keys(path: &Path) -> Vec<String> {
    let unreadable = |error: std::io::Error| vec![format!("{}: can't be read: {error}", path.display())];
    if path.is_dir() {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return unreadable(error),
        };
        let files = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file());
        return files.filter(|path| !is_hidden(path)).flat_map(|file| accepted_keys(&file)).collect();
    }
    match std::fs::read_to_string(path) {
        Err(error) => unreadable(error),
        Ok(text) if begins(&text, &PRIVATE) || begins(&text, &PUBLIC) => Vec::new(),
        Ok(text) => match secret::judge(text.trim()) {
            Ok(()) => Vec::new(),
            Err(reason) => vec![format!("{}: neither a key in PEM nor a secret that serves: {reason}", path.display())],
        },
    }
}

/// Is it none of ours, like what Kubernetes keeps beside the files it mounts?
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn begins(text: &str, heads: &[&str]) -> bool {
    // Tools write words about the key before it.
    text.lines().any(|line| heads.contains(&line.trim_end()))
}
