//! The keys of this gateway's own tokens: one signs, others are still accepted.
//!
//! Invariants:
//! - A key has one algorithm, which follows from what it is: a secret HS256, an Ed25519 key `EdDSA`, an RSA key RS256.
//!   What a token says can only agree with it; so no token is checked with one kind's key in the manner of another.
//! - A key's name (`kid`) follows from the key: the thumbprint of RFC 7638 for those that have a public half. It is
//!   looked up in a map and never part of a path.
//! - An RSA key has 2048 bits or more.
//! - What is published holds public halves only.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};

use crate::auth::secret::{self, SecretError, SigningSecret};
use crate::config::settings::AuthSettings;

/// Least length of an RSA modulus, in bytes: 2048 bits (RFC 7518 §3.3).
const LEAST_RSA_BYTES: usize = 256;

/// The key that signs.
pub(super) struct Signer {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: EncodingKey,
}

/// A key that tokens are checked with.
pub(super) struct Verifier {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// All keys of one moment. Immutable: a change makes new ones.
pub struct Keys {
    pub(super) signer: Signer,
    pub(super) accepted: BTreeMap<String, Verifier>,
    published: Vec<Jwk>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("signer", &self.signer.id).finish_non_exhaustive()
    }
}

impl Keys {
    /// One secret that signs, and nothing else.
    #[must_use]
    pub fn of_secret(secret: &SigningSecret) -> Self {
        let (id, algorithm) = (secret.key_id(), Algorithm::HS256);
        let verifier = Verifier { algorithm, key: DecodingKey::from_secret(secret.bytes()) };
        Self {
            signer: Signer { id: id.clone(), algorithm, key: EncodingKey::from_secret(secret.bytes()) },
            accepted: [(id, verifier)].into(),
            published: Vec::new(),
        }
    }

    /// The keys that the settings name. Without a `signing_key_file` the secret signs, see
    /// [`load_or_create`](secret::load_or_create).
    ///
    /// # Errors
    /// [`SecretError`]: a file can't be read or holds no key that serves. An accepted file that is gone is one too.
    pub fn load(settings: &AuthSettings, default_secret: &Path) -> Result<Self, SecretError> {
        Self::load_signing(settings, default_secret)?.accepting(settings, false)
    }

    /// The same while the gateway runs: an accepted file that is gone takes its key with it, and a secret that is gone
    /// is not made anew.
    ///
    /// # Errors
    /// [`SecretError`].
    pub(super) fn load_again(settings: &AuthSettings, default_secret: &Path) -> Result<Self, SecretError> {
        let has_own = settings.jwt_secret.is_some()
            || [&settings.signing_key_file, &settings.jwt_secret_file].iter().any(|path| !path.as_os_str().is_empty());
        if !has_own {
            secret::read_text(default_secret, true)?;
        }
        Self::load_signing(settings, default_secret)?.accepting(settings, true)
    }

    fn load_signing(settings: &AuthSettings, default_secret: &Path) -> Result<Self, SecretError> {
        if settings.signing_key_file.as_os_str().is_empty() {
            return Ok(Self::of_secret(&secret::load_or_create(settings, default_secret)?));
        }
        let path = &settings.signing_key_file;
        let text = secret::read_text(path, true)?;
        Self::of_private_pem(&text).map_err(|problem| content(path, problem))
    }

    fn accepting(self, settings: &AuthSettings, may_be_gone: bool) -> Result<Self, SecretError> {
        let mut keys = self;
        for path in files(&settings.accepted_key_files)? {
            match keys.accept(&path) {
                Err(SecretError::Read { source, .. }) if may_be_gone && source.kind() == ErrorKind::NotFound => {
                    tracing::warn!(file = %path.display(), "a file of an accepted key is gone: its key counts no more");
                }
                accepted => accepted?,
            }
        }
        Ok(keys)
    }

    fn of_private_pem(text: &str) -> Result<Self, SecretError> {
        let (algorithm, key) = private_key(text.as_bytes()).ok_or(SecretError::Key("is no private key"))?;
        let public = public_half(Jwk::from_encoding_key(&key, algorithm).map_err(|_| NOT_SERVING)?, algorithm)?;
        // Some faults of a key show only when it is used.
        crypto::sign(b"", &key, algorithm).map_err(|_| NOT_SERVING)?;
        let signer = Signer { id: public.id.clone(), algorithm, key };
        Ok(Self { signer, published: vec![public.jwk], accepted: [(public.id, public.verifier)].into() })
    }

    fn accept(&mut self, path: &Path) -> Result<(), SecretError> {
        let text = secret::read_text(path, false)?;
        let public = match public_key(text.as_bytes()) {
            Some((algorithm, key)) => {
                let jwk = Jwk::from_decoding_key(&key, Some(algorithm)).map_err(|_| content(path, NOT_SERVING))?;
                public_half(jwk, algorithm)
            }
            None => {
                // From here on it is a secret, which nobody else may read.
                let text = secret::read_text(path, true)?;
                match private_key(text.as_bytes()) {
                    Some((algorithm, key)) => Jwk::from_encoding_key(&key, algorithm)
                        .map_err(|_| NOT_SERVING)
                        .and_then(|jwk| public_half(jwk, algorithm)),
                    None if is_pem(text.as_bytes(), "-----") => Err(NOT_SERVING),
                    None => {
                        let secret = SigningSecret::from_text(&text).map_err(|problem| content(path, problem))?;
                        self.accepted.extend(Self::of_secret(&secret).accepted);
                        return Ok(());
                    }
                }
            }
        };
        let public = public.map_err(|problem| content(path, problem))?;
        if self.accepted.insert(public.id, public.verifier).is_none() {
            self.published.push(public.jwk);
        }
        Ok(())
    }

    /// The public halves, as `/.well-known/jwks.json` tells them. Secrets have none.
    #[must_use]
    pub fn published(&self) -> serde_json::Value {
        serde_json::to_value(JwkSet { keys: self.published.clone() }).unwrap_or_default()
    }

    /// The word for the algorithm of the key that signs.
    #[must_use]
    pub fn algorithm(&self) -> String {
        format!("{:?}", self.signer.algorithm)
    }

    /// The names of all accepted keys, the signing one's first. They tell nothing about the keys.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let others = self.accepted.keys().filter(|id| **id != self.signer.id);
        std::iter::once(&self.signer.id).chain(others).cloned().collect()
    }
}

const NOT_SERVING: SecretError = SecretError::Key("can't be used: expected Ed25519, or RSA of 2048 bits or more");

/// What follows from a key's public half.
struct Public {
    id: String,
    verifier: Verifier,
    jwk: Jwk,
}

fn public_half(mut jwk: Jwk, algorithm: Algorithm) -> Result<Public, SecretError> {
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| NOT_SERVING)?;
    if let AlgorithmParameters::RSA(rsa) = &jwk.algorithm {
        use base64::Engine;
        let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&rsa.n).map_err(|_| NOT_SERVING)?;
        if modulus.iter().skip_while(|byte| **byte == 0).count() < LEAST_RSA_BYTES {
            return Err(NOT_SERVING);
        }
    }
    let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| NOT_SERVING)?;
    jwk.common.key_id = Some(id.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(Public { id, verifier: Verifier { algorithm, key }, jwk })
}

fn private_key(pem: &[u8]) -> Option<(Algorithm, EncodingKey)> {
    if !is_pem(pem, "PRIVATE KEY-----") {
        return None;
    }
    let ed = EncodingKey::from_ed_pem(pem).map(|key| (Algorithm::EdDSA, key));
    ed.or_else(|_| EncodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key))).ok()
}

fn public_key(pem: &[u8]) -> Option<(Algorithm, DecodingKey)> {
    if !is_pem(pem, "PUBLIC KEY-----") {
        return None;
    }
    let ed = DecodingKey::from_ed_pem(pem).map(|key| (Algorithm::EdDSA, key));
    ed.or_else(|_| DecodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key))).ok()
}

fn is_pem(text: &[u8], kind: &str) -> bool {
    text.split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(b"-----BEGIN ") && line.trim_ascii_end().ends_with(kind.as_bytes()))
}

fn content(path: &Path, problem: SecretError) -> SecretError {
    SecretError::Content { path: path.to_owned(), problem: Box::new(problem) }
}

/// The files of keys: those that are named, and those in directories that are named, by name.
pub(super) fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, SecretError> {
    let mut found = Vec::new();
    for path in named {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let unreadable = |source| SecretError::Read { path: path.clone(), source };
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            // Kubernetes mounts files as links, beside hidden directories of its own.
            if entry.path().is_file() && !entry.file_name().to_string_lossy().starts_with('.') {
                inside.push(entry.path());
            }
        }
        inside.sort();
        found.extend(inside);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
