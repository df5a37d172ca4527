//! The two listeners: free, or already served by this data directory's gateway; and who can reach them.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde::Deserialize;

use super::super::{output, probe};
use super::report::Check;
use crate::config::Settings;

/// How long a health answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What both listeners answer at `/health`.
#[derive(Deserialize)]
struct Health {
    service: String,
    version: String,
}

/// A listener of the settings, and what it calls itself where a gateway serves it.
struct Listener {
    name: &'static str,
    setting: &'static str,
    service: &'static str,
    listen: SocketAddr,
    found: Option<Health>,
}

/// Both listeners, and what answers there.
pub(super) struct Found([Listener; 2]);

/// Asks both.
pub(super) async fn look(settings: &Settings) -> Found {
    let (http, ws) = (settings.http.http_listen, settings.websocket.ws_listen);
    let listener = |name, setting, service, listen, found| Listener { name, setting, service, listen, found };
    Found([
        listener("HTTP port", "http_listen", "cc-gateway-api", http, gateway_at(http).await),
        listener("WebSocket port", "ws_listen", "cc-gateway-ws", ws, gateway_at(ws).await),
    ])
}

impl Found {
    /// Does a gateway serve any of them, whosever it is?
    pub(super) fn is_gateway(&self) -> bool {
        self.0.iter().any(|listener| listener.found.is_some())
    }

    /// What that means for a start; `own_gateway_runs`: the one of this data directory does.
    pub(super) fn checks(&self, own_gateway_runs: bool) -> Vec<Check> {
        self.0.iter().flat_map(|listener| listener.checks(own_gateway_runs)).collect()
    }
}

impl Listener {
    fn checks(&self, own_gateway_runs: bool) -> Vec<Check> {
        let Self { name, setting, service, listen, found } = self;
        let mut checks = vec![match found {
            Some(health) if own_gateway_runs && health.service == *service => {
                Check::ok(name, format!("{listen} is served by cc-gateway {}", output::plain_line(&health.version)))
            }
            Some(health) if own_gateway_runs => Check::fail(
                name,
                format!("{listen} is served by cc-gateway as something else ({})", output::plain_line(&health.service)),
                format!("set {setting} to the address of that listener"),
            ),
            Some(_) => Check::fail(
                name,
                format!("{listen} is served by another cc-gateway: a start with these settings can't listen there"),
                format!("stop that one, or set {setting} to another address"),
            ),
            None => free(name, setting, *listen),
        }];
        if !listen.ip().is_loopback() {
            checks.push(Check::warn(
                name,
                format!("{listen} can be reached from other machines, without TLS"),
                "put a proxy with TLS in front, or listen on 127.0.0.1",
            ));
        }
        checks
    }
}

/// The gateway that serves that address, if one does.
async fn gateway_at(listen: SocketAddr) -> Option<Health> {
    if listen.port() == 0 {
        return None;
    }
    let answer = probe::get(listen, "/health", PATIENCE).await.ok()?;
    let health: Health = serde_json::from_slice(&answer.body).ok()?;
    health.service.starts_with("cc-gateway").then_some(health)
}

fn free(name: &'static str, setting: &str, listen: SocketAddr) -> Check {
    let other = format!("set {setting} to another address");
    match TcpListener::bind(listen) {
        Ok(_) => Check::ok(name, format!("{listen} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Check::fail(name, format!("{listen} is in use by another program"), format!("stop it, or {other}"))
        }
        Err(error) => Check::fail(name, format!("{listen} can't be listened on: {error}"), other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn settings(listen: SocketAddr) -> Settings {
        let mut settings = Settings::default();
        settings.http.http_listen = listen;
        settings.websocket.ws_listen = "127.0.0.1:0".parse().unwrap();
        settings
    }

    const API: &str = r#"{"status":"healthy","service":"cc-gateway-api","version":"1.2.3"}"#;

    #[tokio::test]
    async fn a_port_that_this_ones_gateway_serves_is_well_and_another_ones_or_another_programs_is_not() {
        let gateway = probe::answering("200 OK", API).await;
        let found = look(&settings(gateway)).await;
        assert!(found.is_gateway());
        let own = found.checks(true).remove(0);
        assert!(own.level == Level::Ok && own.found.ends_with("cc-gateway 1.2.3"), "{own:?}");
        let others = found.checks(false).remove(0);
        assert!(others.level == Level::Fail && others.found.contains("another cc-gateway"), "{others:?}");

        let program = look(&settings(probe::answering("200 OK", "hi").await)).await;
        assert!(!program.is_gateway() && program.checks(true)[0].level == Level::Fail);
    }

    #[tokio::test]
    async fn the_http_listener_of_a_gateway_is_no_place_for_websockets() {
        let mut settings = settings("127.0.0.1:0".parse().unwrap());
        settings.websocket.ws_listen = probe::answering("200 OK", API).await;
        let check = look(&settings).await.checks(true).remove(1);
        assert!(check.level == Level::Fail && check.found.contains("cc-gateway-api"), "{check:?}");
    }

    #[tokio::test]
    async fn a_listener_for_all_addresses_is_worth_a_warning() {
        let found = look(&settings("0.0.0.0:0".parse().unwrap())).await;
        let levels: Vec<_> = found.checks(false).iter().map(|check| check.level).collect();
        assert_eq!(levels, [Level::Ok, Level::Warn, Level::Ok]);
        assert!(!found.is_gateway());
    }
}
