//! Three gateways behind one address, under load, while one of them and Redis are killed.

use std::net::SocketAddr;
use std::time::Duration;

use cc_gateway::telemetry::tasks;
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::store_trouble::assert_whole;
use crate::support::event::Event;
use crate::support::fleet::{Fleet, short_lease};
use crate::support::proxy::round_robin;
use crate::support::redis_server::Server;
use crate::support::{Client, eventually, soak, within};

const CAP: usize = 20;

/// A client as a careful program is one: it starts with a key, and comes back from wherever it was until its session
/// has ended.
struct Careful {
    address: SocketAddr,
    token: String,
    key: String,
    /// What its agent does.
    script: String,
}

impl Careful {
    async fn connect(&self) -> Client {
        loop {
            if let Some(client) = Client::attempt(self.address, &self.token).await {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Starts a session and sees all of it.
    async fn run(self) -> (Uuid, Vec<Event>) {
        let params = json!({"prompt": self.script, "attach": false, "queue": true, "idempotency_key": self.key});
        let session = loop {
            let started = self.connect().await.try_call("session.start", params.clone()).await;
            match started {
                Some(Ok(started)) => break started["session_id"].as_str().unwrap().parse().unwrap(),
                Some(Err(error)) => assert_eq!(error["data"]["retryable"], true, "{error}"),
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let mut events: Vec<Event> = Vec::new();
        while events.last().is_none_or(|event| event.kind != "session.ended") {
            let mut client = self.connect().await;
            let after = events.last().map_or(0, |event| event.seq);
            match client.try_call("session.attach", json!({"session_id": session, "after_seq": after})).await {
                Some(Ok(_)) => events.extend(client.follow(session).await),
                Some(Err(error)) => assert_eq!(error["data"]["retryable"], true, "{error}"),
                None => {}
            }
        }
        (session, events)
    }
}

fn reason(events: &[Event]) -> Value {
    events.last().unwrap().data()["reason"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_one_address_no_event_is_lost_and_the_cap_holds_though_a_gateway_and_redis_are_killed() {
    let mut server = Server::start();
    // The lease is long enough for everybody to find Redis again.
    let mut fleet = Fleet::start(&server, 3, |builder| short_lease(builder).setting("max_sessions", CAP)).await;
    let address = round_robin(fleet.gateways.iter().map(|gateway| gateway.ws).collect()).await;
    let token = fleet.gateways[0].login().await;
    let sessions = soak::count(30, 60);
    let go = fleet.path("go");
    // None ends before all are there. Then they end one after the other, so that those who wait are let in one after
    // the other too.
    let start = |number| {
        let script = format!("crc; await {}; rate 50 {}s 200; say done", go.display(), 4 + number % 10);
        let careful = Careful { address, token: token.clone(), key: format!("key-{number}"), script };
        tasks::spawn("careful-client", careful.run())
    };
    let mut running: Vec<_> = (0..CAP).map(start).collect();
    fleet.until_agents(CAP).await;
    // Those who come now wait, some at each gateway.
    running.extend((CAP..sessions).map(start));
    let mut client = fleet.gateways[0].client().await;
    within("all others to wait", async {
        while client.ok("server.info", json!({})).await["queued_sessions"] != json!(sessions - CAP) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    drop(client);
    std::fs::write(&go, "").unwrap();
    server.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.run();
    let before = fleet.started_agents();
    // Redis is found again, and most of those who wait still do.
    eventually("somebody to be let in", || (fleet.started_agents() > before).then_some(())).await;
    let before = fleet.started_agents();
    fleet.gateways[1].kill9().await;
    let done = within("all sessions to end", join_all(running)).await;
    assert!(fleet.started_agents() > before, "nobody was let in after the gateway had died");
    fleet.until_no_agents().await;
    assert!(fleet.peak_agents() <= CAP, "{} agents at once", fleet.peak_agents());
    let mut lost = 0;
    let mut check = fleet.gateways[0].client().await;
    for outcome in done {
        let (session, events) = outcome.unwrap().expect("the client did not panic");
        assert_eq!(events.iter().filter(|event| event.kind == "session.ended").count(), 1);
        if reason(&events) == "lost" {
            lost += 1;
            assert!(events.iter().map(|event| event.seq).eq(1..=events.len() as u64), "a gap");
        } else {
            assert_whole(&events);
        }
        // What the client has seen on its way is what everybody sees now.
        check.ok("session.attach", json!({"session_id": session})).await;
        let kept = check.until_ended(session).await;
        let facts = |events: &[Event]| events.iter().map(|event| (event.seq, event.at.clone())).collect::<Vec<_>>();
        assert_eq!(facts(&kept), facts(&events));
    }
    assert!(lost > 0 && lost < sessions, "{lost} of {sessions} lost: the gateway was killed in mid-stream");
    let listed = check.ok("session.list", json!({"limit": 500})).await;
    let listed = listed["sessions"].as_array().unwrap();
    assert_eq!(listed.len(), sessions);
    assert!(listed.iter().all(|session| session["state"] == "ended"));
    let info = check.ok("server.info", json!({})).await;
    assert_eq!((&info["active_sessions"], &info["queued_sessions"]), (&json!(0), &json!(0)));
    fleet.gateways[0].stop().await;
    fleet.gateways[2].stop().await;
}
