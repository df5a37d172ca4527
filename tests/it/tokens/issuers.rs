//! Callers that an outside issuer vouches for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cc_gateway::auth::{Grant, Keys, Tokens};
use cc_gateway::config::settings::AuthSettings;
use cc_gateway::telemetry::tasks;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{connect, post_as, refused_token};
use crate::support::{Client, Gateway, eventually};

/// An issuer: it signs tokens, and serves its keys.
struct Issuer {
    tokens: Tokens,
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    silent: Arc<AtomicBool>,
    _files: tempfile::TempDir,
}

impl Issuer {
    /// One whose keys are there from the start, and whose tokens are for `cc-gateway`.
    async fn start(fixture: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("key.pem");
        let keys = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys").join(fixture);
        std::fs::copy(keys, &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let settings = AuthSettings {
            signing_key_file: path.clone(),
            token_issuer: "https://id.example.com".to_owned(),
            ..AuthSettings::default()
        };
        let tokens = Tokens::with_keys(&settings, Keys::load(&settings, &path).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, silent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let body = tokens.keys().published().to_string();
        let (counts, hangs) = (Arc::clone(&asked), Arc::clone(&silent));
        tasks::spawn("test-issuer", async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                counts.fetch_add(1, Ordering::SeqCst);
                let status = if hangs.load(Ordering::SeqCst) { "500 Broken" } else { "200 OK" };
                let answer =
                    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { tokens, address, asked, silent, _files: files }
    }

    /// The setting that trusts it. Our own tokens have their role in `role`.
    fn setting(&self) -> String {
        format!(
            "[{{ issuer = \"https://id.example.com\", jwks_url = \"http://{}/jwks\", audience = \"cc-gateway\", \
             name_claim = \"username\", role_claim = \"role\", admin_values = [\"admin\"], user_values = [\"user\"] }}]",
            self.address
        )
    }

    fn token(&self, subject: &str) -> String {
        let account = cc_gateway::store::Account {
            subject: subject.to_owned(),
            username: format!("name of {subject}"),
            role: cc_gateway::api::Role::User,
            password_hash: String::new(),
            disabled: false,
            created_at_ms: 0,
            scopes: None,
            password_changed_at_ms: 0,
            revision: 0,
        };
        let login = cc_gateway::api::Login { began_ms: 1, key: "a".repeat(32) };
        self.tokens.issue_to(&Grant::new(&account, login)).token.expose_secret().to_owned()
    }
}

#[tokio::test]
async fn a_caller_of_an_outside_issuer_works_without_an_account_and_sees_only_their_own() {
    let issuer = Issuer::start("rsa-1.pem").await;
    let mut gateway = Gateway::builder()
        .setting("trusted_issuers", issuer.setting())
        .setting("shared_uid_accepted", true)
        .start()
        .await;
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 0, "keys are fetched when they are needed");
    let (ada, bob) = (issuer.token("ada"), issuer.token("bob"));
    let mut client = connect(&gateway, &ada).await;
    let session = client.start(json!({"prompt": "say hello"})).await;
    client.until_ended(session).await;
    let row = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(row["session_id"], session.to_string());
    let mut other = connect(&gateway, &bob).await;
    let unseen = other.error("session.get", json!({"session_id": session})).await;
    assert_eq!(unseen["code"], -32002);
    let mut admin = gateway.client().await;
    admin.ok("session.get", json!({"session_id": session})).await;
    // A new token of the same caller, a ticket, and the end of this one.
    let next = issuer.token("ada");
    client.ok("auth.reauthenticate", json!({"access_token": next})).await;
    assert_eq!(client.error("auth.reauthenticate", json!({"access_token": bob})).await["code"], -32005);
    let ticket = post_as(gateway.http, "/auth/ticket", &ada, &[]).await.json();
    let offered = format!("cc-gateway.v1, ticket.{}", ticket["ticket"].as_str().unwrap());
    Client::try_connect(gateway.ws, "/ws", &[("sec-websocket-protocol", offered)]).await.unwrap();
    assert_eq!(post_as(gateway.http, "/auth/logout", &next, &[]).await.status, 200);
    assert_eq!(client.until_closed().await.code, Some(4001));
    assert_eq!(refused_token(&gateway, &next).await, 401);
    connect(&gateway, &ada).await;
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "one fetch serves them all");
    gateway.stop().await;
}

#[tokio::test]
async fn c1_tokens_that_no_key_of_the_issuer_has_signed_are_refused_and_do_not_hammer_it() {
    let issuer = Issuer::start("ed25519-1.pem").await;
    let stranger = Issuer::start("ed25519-2.pem").await;
    let gateway = Gateway::builder().setting("trusted_issuers", issuer.setting()).start().await;
    let good = issuer.token("ada");
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    for n in 0..20 {
        let unknown = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": format!("unknown-{n}")}).to_string();
        for token in [
            stranger.token("ada"),
            format!("{}.{body}.{signature}", URL_SAFE_NO_PAD.encode(unknown)),
            format!("{head}.{body}."),
        ] {
            assert_eq!(refused_token(&gateway, &token).await, 401);
        }
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    assert_eq!(stranger.asked.load(Ordering::SeqCst), 0, "what a token says of its issuer leads nowhere");
    connect(&gateway, &good).await;
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_told_of_and_ours_still_work() {
    let issuer = Issuer::start("rsa-1.pem").await;
    issuer.silent.store(true, Ordering::SeqCst);
    let gateway = Gateway::builder().setting("trusted_issuers", issuer.setting()).start().await;
    assert_eq!(refused_token(&gateway, &issuer.token("ada")).await, 401);
    let told = || gateway.log().contains("keys could not be fetched").then_some(());
    eventually("the failure to be told of", told).await;
    gateway.client().await.ok("server.info", json!({})).await;
}
