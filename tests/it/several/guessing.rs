//! Whoever guesses passwords has no more tries at several gateways than at one.

use serde_json::json;

use crate::support::fleet::Fleet;
use crate::support::gateway::ADMIN_PASSWORD;
use crate::support::redis_server::Server;
use crate::support::{Builder, Gateway, http};

const PASSWORD: &str = "canary-user-password-91c4";
/// How often one name may fail from one address.
const LIMIT: usize = 6;

fn limited(builder: Builder) -> Builder {
    builder.setting("max_failed_logins_per_minute", LIMIT)
}

/// The status of a login, and whether it says when to come back.
async fn login(gateway: &Gateway, name: &str, password: &str) -> (u16, bool) {
    let body = json!({"username": name, "password": password});
    let answer = http::post(gateway.http, "/login", &body).await;
    let wait = answer.header("retry-after").parse().is_ok_and(|seconds: u64| (1..=60).contains(&seconds));
    (answer.status.as_u16(), wait)
}

/// Guesses until the gateway holds the name back. It does without the count of all gateways if the store does not tell
/// it in a second, so one look is not enough; by its own half of that count it would let through as many again.
async fn until_held_back(gateway: &Gateway, name: &str) {
    for _ in 0..LIMIT / 2 {
        match login(gateway, name, "a wrong one").await {
            (429, true) => return,
            passed => assert_eq!(passed, (401, false), "{name}"),
        }
    }
    panic!("{name} is not held back by what other gateways have counted");
}

#[tokio::test]
async fn c7_wrong_passwords_at_several_gateways_count_together_and_other_accounts_are_unaffected() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 2, limited).await;
    let mut admin = fleet.gateways[0].client().await;
    for name in ["ada", "bob"] {
        admin.ok("account.create", json!({"username": name, "password": PASSWORD})).await;
    }
    for name in ["ada", "nobody"] {
        for attempt in 0..LIMIT {
            assert_eq!(
                login(&fleet.gateways[attempt % 2], name, "a wrong one").await,
                (401, false),
                "{name} {attempt}"
            );
        }
        for gateway in &fleet.gateways {
            until_held_back(gateway, name).await;
            assert_eq!(login(gateway, name, PASSWORD).await, (429, true), "{name}: right or not");
        }
    }
    // A gateway that comes later, and one that starts again, count on.
    let mut late = fleet.another(&server, limited).await;
    until_held_back(&late, "ada").await;
    late.restart().await;
    until_held_back(&late, "ada").await;
    for gateway in fleet.gateways.iter().chain([&late]) {
        assert_eq!(login(gateway, "bob", PASSWORD).await, (200, false));
        assert_eq!(login(gateway, "admin", ADMIN_PASSWORD).await, (200, false));
    }
    late.stop().await;
    fleet.stop().await;
}
