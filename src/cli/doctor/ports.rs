//! The two listeners: free, or already served by a gateway; and who can reach them.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde::Deserialize;

use super::super::probe;
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

/// Both listeners. The second value: does a gateway serve them already?
pub(super) async fn listeners(settings: &Settings) -> (Vec<Check>, bool) {
    let mut checks = Vec::new();
    let mut served = false;
    for (name, setting, listen) in [
        ("HTTP port", "http_listen", settings.http.http_listen),
        ("WebSocket port", "ws_listen", settings.websocket.ws_listen),
    ] {
        let version = gateway_at(listen).await;
        served |= version.is_some();
        checks.push(match version {
            Some(version) => Check::ok(name, format!("{listen} is served by cc-gateway {version}")),
            None => free(name, setting, listen),
        });
        if !listen.ip().is_loopback() {
            checks.push(Check::warn(
                name,
                format!("{listen} can be reached from other machines, without TLS"),
                "put a proxy with TLS in front, or listen on 127.0.0.1",
            ));
        }
    }
    (checks, served)
}

/// The version of the gateway that serves that address, if one does.
async fn gateway_at(listen: SocketAddr) -> Option<String> {
    if listen.port() == 0 {
        return None;
    }
    let answer = probe::get(listen, "/health", PATIENCE).await.ok()?;
    let health: Health = serde_json::from_slice(&answer.body).ok()?;
    health.service.starts_with("cc-gateway").then_some(health.version)
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

    #[tokio::test]
    async fn a_port_that_a_gateway_serves_is_well_and_one_of_another_program_is_not() {
        let gateway =
            probe::answering("200 OK", r#"{"status":"healthy","service":"cc-gateway-api","version":"1.2.3"}"#).await;
        let (checks, served) = listeners(&settings(gateway)).await;
        assert!(served && checks[0].level == Level::Ok && checks[0].found.ends_with("cc-gateway 1.2.3"), "{checks:?}");

        let other = probe::answering("200 OK", "hi").await;
        let (checks, served) = listeners(&settings(other)).await;
        assert!(!served && checks[0].level == Level::Fail, "{checks:?}");
    }

    #[tokio::test]
    async fn a_listener_for_all_addresses_is_worth_a_warning() {
        let (checks, served) = listeners(&settings("0.0.0.0:0".parse().unwrap())).await;
        assert_eq!(checks.iter().map(|check| check.level).collect::<Vec<_>>(), [Level::Ok, Level::Warn, Level::Ok]);
        assert!(!served);
    }
}
