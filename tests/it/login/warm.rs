//! Agents that were started ahead with a login, when that login is another one or none.

use serde_json::json;

use super::{HOUR, credentials, put, scripted};
use crate::session::{ended, run};
use crate::support::{Gateway, metrics};

/// Waits until so many agents have gone because of the login, and until so many are there.
async fn until(gateway: &Gateway, gone: u32, ready: u32) {
    metrics::until(gateway.http, "cc_gateway_warm_put_away_total{reason=\"login\"}", f64::from(gone)).await;
    metrics::until(gateway.http, "cc_gateway_warm_processes{state=\"ready\"}", f64::from(ready)).await;
}

#[tokio::test]
async fn agents_started_ahead_go_with_the_login_that_they_were_started_with_and_not_when_it_is_renewed() {
    let mut gateway = scripted().setting("warm_processes", 1).start().await;
    let claude = gateway.path("claude");
    put(&claude, ".credentials.json", &credentials(HOUR, |_| ()));
    let mut client = gateway.client().await;
    assert_eq!(ended(&run(&mut client, "say one").await)["result"], "one");
    until(&gateway, 0, 1).await;
    let agents = gateway.processes();
    // Renewed: the same login.
    put(&claude, ".credentials.json", &credentials(2 * HOUR, |_| ()));
    assert_eq!(ended(&run(&mut client, "say two").await)["result"], "two");
    assert_eq!(metrics::value(gateway.http, "cc_gateway_warm_starts_total{agent=\"warm\"}").await, 1.0);
    until(&gateway, 0, 1).await;
    assert_ne!(gateway.processes(), agents);

    put(&claude, ".credentials.json", &credentials(HOUR, |login| login["subscriptionType"] = json!("pro")));
    until(&gateway, 1, 1).await;
    // Without a login none is there, and none is started.
    std::fs::remove_file(claude.join(".credentials.json")).unwrap();
    until(&gateway, 2, 0).await;
    gateway.until_no_processes().await;
    put(&claude, ".credentials.json", &credentials(HOUR, |_| ()));
    until(&gateway, 2, 1).await;
    gateway.stop().await;
}
