//! A certified provider, run by Node.js, and the part of a browser that logs in there: forms over plain HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::gateway::Builder;
use crate::support::http::{Response, post, request};
use crate::support::{Gateway, within};

/// Browsers reach the gateway by this name; the tests know where it really is.
pub(super) const BASE: &str = "https://gateway.test";
const SECRET: &str = "canary-client-secret-91c2";

/// The running provider.
pub(super) struct Provider {
    pub(super) address: SocketAddr,
    /// Killed with it.
    process: Child,
    files: tempfile::TempDir,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let module = root.join(".tools/oidc-provider/node_modules/oidc-provider/lib/index.js");
        assert!(module.exists(), "the provider is missing: run scripts/tools.sh --tests");
        let mut process = Command::new("node")
            .arg(root.join("tests/support/oidc_provider.mjs"))
            .arg(module)
            .arg(format!("{BASE}/auth/oidc/callback"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let told = within("the provider's port", lines.next_line()).await.expect("a line").expect("a port");
        let files = tempfile::tempdir().expect("a directory");
        std::fs::write(files.path().join("secret"), format!("{SECRET}\n")).expect("a secret file");
        Self { address: SocketAddr::from(([127, 0, 0, 1], told.parse().expect("a port"))), process, files }
    }

    fn secret_file(&self) -> PathBuf {
        self.files.path().join("secret")
    }

    /// A gateway that sends people here.
    pub(super) fn gateway(&self, builder: Builder) -> Builder {
        settings(builder, &format!("http://{}", self.address))
            .setting("oidc_client_secret_file", self.secret_file().display())
    }

    /// Says other things of a person from now on.
    pub(super) async fn change(&self, name: &str, claims: &Value) {
        assert_eq!(post(self.address, &format!("/people/{name}"), claims).await.status, 200);
    }

    pub(super) async fn end(&mut self) {
        self.process.kill().await.expect("the provider can be killed");
    }
}

/// The settings of all tests, for a provider of that name.
pub(super) fn settings(builder: Builder, issuer: &str) -> Builder {
    builder
        .setting("oidc_issuer", issuer)
        .setting("oidc_client_id", "gateway")
        .setting("oidc_redirect_base", BASE)
        .setting("oidc_scopes", "[\"profile\"]")
        .setting("oidc_role_claim", "groups")
        .setting("oidc_admin_values", "[\"gateway-admins\"]")
        .setting("oidc_user_values", "[\"staff\"]")
        .setting("oidc_required", "{ hd = \"example.com\" }")
}

/// A browser: it keeps cookies and goes where it is sent.
#[derive(Default)]
pub(super) struct Browser {
    cookies: BTreeMap<(SocketAddr, String), String>,
}

impl Browser {
    /// One request, without going on.
    pub(super) async fn ask(&mut self, at: SocketAddr, method: Method, path: &str, form: Option<&str>) -> Response {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .filter(|((of, _), _)| *of == at)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("cookie", cookies.as_str())];
        headers.extend(form.map(|_| ("content-type", "application/x-www-form-urlencoded")));
        let body = Bytes::from(form.unwrap_or_default().to_owned());
        let answer = request(at, method, path, &headers, body).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let pair = cookie.to_str().expect("text").split(';').next().expect("a pair");
            let (name, value) = pair.split_once('=').expect("a pair");
            self.cookies.insert((at, name.to_owned()), value.to_owned());
        }
        answer
    }

    /// Begins at the gateway: the address at the provider that it is sent to.
    pub(super) async fn begin(&mut self, gateway: &Gateway, query: &str) -> String {
        let answer = self.ask(gateway.http, Method::GET, &format!("/auth/oidc/login{query}"), None).await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        answer.header("location").to_owned()
    }

    /// Logs in at the provider, from the address that the gateway gave: the path and query that it is sent back with.
    pub(super) async fn log_in(&mut self, provider: &Provider, address: &str, name: &str) -> String {
        let here = format!("http://{}", provider.address);
        let mut next = address.to_owned();
        for _ in 0..12 {
            if let Some(back) = next.strip_prefix(BASE) {
                return back.to_owned();
            }
            let path = next.strip_prefix(&here).unwrap_or(&next).to_owned();
            let mut answer = self.ask(provider.address, Method::GET, &path, None).await;
            if answer.status == 200 {
                let page = answer.text();
                let prompt = if page.contains("value=\"login\"") { "login" } else { "consent" };
                let form = format!("prompt={prompt}&login={name}&password=x");
                let action = page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
                let action = action.strip_prefix(&here).unwrap_or(action).to_owned();
                answer = self.ask(provider.address, Method::POST, &action, Some(&form)).await;
            }
            assert!(answer.status.is_redirection(), "{path}: {} {}", answer.status, answer.text());
            next = answer.header("location").to_owned();
        }
        panic!("the provider sends the browser around for ever");
    }

    /// A whole login: what the gateway answers in the end.
    pub(super) async fn whole(&mut self, gateway: &Gateway, provider: &Provider, name: &str) -> Response {
        let address = self.begin(gateway, "").await;
        let back = self.log_in(provider, &address, name).await;
        self.ask(gateway.http, Method::GET, &back, None).await
    }
}
