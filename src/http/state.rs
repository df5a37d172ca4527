//! What the routes need of the rest of the house.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;

use super::browser::Browsers;
use crate::api::http::{AuthStatus, Readiness};
use crate::auth::{Accounts, Authenticator, Logins, OidcLogins, Tokens};
use crate::config::settings::HttpSettings;

/// A request that is not answered by then is answered 503.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A body that has not arrived by then is answered 408.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Facts about the running gateway. A trait, so that this layer knows none of the parts they come from.
#[async_trait]
pub trait GatewayFacts: Send + Sync {
    /// Can it take work, and why not?
    async fn readiness(&self) -> Readiness;

    /// The state of Claude's own login, its path included.
    async fn claude_login(&self) -> AuthStatus;

    /// Slots taken now, and slots there are.
    async fn slots(&self) -> (u64, u32);

    /// Whole seconds since the start.
    fn uptime_seconds(&self) -> u64;

    /// Is it shutting down?
    fn draining(&self) -> bool;
}

/// What a request is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Largest body, in bytes.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take altogether.
    pub request_timeout: Duration,
}

impl RequestLimits {
    /// The settings' body limit, 10 seconds for a body, 30 for the whole.
    #[must_use]
    pub fn new(settings: &HttpSettings) -> Self {
        Self { body_bytes: settings.body_limit_bytes, body_timeout: BODY_TIMEOUT, request_timeout: REQUEST_TIMEOUT }
    }
}

/// The state of all routes. Cheap to clone: what is in it is shared with the rest of the house.
#[derive(Clone)]
pub struct HttpState {
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// Begins, renews and ends logins.
    pub logins: Arc<Logins>,
    /// Logins at a provider outside, if the settings name one.
    pub oidc: Option<Arc<OidcLogins>>,
    /// Has the keys of access tokens.
    pub tokens: Arc<Tokens>,
    /// Says whose an access token is.
    pub authenticator: Arc<Authenticator>,
    /// Facts about the running gateway.
    pub gateway: Arc<dyn GatewayFacts>,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// What a request is held to.
    pub limits: RequestLimits,
    /// Which web pages may call, and by which names.
    pub browsers: Arc<Browsers>,
}

impl std::fmt::Debug for HttpState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpState").field("limits", &self.limits).finish_non_exhaustive()
    }
}
