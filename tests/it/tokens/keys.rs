//! Signing keys in files: published, changed while the gateway runs, and withdrawn.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{connect, log_in, refused_token, text};
use crate::support::{Gateway, eventually, http};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys").join(name)).unwrap()
}

fn write(path: &Path, content: &[u8]) {
    // Whole or not at all, as a careful operator does it.
    let draft = path.with_extension("draft");
    std::fs::write(&draft, content).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(draft, path).unwrap();
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

async fn until_keys(gateway: &Gateway, count: usize) -> Value {
    let deadline = std::time::Instant::now() + crate::support::DEADLINE;
    loop {
        let keys = http::get(gateway.http, "/.well-known/jwks.json").await.json();
        if keys["keys"].as_array().unwrap().len() == count {
            return keys;
        }
        assert!(std::time::Instant::now() < deadline, "waited in vain for {count} keys: {keys}");
    }
}

#[tokio::test]
async fn c6_keys_are_rotated_with_overlap_without_a_dropped_socket() {
    let builder = Gateway::builder();
    let signing = builder.directory().join("signing.pem");
    let accepted = builder.directory().join("accepted");
    std::fs::create_dir(&accepted).unwrap();
    write(&signing, &fixture("rsa-1.pem"));
    let mut gateway = builder
        .setting("signing_key_file", signing.display())
        .setting("accepted_key_files", accepted.display())
        .start()
        .await;
    let old = log_in(&gateway).await;
    assert_eq!(header(text(&old, "access_token"))["alg"], "RS256");
    let published = until_keys(&gateway, 1).await;
    assert_eq!(published["keys"][0]["kid"], header(text(&old, "access_token"))["kid"]);
    let mut client = connect(&gateway, text(&old, "access_token")).await;

    // The old key's public half is accepted from now on; then another key signs. The second time by the signal.
    std::fs::write(accepted.join("last.pem"), fixture("rsa-1.pub.pem")).unwrap();
    write(&signing, &fixture("ed25519-1.pem"));
    gateway.signal(Signal::HUP);
    let published = until_keys(&gateway, 2).await;
    let new = log_in(&gateway).await;
    assert_eq!(header(text(&new, "access_token"))["alg"], "EdDSA");
    assert_eq!(published["keys"][0]["kid"], header(text(&new, "access_token"))["kid"]);
    for pair in [&old, &new] {
        connect(&gateway, text(pair, "access_token")).await;
    }
    client.ok("server.info", json!({})).await;
    client.ok("auth.reauthenticate", json!({"access_token": new["access_token"]})).await;

    // The overlap is over, noticed without a signal.
    std::fs::remove_file(accepted.join("last.pem")).unwrap();
    until_keys(&gateway, 1).await;
    assert_eq!(refused_token(&gateway, text(&old, "access_token")).await, 401);
    connect(&gateway, text(&new, "access_token")).await;
    client.ok("server.info", json!({})).await;

    // A file that can't be used changes nothing, and is told.
    write(&signing, b"no key");
    gateway.signal(Signal::HUP);
    let told = || gateway.log().contains("the keys of access tokens can't be read").then_some(());
    eventually("the bad key to be told of", told).await;
    connect(&gateway, text(&new, "access_token")).await;
    // The refresh token knows no key: it gives a token of the key of now.
    write(&signing, &fixture("ed25519-2.pem"));
    gateway.signal(Signal::HUP);
    eventually("the third key", || {
        (gateway.log().matches("the keys of access tokens have changed").count() >= 3).then_some(())
    })
    .await;
    let next = http::post(gateway.http, "/auth/refresh", &json!({"refresh_token": old["refresh_token"]})).await.json();
    assert_ne!(header(text(&next, "access_token"))["kid"], header(text(&new, "access_token"))["kid"]);
    client.ok("server.info", json!({})).await;
    drop(client);
    gateway.stop().await;
}
