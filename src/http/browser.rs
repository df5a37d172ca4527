//! Browsers: by which names they may call us, and what pages of other origins may read.
//!
//! Invariants:
//! - A request by a name that a stranger could have made point here is refused before anything else is looked at
//!   (see [`crate::auth::host`]).
//! - Only pages of exactly the listed origins may read answers, only of `/login` and `/auth/*`, and never with what
//!   the browser would add by itself (cookies): there is no credentials mode. What these give or change is refused to
//!   every other page before it is done.
//! - Whatever depends on `Origin` says so (`Vary`), so that no cache hands one page's answer to another.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::problem::HttpProblem;
use crate::api::route::{ROUTES, RouteInfo};
use crate::auth::host::{self, HostError};
use crate::auth::{OriginError, origin};
use crate::config::Settings;

/// How long a browser may keep what a preflight said, in seconds.
const PREFLIGHT_SECONDS: &str = "600";

/// Which names and which pages may call.
#[derive(Debug, Clone, Default)]
pub struct Browsers {
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
}

impl Browsers {
    /// As the settings say.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let mut allowed_hosts = settings.http.allowed_hosts.clone();
        // The operator has said that browsers come by it, and a provider sends them there.
        let base = settings.oidc.oidc_redirect_base.parse::<Uri>().ok();
        allowed_hosts.extend(base.and_then(|base| base.host().map(str::to_owned)));
        Self { allowed_hosts, allowed_origins: settings.websocket.allowed_origins.clone() }
    }

    /// May this request call us by that name? Both places count that can hold one.
    pub(super) fn check_host(&self, request: &Request) -> Result<(), HttpProblem> {
        let in_target = request.uri().authority().map(|name| HeaderValue::from_str(name.as_str()));
        let in_target = in_target.transpose().map_err(|_| HostError::Malformed);
        let judged = in_target.and_then(|in_target| {
            host::check(request.headers().get_all(HOST), &self.allowed_hosts)?;
            host::check(in_target.as_ref(), &self.allowed_hosts)
        });
        judged.map_err(|error| match error {
            HostError::Malformed => HttpProblem::new(StatusCode::BAD_REQUEST, "host", error.to_string()),
            HostError::NotAllowed => HttpProblem::new(StatusCode::FORBIDDEN, "host", error.to_string()),
        })
    }

    /// The origin of the page that asks, if it is a listed one; `None`: no page asks.
    pub(super) fn check_origin<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, OriginError> {
        origin::check(headers.get_all(ORIGIN), &self.allowed_origins)?;
        // A listed origin is plain text.
        Ok(headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()))
    }

    /// Is that one of the listed origins?
    pub(super) fn lists(&self, origin: &str) -> bool {
        HeaderValue::from_str(origin).is_ok_and(|origin| origin::check([&origin], &self.allowed_origins).is_ok())
    }
}

/// A request as it concerns pages of other origins.
pub(super) struct Page {
    route: Option<&'static RouteInfo>,
    origins: Vec<HeaderValue>,
    is_options: bool,
    asks_first: bool,
}

impl Page {
    /// Reads it off a request to the route of that path.
    pub(super) fn of(request: &Request, path: &str) -> Self {
        let headers = request.headers();
        let is_options = request.method() == Method::OPTIONS;
        Self {
            route: ROUTES.iter().find(|route| route.path == path && route.is_for_pages()),
            origins: headers.get_all(ORIGIN).iter().cloned().collect(),
            is_options,
            asks_first: is_options && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD),
        }
    }

    /// Refuses a page that is none of the listed ones where it could get or change something. A request to ask first
    /// has its own answer.
    pub(super) fn check(&self, browsers: &Browsers) -> Result<(), OriginError> {
        match self.route {
            Some(route) if route.is_closed_to_other_pages() && !self.is_options => {
                origin::check(&self.origins, &browsers.allowed_origins)
            }
            _ => Ok(()),
        }
    }

    /// The page's origin, if it may read answers of this route.
    fn admitted(&self, browsers: &Browsers) -> Option<&HeaderValue> {
        self.route?;
        origin::check(&self.origins, &browsers.allowed_origins).ok()?;
        self.origins.first()
    }

    /// The answer to a browser that asks whether the page may; `None`: it does not ask, or may not.
    pub(super) fn preflight(&self, browsers: &Browsers) -> Option<Response> {
        let route = self.route.filter(|_| self.asks_first)?;
        self.admitted(browsers)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(route.method()));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
        Some(response)
    }

    /// Lets an admitted page read the answer.
    pub(super) fn admit(&self, browsers: &Browsers, headers: &mut HeaderMap) {
        if self.route.is_some() {
            headers.append(VARY, HeaderValue::from_name(ORIGIN));
        }
        if let Some(origin) = self.admitted(browsers) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
        }
    }
}
