//! A small HTTPS client: one request with a small answer, within a time.
//!
//! Invariants: no redirect is followed; a body is read up to a limit; the machine's own certificates say whom to trust
//! (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded). Whether plain HTTP is good enough for an address is for the caller
//! to say.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// How long one answer may take altogether.
const TIME: Duration = Duration::from_secs(5);
/// Largest answer, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// Why a document could not be had. For the log; names no secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It did not come in time.
    #[error("no answer within {} seconds", TIME.as_secs())]
    TimedOut,
    /// Another status than 200.
    #[error("the answer was {0}")]
    Status(StatusCode),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// The client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Fetcher {
    /// A client that trusts whom the machine trusts. On a machine that trusts nobody it works for plain HTTP.
    #[must_use]
    pub fn new() -> Self {
        // Named, because there can be two in the tree of the tests.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut found = rustls::RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        let (trusted, _) = found.add_parsable_certificates(native.certs);
        if trusted == 0 {
            tracing::warn!("this machine has no certificates to trust others by: nothing can be fetched over https");
        }
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|config| config.with_root_certificates(found).with_no_client_auth());
        #[expect(clippy::expect_used, reason = "this provider has all suites of the default versions")]
        let config = config.expect("TLS with its default versions");
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// The document there.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get(&self, address: &Uri) -> Result<Bytes, FetchError> {
        let request = Request::get(address.clone()).header(header::ACCEPT, "application/json").body(Bytes::new());
        let answer = self.send(request.map_err(|error| FetchError::Failed(error.to_string()))?).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            other => Err(FetchError::Status(other)),
        }
    }

    /// The answer to a request, whatever its status.
    ///
    /// # Errors
    /// [`FetchError::TimedOut`] or [`FetchError::Failed`].
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        tokio::time::timeout(TIME, self.exchange(request)).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        let failed = |error: &dyn std::error::Error| FetchError::Failed(chain(error));
        let (mut head, body) = request.into_parts();
        head.headers.insert(header::USER_AGENT, HeaderValue::from_static("cc-gateway"));
        let request = Request::from_parts(head, Full::new(body));
        let (head, body) = self.client.request(request).await.map_err(|error| failed(&error))?.into_parts();
        let body = Limited::new(body, MAX_BYTES).collect().await.map_err(|error| failed(&*error))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::new()
    }
}

/// An error with its causes: "client error (Connect)" alone says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
