//! How agents that were started ahead make way and go: for sessions, unused, dead, and with their gateway.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{builder, pid, run, the_agent, until_put_away, until_ready, warm_and_cold, warmed, workspaces};
use crate::session::conversation::go;
use crate::session::{ended, slots_taken, until_file};
use crate::support::client::session_id;
use crate::support::fleet::Fleet;
use crate::support::redis_server::Server;
use crate::support::{eventually, eventually_some, metrics, proc};

#[tokio::test]
async fn j1_agents_started_ahead_make_way_for_sessions_and_the_cap_is_never_passed() {
    let mut gateway = builder(2).setting("max_sessions", 3).start().await;
    let mut client = gateway.client().await;
    run(&mut client, json!({})).await;
    // The last free slot is nobody's but a session's.
    until_ready(&gateway, 2).await;
    assert_eq!(slots_taken(&gateway).await, 2);
    let params = json!({"prompt": "touch there; await go; say worked", "max_turns": 9});
    let mut busy = Vec::new();
    for _ in 0..3 {
        let session = client.start(params.clone()).await;
        until_file(&gateway, session, "there").await;
        busy.push(session);
    }
    eventually("only sessions' agents", || (gateway.running_agents() == 3).then_some(())).await;
    assert_eq!(slots_taken(&gateway).await, 3);
    // While somebody waits, none is started ahead, whatever comes free.
    let waits = client.ok("session.start", json!({"prompt": "say waited", "queue": true})).await;
    assert_eq!(waits["state"], "queued");
    let started = gateway.started_agents();
    go(&gateway, busy[0]);
    assert_eq!(ended(&client.until_ended(session_id(&waits).unwrap()).await)["result"], "waited");
    assert_eq!(gateway.started_agents(), started + 1);
    for session in &busy[1..] {
        go(&gateway, *session);
        client.until_ended(*session).await;
    }
    until_ready(&gateway, 2).await;
    assert_eq!(gateway.peak_agents(), 3);
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_not_asked_for_any_more_is_put_away_with_its_workspace() {
    let gateway = builder(1).setting("warm_idle_seconds", 3).start().await;
    let mut client = gateway.client().await;
    let mut sessions = Vec::new();
    while gateway.started_agents() == sessions.len() {
        sessions.push(run(&mut client, json!({})).await.to_string());
    }
    sessions.sort();
    until_put_away(&gateway, "unused", 1).await;
    gateway.until_no_processes().await;
    assert_eq!((slots_taken(&gateway).await, workspaces(&gateway)), (0, sessions));
    let info = client.ok("server.info", json!({})).await;
    assert_eq!((&info["warm"]["ready"], &info["warm"]["starting"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn one_that_dies_is_replaced_later_and_its_slot_and_workspace_do_not_stay() {
    let gateway = builder(1).start().await;
    let mut client = gateway.client().await;
    warmed(&gateway, &mut client, json!({})).await;
    let (agent, workspace) = the_agent(&gateway);
    let killed_at = Instant::now();
    proc::signal(agent, Signal::KILL);
    until_put_away(&gateway, "died", 1).await;
    // Nobody waits for the next one, which comes a second later at the earliest.
    let between = client.start(json!({"prompt": "say done"})).await;
    let may_be_there = killed_at.elapsed() >= Duration::from_secs(1);
    assert_eq!(ended(&client.until_ended(between).await)["result"], "done");
    assert_ne!(pid(&client, between), agent);
    let (warm, cold) = warm_and_cold(&gateway).await;
    assert!((warm, cold) == (0.0, 2.0) || (may_be_there && (warm, cold) == (1.0, 1.0)), "{warm} warm, {cold} cold");
    until_ready(&gateway, 1).await;
    assert!(!workspace.exists());
    let (next, _) = the_agent(&gateway);
    assert_ne!(next, agent);
    let session = run(&mut client, json!({})).await;
    assert_eq!((pid(&client, session), warm_and_cold(&gateway).await), (next, (warm + 1.0, cold)));
}

#[tokio::test]
async fn h7_those_of_a_gateway_that_was_killed_are_swept_with_their_workspaces_by_the_next_start() {
    let mut gateway = builder(2).start().await;
    let mut client = gateway.client().await;
    let session = run(&mut client, json!({})).await;
    until_ready(&gateway, 2).await;
    assert_eq!(workspaces(&gateway).len(), 3);
    gateway.kill9().await;
    gateway.restart().await;
    assert_eq!((gateway.processes(), workspaces(&gateway)), (Vec::new(), vec![session.to_string()]));
    let mut client = gateway.client().await;
    let list = client.ok("session.list", json!({})).await;
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(1));
    assert_eq!(slots_taken(&gateway).await, 0);
    gateway.stop().await;
}

#[tokio::test]
async fn k1_a_drain_puts_them_away_also_those_that_are_just_being_started() {
    let mut gateway = builder(3).start().await;
    let mut client = gateway.client().await;
    let session = run(&mut client, json!({})).await;
    eventually("an agent that is started ahead", || (gateway.started_agents() > 1).then_some(())).await;
    // Stopping checks that nothing is left.
    gateway.stop().await;
    assert_eq!(workspaces(&gateway), [session.to_string()]);
    assert_eq!(std::fs::read_dir(gateway.path("data/warm")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j1_of_several_gateways_each_keeps_its_own_within_the_one_cap() {
    let server = Server::start();
    let fleet =
        Fleet::start(&server, 2, |builder| builder.setting("max_sessions", 4).setting("warm_processes", 2)).await;
    let mut clients = [fleet.gateways[0].client().await, fleet.gateways[1].client().await];
    for client in &mut clients {
        run(client, json!({})).await;
    }
    // Three for four slots: one stays free.
    fleet.until_agents(3).await;
    let ready = "cc_gateway_warm_processes{state=\"ready\"}";
    let is_there = async || (metrics::value(fleet.gateways[0].http, ready).await >= 1.0).then_some(());
    eventually_some("an agent that is ready", is_there).await;
    let prepared = fleet.gateways.iter().flat_map(|gateway| gateway.processes()).collect::<Vec<_>>();
    let session = run(&mut clients[0], json!({})).await;
    assert!(prepared.contains(&pid(&clients[0], session)));
    // All slots through one gateway: also what the other one has started ahead makes way.
    let params = json!({"prompt": "touch there; await go; say worked", "max_turns": 9, "queue": true});
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.push(clients[1].start(params.clone()).await);
    }
    for session in &busy {
        let there = fleet.path("workspaces").join(session.to_string()).join("there");
        eventually("a session at work", || there.exists().then_some(())).await;
    }
    for session in busy {
        std::fs::write(fleet.path("workspaces").join(session.to_string()).join("go"), "").unwrap();
        clients[1].until_ended(session).await;
    }
    assert!(fleet.peak_agents() <= 4, "{}", fleet.peak_agents());
    fleet.stop().await;
}
