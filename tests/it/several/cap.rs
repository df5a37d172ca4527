//! One cap for all: counted by the agents themselves.

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::support::fleet::Fleet;
use crate::support::redis_server::Server;
use crate::support::soak;

const CAP: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j1_of_many_starts_at_once_through_two_gateways_never_more_run_than_the_cap() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 2, |builder| builder.setting("max_sessions", CAP)).await;
    let starts = soak::count(60, 200);
    let mut clients = [fleet.gateways[0].client().await, fleet.gateways[1].client().await];
    let mut asked = [Vec::new(), Vec::new()];
    for number in 0..starts {
        let at = number % 2;
        let call = clients[at].send_call("session.start", json!({"prompt": "sleep 200ms; say done", "queue": true}));
        asked[at].push(call.await);
    }
    let all = clients.iter_mut().zip(&asked).map(|(client, asked)| async move {
        let mut reasons = Vec::new();
        let mut sessions: Vec<Uuid> = Vec::new();
        for call in asked {
            let started = client.answer(*call).await.expect("a place in the line");
            sessions.push(started["session_id"].as_str().unwrap().parse().unwrap());
        }
        for session in sessions {
            let events = client.until_ended(session).await;
            reasons.push(events.last().unwrap().data()["reason"].clone());
        }
        reasons
    });
    let reasons: Vec<_> = join_all(all).await.into_iter().flatten().collect();
    assert_eq!(reasons.len(), starts);
    assert!(reasons.iter().all(|reason| reason == "completed"), "{reasons:?}");
    assert_eq!(fleet.started_agents(), starts);
    assert!((2..=CAP).contains(&fleet.peak_agents()), "{} agents at once", fleet.peak_agents());
    let info = clients[0].ok("server.info", json!({})).await;
    assert_eq!((&info["active_sessions"], &info["queued_sessions"]), (&json!(0), &json!(0)));
    fleet.stop().await;
}
