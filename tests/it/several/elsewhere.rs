//! A client of one gateway, and a session that runs on another.

use serde_json::{Value, json};

use crate::session::conversation::{send, until_answered};
use crate::store_trouble::assert_whole;
use crate::support::event::Event;
use crate::support::fleet::{Fleet, short_lease};
use crate::support::program::add_user;
use crate::support::redis_server::Server;
use crate::support::{Builder, Client, Gateway, eventually_some, http};

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn a_session_is_followed_from_another_gateway_as_it_runs_and_after_its_end() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 2, |builder| builder).await;
    let (mut here, mut there) = (fleet.gateways[0].client().await, fleet.gateways[1].client().await);
    let go = fleet.path("go");
    let script = format!("crc; rate 200 500ms 200; await {}; rate 200 500ms 200; say done", go.display());
    let session = here.start(json!({"prompt": script})).await;
    here.until_position(session, 20).await;
    let attached = there.ok("session.attach", json!({"session_id": session})).await;
    assert_eq!(attached["session"]["state"], "running");
    std::fs::write(go, "").unwrap();
    let (own, other) = tokio::join!(here.until_ended(session), there.until_ended(session));
    assert_whole(&own);
    assert_eq!(seqs(&own), seqs(&other));
    let texts = |events: &[Event]| events.iter().map(|event| event.data()).collect::<Vec<_>>();
    assert_eq!(texts(&own), texts(&other));
    let late = there.ok("session.events", json!({"session_id": session, "limit": 5})).await;
    assert_eq!(late["next_seq"], 6);
    fleet.stop().await;
}

#[tokio::test]
async fn what_is_asked_of_a_session_reaches_the_gateway_that_runs_it() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 2, |builder| builder).await;
    let (mut here, mut there) = (fleet.gateways[0].client().await, fleet.gateways[1].client().await);
    let session = here.start(json!({"prompt": "ask Bash {\"command\": \"ls\"}", "interactive": true})).await;
    let asked = here.until_event(session, |event| event.kind == "permission.requested").await.data();
    there.ok("session.attach", json!({"session_id": session})).await;
    let answer = json!({"session_id": session, "request_id": asked["request_id"], "behavior": "allow"});
    there.ok("session.respond", answer.clone()).await;
    assert_eq!(here.error("session.respond", answer).await["code"], -32006, "the first answer wins");
    there.until_state(session, "idle").await;
    let sent = there.ok("session.send", json!({"session_id": session, "prompt": "silent"})).await;
    assert!(sent["message_id"].is_string(), "{sent}");
    there.until_state(session, "running").await;
    assert_eq!(there.ok("session.pause", json!({"session_id": session})).await["state"], "paused");
    assert_eq!(there.error("session.pause", json!({"session_id": session})).await["data"]["kind"], "wrong_state");
    assert_eq!(there.ok("session.unpause", json!({"session_id": session})).await["state"], "running");
    there.ok("session.configure", json!({"session_id": session, "model": "opus"})).await;
    there.ok("session.interrupt", json!({"session_id": session})).await;
    there.until_state(session, "idle").await;
    assert_eq!(here.ok("session.get", json!({"session_id": session})).await["model"], "opus");
    there.ok("session.stop", json!({"session_id": session})).await;
    let ends = tokio::join!(here.until_ended(session), there.until_ended(session));
    assert_eq!(ends.0.last().unwrap().data()["reason"], "cancelled");
    assert_eq!(ends.0.last().unwrap().seq, ends.1.last().unwrap().seq);
    assert_eq!(there.ok("session.stop", json!({"session_id": session})).await["state"], "ended");
    fleet.stop().await;
}

#[tokio::test]
async fn c11_another_gateway_lets_nobody_at_a_session_who_may_not_see_it() {
    let server = Server::start();
    let shared = |builder: Builder| builder.setting("shared_uid_accepted", true);
    let mut fleet = Fleet::start(&server, 2, shared).await;
    add_user(&mut fleet.gateways[1], "eve", "eves-long-password").await;
    let mut admin = fleet.gateways[0].client().await;
    let session = admin.start(json!({"prompt": "silent"})).await;
    let token = http::login(fleet.gateways[1].http, "eve", "eves-long-password").await.unwrap();
    let mut eve = Client::connect(fleet.gateways[1].ws, "/ws", &token).await;
    for method in ["attach", "get", "stop", "interrupt", "pause"] {
        let refused = eve.error(&format!("session.{method}"), json!({"session_id": session})).await;
        assert_eq!(refused["code"], -32002, "{method}");
    }
    let refused = eve.error("session.send", json!({"session_id": session, "prompt": "x"})).await;
    assert_eq!(refused["code"], -32002);
    admin.ok("session.stop", json!({"session_id": session})).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_session_that_is_put_away_is_woken_where_its_message_arrives_and_its_readers_go_on() {
    let server = Server::start();
    let quick = |builder: Builder| builder.setting("idle_process_seconds", 0.05);
    let fleet = Fleet::start(&server, 2, quick).await;
    let (mut here, mut there) = (fleet.gateways[0].client().await, fleet.gateways[1].client().await);
    let session = here.start(json!({"prompt": "say one", "interactive": true})).await;
    there.ok("session.attach", json!({"session_id": session})).await;
    for (at, text) in ["say two", "say three", "say four"].into_iter().enumerate() {
        there.until_state(session, "idle").await;
        let sent = send(if at % 2 == 0 { &mut there } else { &mut here }, session, text).await;
        until_answered(&mut here, session, &sent).await;
        until_answered(&mut there, session, &sent).await;
    }
    here.ok("session.stop", json!({"session_id": session})).await;
    let (own, other) = tokio::join!(here.until_ended(session), there.until_ended(session));
    assert_eq!(own.last().unwrap().seq, other.last().unwrap().seq);
    fleet.stop().await;
}

#[tokio::test]
async fn a_session_lives_for_a_connection_to_another_gateway_and_ends_when_that_gateway_dies() {
    let server = Server::start();
    let soon = |builder| short_lease(builder).setting("disconnect_grace_seconds", 0.1);
    let mut fleet = Fleet::start(&server, 2, soon).await;
    let mut watcher = fleet.gateways[0].client().await;
    let mut first = fleet.gateways[0].client().await;
    let session = first.start(json!({"prompt": "silent", "on_disconnect": "stop"})).await;
    first.until_event(session, |event| event.kind == "session.started").await;
    let mut second = fleet.gateways[1].client().await;
    second.ok("session.attach", json!({"session_id": session})).await;
    first.close().await;
    // It lives on for the other gateway's connection, for longer than its time without one.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(watcher.ok("session.get", json!({"session_id": session})).await["state"], "running");
    fleet.gateways[1].kill9().await;
    // To attach would be to stand behind it.
    let end = eventually_some("its end", async || {
        let told = watcher.ok("session.get", json!({"session_id": session})).await;
        (told["state"] == "ended").then_some(told)
    })
    .await;
    assert_eq!(end["ended"]["reason"], "cancelled");
    fleet.until_no_agents().await;
    fleet.gateways[0].stop().await;
}

#[tokio::test]
async fn lists_health_and_server_info_show_the_whole() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 3, |builder| builder.setting("max_sessions", 3)).await;
    let mut clients = Vec::new();
    let mut sessions = Vec::new();
    for gateway in &fleet.gateways {
        let mut client = gateway.client().await;
        let session = client.start(json!({"prompt": "silent"})).await;
        client.until_event(session, |event| event.kind == "session.started").await;
        sessions.push(session.to_string());
        clients.push(client);
    }
    for (client, gateway) in clients.iter_mut().zip(&fleet.gateways) {
        let list = client.ok("session.list", json!({"state": "running"})).await;
        assert_eq!(list["sessions"].as_array().unwrap().len(), 3);
        let info = client.ok("server.info", json!({})).await;
        assert_eq!((&info["active_sessions"], &info["max_sessions"]), (&json!(3), &json!(3)));
        let nodes: Vec<&Value> = info["nodes"].as_array().unwrap().iter().map(|node| &node["node"]).collect();
        assert_eq!(nodes.len(), 3);
        assert!(nodes.contains(&&info["node"]));
        let health = http::get(gateway.ws, "/health").await.json();
        assert_eq!(health["active_sessions"], 3);
        let refused = client.error("session.start", json!({"prompt": "say no"})).await;
        assert_eq!(refused["code"], -32003, "one cap holds for all");
    }
    for (at, session) in sessions.iter().enumerate() {
        clients[(at + 1) % 3].ok("session.stop", json!({"session_id": session})).await;
    }
    fleet.until_no_agents().await;
    fleet.stop().await;
}

#[tokio::test]
async fn i10_one_idempotency_key_through_two_gateways_is_one_session() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 2, |builder| builder).await;
    let mut clients = Vec::new();
    for at in 0..20 {
        clients.push(fleet.gateways[at % 2].client().await);
    }
    let params = json!({"prompt": "say once", "idempotency_key": "one"});
    let starts = clients.iter_mut().map(|client| client.ok("session.start", params.clone()));
    let started = futures_util::future::join_all(starts).await;
    let ids: std::collections::BTreeSet<_> = started.iter().map(|start| start["session_id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let session = started[0]["session_id"].as_str().unwrap().parse().unwrap();
    for client in &mut clients {
        client.until_ended(session).await;
    }
    assert_eq!(fleet.started_agents(), 1);
    fleet.stop().await;
}

/// A gateway that leaves says so: the others need not wait for its lease.
#[tokio::test]
async fn a_gateway_that_shuts_down_is_gone_at_once_and_its_idle_sessions_live_on() {
    let server = Server::start();
    let long = |builder: Builder| builder.setting("slot_lease_seconds", 600);
    let mut fleet = Fleet::start(&server, 1, long).await;
    let mut client = fleet.gateways[0].client().await;
    let session = client.start(json!({"prompt": "say one", "interactive": true})).await;
    client.until_state(session, "idle").await;
    fleet.gateways[0].stop().await;
    fleet.gateways.push(other(&server, &fleet).await);
    let mut client = fleet.gateways[1].client().await;
    let info = client.ok("server.info", json!({})).await;
    assert_eq!(info["nodes"].as_array().unwrap().len(), 1, "{info}");
    client.ok("session.attach", json!({"session_id": session})).await;
    let sent = send(&mut client, session, "say two").await;
    until_answered(&mut client, session, &sent).await;
    client.ok("session.stop", json!({"session_id": session})).await;
    client.until_ended(session).await;
    fleet.gateways[1].stop().await;
}

async fn other(server: &Server, fleet: &Fleet) -> Gateway {
    fleet.another(server, |builder| builder.setting("slot_lease_seconds", 600)).await
}
