//! Keys of every kind, read from files as openssl makes them.

use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::api::Role;
use crate::auth::fake_store::account;
use crate::auth::token::Tokens;

const ED_1: &str = include_str!("../../../../tests/fixtures/keys/ed25519-1.pem");
const ED_1_PUBLIC: &str = include_str!("../../../../tests/fixtures/keys/ed25519-1.pub.pem");
const ED_2: &str = include_str!("../../../../tests/fixtures/keys/ed25519-2.pem");
const RSA: &str = include_str!("../../../../tests/fixtures/keys/rsa-1.pem");
const RSA_PUBLIC: &str = include_str!("../../../../tests/fixtures/keys/rsa-1.pub.pem");
const SHORT_RSA: &str = include_str!("../../../../tests/fixtures/keys/rsa-short.pem");
const P256: &str = include_str!("../../../../tests/fixtures/keys/p256-1.pem");
const SECRET: &str = "q8Zt3vN1kLx0WmC7rYbE5uHsJd2FgPaT";
const OTHER_SECRET: &str = "T4Pgf2dJsHu5EbYr7CmW0xLk1Nv3tZ8q";

/// Files of keys in a directory of their own, and settings that name them.
struct Files {
    directory: TempDir,
    settings: AuthSettings,
}

impl Files {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), settings: AuthSettings::default() }
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn signing(mut self, text: &str) -> Self {
        self.settings.signing_key_file = self.write("signing.pem", text, 0o600);
        self
    }

    fn accepting(mut self, name: &str, text: &str, mode: u32) -> Self {
        let path = self.write(name, text, mode);
        self.settings.accepted_key_files.push(path);
        self
    }

    fn load(&self) -> Result<Keys, SecretError> {
        Keys::load(&self.settings, &self.directory.path().join("jwt-secret"))
    }

    fn tokens(&self) -> Tokens {
        Tokens::with_keys(&self.settings, self.load().unwrap())
    }

    fn reload(&self, tokens: &Tokens) -> Result<bool, SecretError> {
        tokens.reload(&self.settings, &self.directory.path().join("jwt-secret"))
    }
}

fn issue(tokens: &Tokens) -> String {
    tokens.issue(&account("ada", Role::User)).token.expose_secret().to_owned()
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

#[test]
fn each_kind_of_key_signs_in_its_own_way_and_its_tokens_are_accepted() {
    for (files, algorithm) in [
        (Files::new(), "HS256"),
        (Files::new().signing(ED_1), "EdDSA"),
        (Files::new().signing(RSA), "RS256"),
        (Files::new().signing(&format!("Words of a tool about it\n{ED_1}")), "EdDSA"),
    ] {
        let tokens = files.tokens();
        let token = issue(&tokens);
        assert_eq!(header(&token)["alg"], algorithm);
        assert_eq!(header(&token)["kid"], tokens.keys().ids()[0]);
        assert_eq!(tokens.verify(&token).unwrap().username, "ada", "{algorithm}");
    }
}

#[test]
fn the_published_keys_are_public_halves_named_by_their_thumbprints() {
    let files = Files::new().signing(ED_1).accepting("rsa.pem", RSA_PUBLIC, 0o644).accepting("s", SECRET, 0o600);
    let keys = files.load().unwrap();
    let published = keys.published();
    let [ed, rsa] = &published["keys"].as_array().unwrap()[..] else { panic!("{published}") };
    assert_eq!(
        (&ed["kty"], &ed["crv"], &ed["alg"], &ed["use"]),
        (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"), &json!("sig"))
    );
    assert_eq!((&rsa["kty"], &rsa["e"], &rsa["alg"]), (&json!("RSA"), &json!("AQAB"), &json!("RS256")));
    for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
        assert!(ed.get(private).is_none() && rsa.get(private).is_none(), "{private}");
    }
    // RFC 7638: the hash of the required members in the order of their names, without blanks.
    use sha2::Digest;
    let text = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":{}}}"#, ed["x"]);
    assert_eq!(ed["kid"], URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(text)));
    assert_eq!(keys.ids().len(), 3);
    assert!(!format!("{keys:?} {published}").contains(SECRET));
}

#[test]
fn a_public_and_a_private_file_of_one_key_give_the_same_name() {
    let one = Files::new().signing(ED_1).load().unwrap();
    let both = Files::new().signing(ED_1).accepting("same.pem", ED_1_PUBLIC, 0o644).load().unwrap();
    assert_eq!((one.ids(), one.published()), (both.ids(), both.published()));
    let private = Files::new().accepting("rsa.pem", RSA, 0o600).load().unwrap();
    let public = Files::new().accepting("rsa.pem", RSA_PUBLIC, 0o644).load().unwrap();
    assert_eq!((private.published(), private.ids()[1].clone()), (public.published(), public.ids()[1].clone()));
}

#[test]
fn c6_the_last_key_is_accepted_for_as_long_as_its_file_is_there() {
    let old = Files::new().signing(RSA).tokens();
    let token = issue(&old);
    let mut files = Files::new().signing(ED_1);
    let inside = files.directory.path().join("accepted");
    fs::create_dir(&inside).unwrap();
    files.settings.accepted_key_files.push(inside.clone());
    let tokens = files.tokens();
    assert!(tokens.verify(&token).is_err());
    fs::write(inside.join("last-year.pem"), RSA_PUBLIC).unwrap();
    // What Kubernetes keeps beside the files it mounts.
    fs::create_dir(inside.join("..data")).unwrap();
    fs::write(inside.join(".hidden"), "x").unwrap();
    assert!(files.reload(&tokens).unwrap(), "another key is accepted");
    assert_eq!(tokens.verify(&token).unwrap().username, "ada");
    assert!(!files.reload(&tokens).unwrap(), "the same as before");
    fs::remove_file(inside.join("last-year.pem")).unwrap();
    assert!(files.reload(&tokens).unwrap());
    assert!(tokens.verify(&token).is_err());
    assert_eq!(tokens.verify(&issue(&tokens)).unwrap().username, "ada");
}

#[test]
fn c6_a_changed_file_signs_with_the_new_key_and_a_bad_one_changes_nothing() {
    let files = Files::new().signing(ED_1).accepting("old.pem", ED_1_PUBLIC, 0o644);
    let tokens = files.tokens();
    let before = issue(&tokens);
    files.write("signing.pem", ED_2, 0o600);
    assert!(files.reload(&tokens).unwrap());
    let after = issue(&tokens);
    assert_ne!(header(&before)["kid"], header(&after)["kid"]);
    assert!(tokens.verify(&before).is_ok() && tokens.verify(&after).is_ok());
    for (bad, mode) in [("", 0o600), (SHORT_RSA, 0o600), (ED_1, 0o644)] {
        files.write("signing.pem", bad, mode);
        assert!(files.reload(&tokens).is_err());
        assert!(tokens.verify(&after).is_ok(), "the keys of before stay");
    }
    // A named file that goes takes its key with it.
    files.write("signing.pem", ED_2, 0o600);
    fs::remove_file(&files.settings.accepted_key_files[0]).unwrap();
    assert!(files.reload(&tokens).unwrap());
    assert!(tokens.verify(&before).is_err() && tokens.verify(&after).is_ok());
}

#[test]
fn a_secret_that_is_gone_is_not_made_anew_while_the_gateway_runs() {
    let files = Files::new();
    let tokens = files.tokens();
    let token = issue(&tokens);
    fs::remove_file(files.directory.path().join("jwt-secret")).unwrap();
    assert!(matches!(files.reload(&tokens), Err(SecretError::Read { .. })));
    assert!(tokens.verify(&token).is_ok());
    assert_eq!(fs::read_dir(files.directory.path()).unwrap().count(), 0);
}

#[test]
fn files_that_hold_no_key_that_serves_are_refused_and_their_content_is_not_shown() {
    for (text, mode) in [
        (SHORT_RSA, 0o600),
        (P256, 0o600),
        (ED_1_PUBLIC, 0o600),
        ("-----BEGIN PRIVATE KEY-----\nAA", 0o600),
        (ED_1, 0o640),
    ] {
        let mut files = Files::new().signing(text);
        files.settings.signing_key_file = files.write("signing.pem", text, mode);
        let refused = files.load().unwrap_err().to_string();
        assert!(refused.contains("signing.pem") && !refused.contains("MC4"), "{refused}");
    }
    for (text, mode) in [(SHORT_RSA, 0o600), (P256, 0o600), ("short", 0o600), (RSA, 0o644), (OTHER_SECRET, 0o644)] {
        let refused = Files::new().accepting("more", text, mode).load().unwrap_err().to_string();
        assert!(refused.contains("more") && !refused.contains(OTHER_SECRET), "{refused}");
    }
    let mut gone = Files::new();
    gone.settings.accepted_key_files.push("/nonexistent/key".into());
    assert!(matches!(gone.load(), Err(SecretError::Read { .. })));
}

/// A token of `tokens` with another header, signed by `sign`.
fn forged(tokens: &Tokens, change: impl FnOnce(&mut Value), sign: impl FnOnce(&str) -> String) -> String {
    let good = issue(tokens);
    let parts: Vec<&str> = good.split('.').collect();
    let mut head = header(&good);
    change(&mut head);
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), parts[1]);
    let signature = sign(&message);
    format!("{message}.{signature}")
}

#[test]
fn c1_no_key_serves_in_the_manner_of_another_kind() {
    let tokens =
        Files::new().signing(RSA).accepting("ed.pem", ED_1_PUBLIC, 0o644).accepting("secret", SECRET, 0o600).tokens();
    let ids = tokens.keys().ids();
    let id_of = |files: Files| files.load().unwrap().ids()[0].clone();
    let (rsa, ed) = (id_of(Files::new().signing(RSA)), id_of(Files::new().signing(ED_1)));
    let secret = ids.iter().find(|id| **id != rsa && **id != ed).unwrap().clone();
    let der = pem_bytes(RSA_PUBLIC);
    let with = |algorithm: Algorithm, key: EncodingKey| {
        move |message: &str| crypto::sign(message.as_bytes(), &key, algorithm).unwrap()
    };
    let hmac = |key: &[u8]| with(Algorithm::HS256, EncodingKey::from_secret(key));
    let head = |algorithm: &'static str, id: &str| {
        let id = id.to_owned();
        move |head: &mut Value| {
            head["alg"] = algorithm.into();
            head["kid"] = id.into();
        }
    };
    let ed_2 = EncodingKey::from_ed_pem(ED_2.as_bytes()).unwrap();
    let ed_1 = EncodingKey::from_ed_pem(ED_1.as_bytes()).unwrap();
    let rsa_key = EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    let public_point = match &public_key(ED_1_PUBLIC.as_bytes()).unwrap().1.kind() {
        jsonwebtoken::DecodingKeyKind::SecretOrDer(bytes) => bytes.clone(),
        jsonwebtoken::DecodingKeyKind::RsaModulusExponent { .. } => unreachable!(),
    };
    let bad = [
        ("HS256 with RS256's public key as text", forged(&tokens, head("HS256", &rsa), hmac(RSA_PUBLIC.as_bytes()))),
        (
            "HS256 with RS256's public key, trimmed",
            forged(&tokens, head("HS256", &rsa), hmac(RSA_PUBLIC.trim().as_bytes())),
        ),
        ("HS256 with RS256's public key as bytes", forged(&tokens, head("HS256", &rsa), hmac(&der))),
        ("the same, called RS256", forged(&tokens, head("RS256", &rsa), hmac(RSA_PUBLIC.as_bytes()))),
        ("HS256 with EdDSA's public key", forged(&tokens, head("HS256", &ed), hmac(&public_point))),
        ("HS256 with EdDSA's public key as text", forged(&tokens, head("HS256", &ed), hmac(ED_1_PUBLIC.as_bytes()))),
        ("HS256 with the secret's name as key", forged(&tokens, head("HS256", &secret), hmac(secret.as_bytes()))),
        ("EdDSA with another key's name", forged(&tokens, head("EdDSA", &rsa), with(Algorithm::EdDSA, ed_1.clone()))),
        ("EdDSA under a stranger's name", forged(&tokens, head("EdDSA", "stranger"), with(Algorithm::EdDSA, ed_1))),
        ("EdDSA by another key", forged(&tokens, head("EdDSA", &ed), with(Algorithm::EdDSA, ed_2))),
        (
            "RS256 under the secret's name",
            forged(&tokens, head("RS256", &secret), with(Algorithm::RS256, rsa_key.clone())),
        ),
        ("RS384 by the right key", forged(&tokens, head("RS384", &rsa), with(Algorithm::RS384, rsa_key.clone()))),
        ("PS256 by the right key", forged(&tokens, head("PS256", &rsa), with(Algorithm::PS256, rsa_key))),
        ("none", forged(&tokens, head("none", &rsa), |_| String::new())),
        ("no signature", forged(&tokens, head("RS256", &rsa), |_| String::new())),
    ];
    for (what, token) in bad {
        let refused = tokens.verify(&token).expect_err(what);
        assert_eq!(refused.to_string(), "the access token is not valid", "{what}");
    }
    // The forger's tools work: with the right key, name and algorithm the very same is accepted.
    let good = forged(&tokens, head("HS256", &secret), hmac(SECRET.as_bytes()));
    assert!(tokens.verify(&good).is_ok());
}

fn pem_bytes(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

#[test]
fn c1_a_refresh_token_is_no_access_token() {
    let tokens = Files::new().signing(ED_1).tokens();
    for text in [
        "ccgr_q8Zt3vN1kLx0WmC7rYbE5uHsJd2FgPaTq8Zt3vN1kLx.q8Zt3vN1kLx0WmC7rYbE5uHsJd2FgPaTq8Zt3vN1kLx",
        "ccgr_.",
        "ticket.q8Zt3vN1kLx0WmC7rYbE5uHsJd2FgPaTq8Zt3vN1kLx",
    ] {
        assert!(tokens.verify(text).is_err());
    }
}
