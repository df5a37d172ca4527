//! An outside issuer for tests: it signs tokens and serves its keys.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cc_gateway::auth::{Grant, Keys, Tokens};
use cc_gateway::config::settings::AuthSettings;
use cc_gateway::telemetry::tasks;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An issuer: it signs tokens, and serves its keys.
pub(super) struct Issuer {
    tokens: Tokens,
    jwks_url: String,
    /// How often somebody has asked for its keys.
    pub(super) asked: Arc<AtomicUsize>,
    /// It answers with a failure.
    pub(super) silent: Arc<AtomicBool>,
    _files: tempfile::TempDir,
}

impl Issuer {
    /// One whose keys are there from the start, and whose tokens are for `cc-gateway`.
    pub(super) async fn start(fixture: &str) -> Self {
        Self::start_with(fixture, None).await
    }

    /// The same, over TLS as this server does it.
    pub(super) async fn start_tls(fixture: &str, server: rustls::ServerConfig) -> Self {
        Self::start_with(fixture, Some(TlsAcceptor::from(Arc::new(server)))).await
    }

    async fn start_with(fixture: &str, tls: Option<TlsAcceptor>) -> Self {
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
        let scheme = if tls.is_some() { "https" } else { "http" };
        tasks::spawn("test-issuer", async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let status = || {
                    counts.fetch_add(1, Ordering::SeqCst);
                    if hangs.load(Ordering::SeqCst) { "500 Broken" } else { "200 OK" }
                };
                match &tls {
                    None => answer(stream, &body, status).await,
                    // Who does not trust it goes away in the middle.
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => answer(stream, &body, status).await,
                        Err(_) => continue,
                    },
                }
            }
        });
        let jwks_url = format!("{scheme}://{address}/jwks");
        Self { tokens, jwks_url, asked, silent, _files: files }
    }

    /// The setting that trusts it. Our own tokens have their role in `role`.
    pub(super) fn setting(&self) -> String {
        format!(
            "[{{ issuer = \"https://id.example.com\", jwks_url = \"{}\", audience = \"cc-gateway\", \
             name_claim = \"username\", role_claim = \"role\", admin_values = [\"admin\"], user_values = [\"user\"] }}]",
            self.jwks_url
        )
    }

    /// A token for that caller.
    pub(super) fn token(&self, subject: &str) -> String {
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

/// Answers one request. `status` is asked once the request is there.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, body: &str, status: impl FnOnce() -> &'static str) {
    let mut request = [0; 4_096];
    if !matches!(stream.read(&mut request).await, Ok(1..)) {
        return;
    }
    let head = format!("HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", status(), body.len());
    let _gone = stream.write_all(format!("{head}{body}").as_bytes()).await;
    let _gone = stream.shutdown().await;
}
