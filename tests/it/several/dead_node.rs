//! What becomes of the sessions of a gateway that dies, or is only taken for dead.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::session::conversation::{send, until_answered};
use crate::store_trouble::{assert_whole, until_ready};
use crate::support::event::Event;
use crate::support::fleet::{Fleet, SHORT_LEASE, short_lease};
use crate::support::redis_server::Server;
use crate::support::{Client, eventually_some, soak};

fn ends(events: &[Event]) -> Vec<Value> {
    events.iter().filter(|event| event.kind == "session.ended").map(Event::data).collect()
}

/// The whole log of an ended session, as somebody sees it who comes now.
async fn whole(client: &mut Client, session: Uuid) -> Vec<Event> {
    client.ok("session.attach", json!({"session_id": session})).await;
    client.until_ended(session).await
}

#[tokio::test]
async fn the_sessions_of_a_dead_gateway_end_as_lost_once_and_its_slots_are_free() {
    let server = Server::start();
    let mut fleet = Fleet::start(&server, 3, |builder| short_lease(builder).setting("max_sessions", 6)).await;
    let mut doomed = fleet.gateways[0].client().await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(doomed.start(json!({"prompt": "rate 100 60s 100"})).await);
    }
    let mut watchers = [fleet.gateways[1].client().await, fleet.gateways[2].client().await];
    for session in &sessions {
        for watcher in &mut watchers {
            watcher.ok("session.attach", json!({"session_id": session})).await;
            watcher.until_position(*session, 20).await;
        }
    }
    fleet.gateways[0].kill9().await;
    for session in &sessions {
        let seen = [watchers[0].until_ended(*session).await, watchers[1].until_ended(*session).await];
        assert_eq!(ends(&seen[0]), ends(&seen[1]));
        assert_eq!(ends(&seen[0]).len(), 1);
        assert_eq!(ends(&seen[0])[0]["reason"], "lost");
    }
    fleet.until_no_agents().await;
    let mut client = fleet.gateways[1].client().await;
    for session in &sessions {
        let events = whole(&mut client, *session).await;
        assert!(events.iter().map(|event| event.seq).eq(1..=events.len() as u64), "a gap");
        assert_eq!(ends(&events).len(), 1);
    }
    // Another one may have found out: this one knows with its next renewal.
    let info = eventually_some("the dead one to be gone from the list", async || {
        let info = client.ok("server.info", json!({})).await;
        (info["nodes"].as_array().unwrap().len() == 2).then_some(info)
    })
    .await;
    assert_eq!(info["active_sessions"], 0, "{info}");
    // The dead one comes back and finds that all is accounted for.
    fleet.gateways[0].restart().await;
    let mut back = fleet.gateways[0].client().await;
    for session in &sessions {
        assert_eq!(ends(&whole(&mut back, *session).await).len(), 1);
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_session_that_is_to_survive_its_gateway_goes_on_at_another_under_its_own_id() {
    let server = Server::start();
    let mut fleet = Fleet::start(&server, 3, short_lease).await;
    let mut doomed = fleet.gateways[0].client().await;
    let session = doomed.start(json!({"prompt": "say first", "interactive": true, "on_lost": "resume"})).await;
    doomed.until_state(session, "idle").await;
    let lost = send(&mut doomed, session, "silent").await;
    let mut watcher = fleet.gateways[1].client().await;
    watcher.ok("session.attach", json!({"session_id": session})).await;
    watcher.until_state(session, "running").await;
    fleet.gateways[0].kill9().await;
    let told = watcher.until_event(session, |event| event.kind == "turn.lost").await;
    assert_eq!(told.data()["message_id"], lost["message_id"]);
    watcher.until_event(session, |event| event.data()["cause"] == "node_lost").await;
    let next = send(&mut watcher, session, "say second").await;
    until_answered(&mut watcher, session, &next).await;
    watcher.ok("session.stop", json!({"session_id": session})).await;
    let events = watcher.until_ended(session).await;
    assert_eq!(ends(&events).len(), 1);
    assert_eq!(ends(&events)[0]["reason"], "cancelled");
    assert_eq!(events.iter().filter(|event| event.kind == "turn.lost").count(), 1);
    fleet.until_no_agents().await;
    fleet.gateways[1].stop().await;
    fleet.gateways[2].stop().await;
}

#[tokio::test]
async fn without_shared_workspaces_a_dead_gateways_sessions_end_also_those_that_would_be_resumed() {
    let server = Server::start();
    let apart = |builder| short_lease(builder).setting("workspaces_shared", false);
    let mut fleet = Fleet::start(&server, 2, apart).await;
    let mut doomed = fleet.gateways[0].client().await;
    let session = doomed.start(json!({"prompt": "silent", "interactive": true, "on_lost": "resume"})).await;
    doomed.until_event(session, |event| event.kind == "session.started").await;
    let mut watcher = fleet.gateways[1].client().await;
    watcher.ok("session.attach", json!({"session_id": session})).await;
    fleet.gateways[0].kill9().await;
    assert_eq!(ends(&watcher.until_ended(session).await)[0]["reason"], "lost");
    fleet.gateways[1].stop().await;
}

#[tokio::test]
async fn a_gateway_that_was_taken_for_dead_gives_up_what_is_no_longer_its_own() {
    let server = Server::start();
    let fleet = Fleet::start(&server, 2, short_lease).await;
    let mut stopped = fleet.gateways[0].client().await;
    let sessions =
        [stopped.start(json!({"prompt": "rate 100 60s 100"})).await, stopped.start(json!({"prompt": "silent"})).await];
    for session in sessions {
        stopped.until_event(session, |event| event.kind == "session.started").await;
    }
    let mut watcher = fleet.gateways[1].client().await;
    for session in sessions {
        watcher.ok("session.attach", json!({"session_id": session})).await;
    }
    fleet.gateways[0].signal(rustix::process::Signal::STOP);
    for session in sessions {
        assert_eq!(ends(&watcher.until_ended(session).await)[0]["reason"], "lost");
    }
    fleet.gateways[0].signal(rustix::process::Signal::CONT);
    fleet.until_no_agents().await;
    // Its own clients see the same end, and it works on.
    for session in sessions {
        let (here, there) = (stopped.until_ended(session).await, watcher.events(session));
        assert_eq!(ends(&here), ends(&there));
        assert_eq!(here.last().map(|event| event.seq), there.last().map(|event| event.seq));
    }
    let session = stopped.start(json!({"prompt": "say well"})).await;
    assert_eq!(ends(&stopped.until_ended(session).await)[0]["reason"], "completed");
    fleet.stop().await;
}

#[tokio::test]
async fn an_outage_of_redis_longer_than_the_lease_costs_no_session_whoever_comes_back_first() {
    let mut server = Server::start();
    let fleet = Fleet::start(&server, 3, |builder| short_lease(builder).setting("max_sessions", 3)).await;
    let outage = soak::count(SHORT_LEASE + 2, 30) as u64;
    let go = fleet.path("go");
    // By its own clock, which goes on while it is stopped. None ends before somebody has asked for a slot.
    let script = format!("crc; rate 50 {}s 100; await {}; rate 50 500ms 100; say done", outage + 4, go.display());
    let mut clients = Vec::new();
    let mut sessions = Vec::new();
    for gateway in &fleet.gateways {
        let mut client = gateway.client().await;
        let session = client.start(json!({"prompt": script})).await;
        client.until_position(session, 30).await;
        sessions.push(session);
        clients.push(client);
    }
    server.kill();
    tokio::time::sleep(std::time::Duration::from_secs(outage)).await;
    server.run();
    until_ready(&fleet.gateways[0]).await;
    // Every slot is still taken: who asks first gets none of the others'.
    let refused = eventually_some("an answer about slots", async || {
        let mut client = fleet.gateways[0].client().await;
        let refused = client.call("session.start", json!({"prompt": "say no"})).await.unwrap_err();
        (refused["code"] != -32007).then_some(refused)
    })
    .await;
    assert_eq!(refused["code"], -32003);
    std::fs::write(go, "").unwrap();
    // The first clients have not read for so long that they may have been given up.
    drop(clients);
    for (gateway, session) in fleet.gateways.iter().zip(&sessions) {
        until_ready(gateway).await;
        let mut client = gateway.client().await;
        let events = whole(&mut client, *session).await;
        assert_whole(&events);
        assert_eq!(ends(&events)[0]["reason"], "completed");
    }
    assert!(fleet.peak_agents() <= 3, "{}", fleet.peak_agents());
    fleet.stop().await;
}

#[tokio::test]
async fn i8_a_live_session_never_counts_as_dead_and_a_dead_ones_slot_is_free_within_its_time() {
    let server = Server::start();
    let mut fleet = Fleet::start(&server, 2, |builder| short_lease(builder).setting("max_sessions", 2)).await;
    let (mut here, mut there) = (fleet.gateways[0].client().await, fleet.gateways[1].client().await);
    let (mine, theirs) =
        (here.start(json!({"prompt": "silent"})).await, there.start(json!({"prompt": "silent"})).await);
    here.until_event(mine, |event| event.kind == "session.started").await;
    there.until_event(theirs, |event| event.kind == "session.started").await;
    // Two leases: nobody buries others before it has been in touch for one.
    let watched = soak::count(2 * SHORT_LEASE, 600) as u64;
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(watched);
    while tokio::time::Instant::now() < until {
        for (client, session) in [(&mut here, theirs), (&mut there, mine)] {
            assert_eq!(client.ok("session.get", json!({"session_id": session})).await["state"], "running");
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(here.error("session.start", json!({"prompt": "say no"})).await["code"], -32003);
    fleet.gateways[1].kill9().await;
    let session = eventually_some("the dead one's slot", async || {
        let mut client = fleet.gateways[0].client().await;
        client.call("session.start", json!({"prompt": "say yes"})).await.ok()
    })
    .await;
    let session = session["session_id"].as_str().unwrap().parse().unwrap();
    let mut client = fleet.gateways[0].client().await;
    assert_eq!(ends(&whole(&mut client, session).await)[0]["reason"], "completed");
    here.ok("session.stop", json!({"session_id": mine})).await;
    fleet.gateways[0].stop().await;
}
